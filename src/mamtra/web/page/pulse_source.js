// Pulses and noise as the excitation of the vocoder, see `mamtra.light.pulse_source`.

const { fround } = Math;
const fraction = x => x - Math.floor(x);
const NEAR = 1e-3;

export class PulseSource {
  /** @param config section of the vocoder in config.json */
  constructor(config) {
    Object.assign(this, { hop: config.hop, rate: config.sampling_rate, highest: config.highest_harmonic });
    this.threshold = config.voiced_threshold;
  }

  /** Pulses and noise (hop * T) each, of F0 (T) in Hz, with standard normal noise of that length.
   *  @param phase at the end of the block before, from `phaseAfter`; null at the beginning */
  excite(f0, noise, phase) {
    const { hop, threshold } = this, frames = f0.length, pulses = new Float32Array(frames * hop);
    const intervals = this.intervals(f0, phase), end = intervals[frames - 1];
    intervals.push({ first: end.last, last: end.last, centre: end.centre, start: end.centre });
    for (let i = 0; i < pulses.length; i++) {
      if (!(f0[Math.floor(i / hop)] > threshold)) continue;
      const place = i + (hop >> 1), { first, last, start } = intervals[Math.floor(place / hop)];
      const weight = (place % hop + .5) / hop, rise = last - first;
      const cycles = fraction(start + (first + rise * weight / 2) * weight * hop / this.rate);
      const most = this.highest / Math.max(first + rise * weight, threshold), count = Math.floor(most);
      const half = Math.sin(cycles * Math.PI), turn = 2 * Math.PI;
      const sum = Math.abs(half) < NEAR ? count : Math.sin(fraction((count + .5) * cycles) * turn) / (2 * half) - .5;
      pulses[i] = sum + (most - count) * Math.cos(fraction((count + 1) * cycles) * turn);
    }
    return [pulses, noise];
  }

  /** Phase at the centre of the last frame of F0 in cycles, and that F0, continuing from `phase`. */
  phaseAfter(f0, phase) {
    const last = f0[f0.length - 1];
    return [fraction(this.intervals(f0, phase).at(-1).centre), last > this.threshold ? last : 0];
  }

  /** Of each frame: F0 at the centre of the frame before and at its own, and the phases there. */
  intervals(f0, phase) {
    let [sum, before] = [0, phase ? phase[1] : 0];
    return Array.from(f0, each => {
      const here = each > this.threshold ? each : 0, first = before || here, last = here || before;
      const cycles = fround((first + last) * this.hop / (2 * this.rate));
      sum = fround(sum + fraction(cycles));
      before = here;
      const centre = phase ? fround(sum + phase[0]) : sum;
      return { first, last, centre, start: centre - cycles };
    });
  }
}
