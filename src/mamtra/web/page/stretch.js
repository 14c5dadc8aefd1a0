// Mel frames at another speed while they are still arriving, see `mamtra.audio.time_stretch.Stretcher`. Mel is time first.

import { joined } from "./arrays.js";

export class Stretcher {
  /** @param {number} speed input frames for each output frame */
  constructor(speed, bands) {
    Object.assign(this, { speed, bands, tail: new Float32Array(0), start: 0, made: 0 });
  }

  push(mel, final = false) {
    if (this.speed === 1) return mel;
    const { speed, bands } = this;
    mel = joined([this.tail, mel]);
    const frames = mel.length / bands, total = this.start + frames;
    const whole = total ? Math.max(1, Math.trunc(total / speed)) : 0;
    const count = Math.max(this.made, final ? whole : Math.ceil((total - .5) / speed - .5));
    const made = new Float32Array((count - this.made) * bands);
    for (let j = this.made; j < count; j++) {
      const position = Math.min(Math.max((j + .5) * speed - .5, 0), Math.max(0, total - 1));
      const left = Math.floor(position), right = Math.min(left + 1, total - 1), weight = Math.fround(position - left);
      for (let i = 0; i < bands; i++) {
        const first = mel[(left - this.start) * bands + i], second = mel[(right - this.start) * bands + i];
        made[(j - this.made) * bands + i] = first + weight * (second - first);
      }
    }
    const keep = Math.min(frames, Math.max(0, Math.floor((count + .5) * speed - .5) - this.start));
    Object.assign(this, { tail: mel.slice(keep * bands), start: this.start + keep, made: count });
    return made;
  }
}
