// Speech tokens of a segment, as they are drawn: the rules of `mamtra.light.run` and of `mamtra.synthesis.segment_stream`.

import { joined } from "./arrays.js";
import { LMState } from "./lm.js";
import { misread } from "./coverage.js";
import { reading } from "./repeated_words.js";
import { Generator } from "./random.js";
import { bar, rasSample } from "./sampler.js";

const ATTEMPTS = 5, MOST_SILENT = 5;

/** A running generation of the text ids after the prompt of a voice; `own` are the places of those that are of the text. */
export class Run {
  constructor(lm, ids, voice, seed, own = null) {
    this.lm = lm;
    this.ids = ids;
    this.own = own;
    this.voice = voice;
    this.generator = new Generator(seed);
    this.tokens = [];
    this.reason = "";
    this.state = new LMState(lm);
  }

  async *[Symbol.asyncIterator]() {
    const { lm, ids, voice, tokens } = this, { config, generation } = lm;
    const length = ratio => Math.trunc(ids.length * ratio);
    const least = Math.max(generation.min_tokens, length(generation.min_ratio));
    const most = Math.max(generation.min_limit, generation.min_tokens, length(generation.max_ratio));
    const speech = voice.promptText.length ? voice.promptSpeech : [];
    let rows = joined([
      lm.embed("marks", [0]), lm.embed("text", voice.promptText), lm.embed("text", ids), lm.embed("marks", [1]),
      lm.embed("speech", speech),
    ]);
    while (tokens.length < most) {
      const logits = await this.state.extend(rows);
      if (tokens.length < least) logits[config.eos_id] = -Infinity;
      bar(logits, tokens, generation);
      const token = rasSample(logits, tokens, this.generator, generation);
      if (token >= config.eos_id) {
        this.reason = "eos";
        return;
      }
      tokens.push(token);
      yield token;
      rows = lm.embed("speech", [token]);
    }
    this.reason = "length";
  }

  /** How much of the text was left out or said twice so far, see coverage.js. */
  misread(ended) {
    if (!this.lm.head || !this.tokens.length || !this.ids.length) return 0;
    const begin = 1 + this.voice.promptText.length;
    const rows = this.state.attention(begin, begin + this.ids.length).slice(0, this.tokens.length), { own } = this;
    return misread(own ? rows.map(row => Float32Array.from(own, place => row[place])) : rows, ended, this.lm.generation.pace);
  }
}

export function segmentSeed(seed, index, attempt) {
  return seed + index * 1000003 + attempt * 7919;
}

/** Tokens of a segment: { attempt, tokens, reason }, the first `first` of them together, the last with a reason. A run that gives
 *  no speech, is cut off, or leaves words out or says them twice, is repeated as long as none of it was given.
 *  @param breathe called after each token; may throw to end the run */
export async function* segmentTokens(lm, { ids, voice, seed, index, first }, breathe = () => {}) {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const read = reading(ids, attempt, lm.generation.apart), last = attempt + 1 === ATTEMPTS;
    const run = new Run(lm, read.ids, voice, segmentSeed(seed, index, attempt), read.own);
    let waiting = [], given = false, lost = false;
    for await (const token of withoutLongSilence(run, lm.generation.silent_tokens || [])) {
      await breathe();
      waiting.push(token);
      if (!given && waiting.length < first) continue;
      if (!given && !last && run.misread(false) > 0) {
        lost = true;
        break;
      }
      given = true;
      yield { attempt, tokens: waiting, reason: "" };
      waiting = [];
    }
    if (lost) continue;
    const good = run.tokens.length && run.reason === "eos" && (last || !run.misread(true));
    if (given || good || (run.tokens.length && last)) {
      yield { attempt, tokens: waiting, reason: run.reason };
      return;
    }
  }
  throw new Error("The model made no speech for a sentence; try another seed or voice.");
}

/** Run a prompt and a few steps: a browser compiles well only what has run before. */
export async function warmUp(lm) {
  const state = new LMState(lm);
  await state.extend(lm.embed("text", Array(64).fill(1)));
  for (let step = 0; step < 16; step++) await state.extend(lm.embed("speech", [0]));
}

async function* withoutLongSilence(tokens, silent) {
  let row = 0;
  for await (const token of tokens) {
    row = silent.includes(token) ? row + 1 : 0;
    if (row <= MOST_SILENT) yield token;
  }
}
