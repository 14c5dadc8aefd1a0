// Edges of a segment: light trimming, short fades and the pause before it, see `mamtra.audio.trim.EdgeTrimmer`.

import { joined } from "./arrays.js";

const FADE_SECONDS = .005, KEEP_SECONDS = .04, FLOOR = 10 ** -4.5;

export class EdgeTrimmer {
  constructor(rate, pauseBefore = 0) {
    const gap = Math.max(0, pauseBefore - 2 * KEEP_SECONDS);
    Object.assign(this, { rate, hop: Math.floor(rate / 100), held: new Float32Array(0), peak: 0, begun: false });
    this.silence = new Float32Array(Math.round(gap * rate));
  }

  /** Take samples and return those that can be played; `final` returns the rest. */
  push(samples, final = false) {
    const { rate, hop } = this, held = joined([this.held, samples]), margin = Math.round(KEEP_SECONDS * rate);
    const power = Array.from({ length: Math.floor(held.length / hop) }, (_, frame) => {
      let sum = 0;
      for (let i = frame * hop; i < (frame + 1) * hop; i++) sum += held[i] ** 2;
      return sum / hop;
    });
    this.peak = Math.max(this.peak, ...power);
    const isLoud = x => this.peak > 1e-10 && x > this.peak * FLOOR;
    const first = power.findIndex(isLoud), last = power.findLastIndex(isLoud);
    if (first < 0 && !final) {
      this.held = held;
      return held.slice(0, 0);
    }
    const begins = !this.begun, start = begins && first >= 0 ? Math.max(0, first * hop - margin) : 0;
    let end = begins ? held.length : margin;
    if (first >= 0) end = final ? (last + 1) * hop + margin : last * hop;
    this.begun = true;
    this.held = held.slice(end);
    const played = held.slice(start, end);
    fade(played, rate, begins, final);
    return begins ? joined([this.silence, played]) : played;
  }
}

function fade(samples, rate, first, last) {
  const length = Math.min(Math.round(FADE_SECONDS * rate), Math.floor(samples.length / (first + last || 1)));
  for (let i = 0; i < length; i++) {
    if (first) samples[i] *= i / length;
    if (last) samples[samples.length - 1 - i] *= i / length;
  }
}
