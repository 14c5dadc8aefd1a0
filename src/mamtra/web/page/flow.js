// Speech tokens to mel over the graphs of the flow, see `mamtra.light.flow`. Mel is time first: frame after frame.

import { normalColumns } from "./random.js";
import { joined } from "./arrays.js";

const NOISE_FRAMES = 15000, NOISE_BLOCK = 1000;

export class Flow {
  /** @param ort the module of onnxruntime-web
   *  @param sessions { encoder, step }
   *  @param graphs inputs and outputs of both, from onnx.json
   *  @param config section of config.json
   *  @param {number} steps of the flow */
  constructor(ort, sessions, graphs, config, steps) {
    Object.assign(this, { ort, sessions, config });
    const times = Array.from({ length: steps + 1 }, (_, i) => 1 - Math.cos(i / steps * .5 * Math.PI));
    const width = 4 * config.output_size, encoded = t => this.tensor(timeEncoding(t, width), [1, width]);
    this.steps = times.slice(1).map((end, i) => {
      const length = Math.fround(end - times[i]);
      const step = { time: encoded(times[i]), dt: this.tensor([length], []) };
      return config.trained_steps ? { ...step, length: encoded(length) } : step;
    });
    this.empty = [graphs.encoder, ...Array(steps).fill(graphs.step)].map(graph => this.emptyState(graph));
    this.noise = new Float32Array(0);
  }

  tensor(values, shape) { return new this.ort.Tensor("float32", Float32Array.from(values), shape); }

  /** The state that a stream begins with: zeros, and no keys and values. */
  emptyState({ inputs }) {
    const states = Object.entries(inputs).filter(([name]) => name.startsWith("past."));
    return Object.fromEntries(states.map(([name, { shape }]) => {
      const sizes = shape.map(size => typeof size === "string" ? 0 : size);
      return [name, this.tensor(new Float32Array(sizes.reduce((a, b) => a * b, 1)), sizes)];
    }));
  }

  /** The mel of some tokens, which see each other and all earlier ones: { mel, state }.
   *  @param tokens `count` of them and those that are only looked ahead at
   *  @param prompt mel of the prompt from the first of these frames on, perhaps none
   *  @param state after the tokens before, `offset` of them */
  async advance(tokens, count, prompt, embedding, state, offset) {
    const { config, ort } = this, { input_size: width, output_size: bands, token_mel_ratio: ratio } = config;
    const frames = ratio * count, begin = ratio * offset;
    const missing = config.pre_lookahead_len - (tokens.length - count);
    const positions = (size, at) => this.tensor(relativePositions(size, width, at), [at + 2 * size, width]);
    const encoded = await this.sessions.encoder.run({
      tokens: new ort.Tensor("int64", BigInt64Array.from(tokens, BigInt), [1, tokens.length]),
      padding: this.tensor(new Float32Array(missing * width), [1, missing, width]),
      slow: positions(count, offset),
      fast: positions(frames, begin),
      embedding: this.tensor(embedding, [1, embedding.length]),
      ...state[0],
    });
    const given = new Float32Array(frames * bands);
    given.set(prompt.subarray(0, given.length));
    const conditions = { mu: encoded.mu, speaker: encoded.speaker, prompt: this.tensor(given, [1, frames, bands]) };
    const after = [kept(encoded)];
    let mel = this.tensor(this.noiseOf(begin, frames), [1, frames, bands]);
    for (const [i, step] of this.steps.entries()) {
      const made = await this.sessions.step.run({ x: mel, ...conditions, ...step, ...state[i + 1] });
      after.push(kept(made));
      mel = made.next;
    }
    return { mel: mel.data, state: after };
  }

  noiseOf(begin, frames) {
    const bands = this.config.output_size, end = begin + frames;
    if (end > NOISE_FRAMES) throw new Error("A sentence is too long; split the text into shorter pieces.");
    if (end * bands > this.noise.length) {
      const wanted = Math.min(NOISE_FRAMES, Math.ceil(end / NOISE_BLOCK) * NOISE_BLOCK);
      this.noise = normalColumns(0, bands, NOISE_FRAMES, wanted);
    }
    return this.noise.subarray(begin * bands, end * bands);
  }
}

/** Mel of one utterance, hop by hop. */
export class FlowStream {
  constructor(flow, voice) {
    Object.assign(this, { flow, voice, waiting: voice.promptSpeech, state: flow.empty, offset: 0 });
  }

  /** A second stream that continues from here. */
  fork() { return Object.assign(Object.create(FlowStream.prototype), this); }

  /** Tokens to push for the next mel, of `least` new tokens at least. */
  wanted(least) {
    const { output_size: bands, token_mel_ratio: ratio, pre_lookahead_len: ahead } = this.flow.config;
    const ofPrompt = Math.max(0, Math.floor(this.voice.promptMel.length / bands / ratio) - this.offset);
    return Math.max(0, ofPrompt + least + ahead - this.waiting.length);
  }

  /** Take tokens and return the mel that no later token changes; `final` returns the rest. The prompt alone, no tokens, ends with
   *  a complete chunk, so that it is the same for all. */
  async push(tokens, final = false) {
    const { config } = this.flow, { chunk_size: chunk, pre_lookahead_len: ahead, token_mel_ratio: ratio } = config;
    const waiting = [...this.waiting, ...tokens], most = final ? waiting.length : Math.max(0, waiting.length - ahead);
    const ready = tokens.length || final ? most : Math.floor(most / chunk) * chunk, size = tokens.length ? waiting.length : chunk;
    const made = [];
    for (let start = 0; start < ready; start += size) {
      const count = Math.min(size, ready - start);
      const prompt = this.voice.promptMel.subarray(ratio * this.offset * config.output_size);
      const { mel, state } = await this.flow.advance(
        waiting.slice(start, start + count + ahead), count, prompt, this.voice.embedding, this.state, this.offset);
      this.state = state;
      this.offset += count;
      made.push(mel.subarray(Math.min(mel.length, prompt.length)));
    }
    this.waiting = waiting.slice(ready);
    return joined(made);
  }
}

function kept(outputs) {
  const states = Object.entries(outputs).filter(([name]) => name.startsWith("new."));
  return Object.fromEntries(states.map(([name, value]) => ["past." + name.slice(4), value]));
}

function timeEncoding(t, width) {
  const half = width / 2, made = new Float32Array(width);
  for (let i = 0; i < half; i++) {
    const angle = Math.fround(Math.fround(1000 * t) * Math.fround(Math.exp(i * Math.fround(-Math.log(10000) / (half - 1)))));
    made[i] = Math.sin(angle);
    made[half + i] = Math.cos(angle);
  }
  return made;
}

function relativePositions(size, width, offset) {
  const rows = offset + 2 * size, made = new Float32Array(rows * width);
  for (let i = 0; i < width; i += 2) {
    const rate = Math.fround(Math.exp(Math.fround(i * Math.fround(-Math.log(10000) / width))));
    for (let row = 0; row < rows; row++) {
      const angle = Math.fround((offset + size - 1 - row) * rate);
      made[row * width + i] = Math.sin(angle);
      made[row * width + i + 1] = Math.cos(angle);
    }
  }
  return made;
}
