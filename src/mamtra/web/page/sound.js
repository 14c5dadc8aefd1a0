// Speech tokens of a segment to samples, hop by hop: flow, speed, vocoder, edges.

import { FlowStream } from "./flow.js";
import { Stretcher } from "./stretch.js";
import { EdgeTrimmer } from "./trim.js";
import { VocoderStream } from "./vocoder.js";

/** Lengths of the hops in tokens, see `mamtra.synthesis.hops`. */
const FIRST = 15, HOP = 25, GROWTH = 2, MOST = 100;

/** The flow behind the prompts of voices, and the streams that continue them. */
export class Sound {
  constructor(flow, vocoder, rate) { Object.assign(this, { flow, vocoder, rate, prompts: new Map() }); }

  /** Compute the prompt of a voice, once; tokens of the first hop. */
  async prepare(voice) {
    if (!this.prompts.has(voice.name)) {
      const stream = new FlowStream(this.flow, voice);
      if (voice.promptSpeech.length) await stream.push([]);
      this.prompts.set(voice.name, stream);
    }
    return this.prompts.get(voice.name).wanted(FIRST);
  }

  /** Compute a hop of silence: a browser compiles well only what has run before. */
  async warmUp() {
    const frames = this.flow.config.token_mel_ratio * FIRST + this.vocoder.reach[1];
    await new VocoderStream(this.vocoder, 0).push(new Float32Array(frames * this.vocoder.bands));
  }

  /** A stream of a segment: speed 0.5 to 2, and the pause before it in seconds. */
  async open(voice, seed, speed, pause) {
    await this.prepare(voice);
    return new HopStream(this, this.prompts.get(voice.name).fork(), seed, speed, pause, voice.pitchRange);
  }
}

class HopStream {
  constructor({ vocoder, rate }, flow, seed, speed, pause, pitchRange) {
    Object.assign(this, { flow, hops: 0, stretch: new Stretcher(speed, vocoder.bands) });
    this.vocoder = new VocoderStream(vocoder, seed, pitchRange);
    this.edges = new EdgeTrimmer(rate, pause / speed);
  }

  /** How many tokens to push next. */
  get wanted() {
    return this.flow.wanted(this.hops ? Math.min(MOST, Math.trunc(HOP * GROWTH ** Math.min(this.hops - 1, 16))) : FIRST);
  }

  /** Add tokens and get the samples that no later token can change, perhaps none. */
  async push(tokens, final = false) {
    this.hops++;
    const mel = this.stretch.push(await this.flow.push(tokens, final), final);
    const samples = await this.vocoder.push(mel, final);
    if (!samples.every(Number.isFinite)) throw new Error("The model made sound that is not a number; its weights are damaged.");
    return this.edges.push(samples, final);
  }
}
