// Mel to samples over the graphs of the vocoder, see `mamtra.light.vocoder`. Mel is time first.

import { joined } from "./arrays.js";
import { PulseSource } from "./pulse_source.js";
import { Generator } from "./random.js";
import { SineSource } from "./sine_source.js";

export class Vocoder {
  /** @param ort the module of onnxruntime-web
   *  @param sessions { pitch, wave }
   *  @param {import("./tensors.js").Tensors} weights
   *  @param config section of config.json
   *  @param {number[]} reach frames before and after one that its samples depend on */
  constructor(ort, sessions, weights, config, reach) {
    Object.assign(this, { ort, sessions, reach, bands: config.in_channels });
    const mix = name => weights.values(`m_source.l_linear.${name}`);
    this.source = config.architecture === "source_filter"
      ? new PulseSource(config) : new SineSource(config, mix("weight"), mix("bias")[0]);
  }

  async run(session, mel, more = {}) {
    const frames = mel.length / this.bands, turned = new Float32Array(mel.length);
    for (let t = 0; t < frames; t++) for (let i = 0; i < this.bands; i++) turned[i * frames + t] = mel[t * this.bands + i];
    const made = await session.run({ mel: new this.ort.Tensor("float32", turned, [1, this.bands, frames]), ...more });
    return Object.values(made)[0].data;
  }

  /** What computes so many frames of a hum with a session, to compare sessions. */
  trial() {
    return (session, frames) => {
      const hum = Float32Array.from({ length: frames * this.source.hop }, (_, i) => .1 * Math.sin(i / 20));
      const source = this.source.excite(new Float32Array(frames).fill(150), hum, null);
      return this.wave(Float32Array.from({ length: frames * this.bands }, (_, i) => -4 + Math.sin(i)), source, session);
    };
  }

  f0(mel) { return this.run(this.sessions.pitch, mel); }

  /** @param {Float32Array[]} source its channels */
  wave(mel, source, session = this.sessions.wave) {
    const channels = source.length > 1 ? [source.length] : [];
    return this.run(session, mel, { source: new this.ort.Tensor("float32", joined(source), [1, ...channels, source[0].length]) });
  }
}

/** F0 that is not moved, see `mamtra.acoustic.pitch_range`. */
const AS_IT_IS = { middle: 1, factor: 1 };

/** F0 with another range: the factor of its distance from the middle, in octaves. */
export function inRange(f0, { middle, factor }) {
  return f0.map(hertz => hertz * Math.min(2, Math.max(.5, hertz / middle)) ** (factor - 1));
}

/** Samples block by block. */
export class VocoderStream {
  constructor(vocoder, seed, pitchRange = AS_IT_IS) {
    const none = new Float32Array(0);
    Object.assign(this, { vocoder, pitchRange, generator: new Generator(seed), mel: none, source: [none], noise: none, phase: null });
  }

  /** Take frames and return the samples that no later frame changes; `final` returns the rest. */
  async push(mel, final = false) {
    const { vocoder } = this, { source, bands, reach: [before, after] } = vocoder, { hop } = source;
    mel = joined([this.mel, mel]);
    const done = this.source[0].length / hop, frames = mel.length / bands, ready = final ? frames : frames - after;
    this.mel = mel;
    if (ready <= done) return new Float32Array(0);
    const f0 = inRange((await vocoder.f0(mel)).subarray(done), this.pitchRange);
    const noise = joined([this.noise, this.generator.normal((frames - done) * hop - this.noise.length)]);
    const excitation = source.excite(f0, noise, this.phase).map((channel, i) => joined([this.source[i] ?? channel.slice(0, 0), channel]));
    const wave = await vocoder.wave(mel, excitation), start = Math.max(0, ready - before);
    this.mel = mel.slice(start * bands);
    this.source = excitation.map(channel => channel.slice(start * hop, ready * hop));
    this.noise = noise.slice((ready - done) * hop);
    this.phase = source.phaseAfter(f0.subarray(0, ready - done), this.phase);
    return wave.slice(done * hop, ready * hop);
  }
}
