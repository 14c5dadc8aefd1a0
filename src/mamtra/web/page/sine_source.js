// Harmonics and noise as the excitation of the vocoder, see `mamtra.light.sine_source`.

const { fround } = Math;
const fraction = x => x - Math.floor(x);

export class SineSource {
  /** @param config section of the vocoder in config.json
   *  @param {Float32Array} weight of each harmonic in the mix
   *  @param {number} bias of the mix */
  constructor(config, weight, bias) {
    Object.assign(this, { config, weight, bias });
    this.hop = config.upsample_rates.reduce((a, b) => a * b, config.istft_hop);
    this.norm = Math.hypot(...weight);
  }

  /** The excitation, one channel (hop * T), of F0 (T) in Hz, with standard normal noise of that length.
   *  @param phase of each harmonic at the end of the block before, from `phaseAfter`; null at the beginning */
  excite(f0, noise, phase) {
    const { hop, weight, config } = this, frames = f0.length, edge = hop >> 1;
    const harmonics = new Float32Array((frames + 1) * hop), { nsf_alpha: alpha } = config;
    weight.forEach((mix, harmonic) => {
      const cycles = Array.from(f0, x => this.cycles(x, harmonic)), scale = fround(mix * fround(alpha));
      let sum = 0;
      const sums = cycles.map(each => sum = fround(sum + fraction(each)));
      for (let frame = 0; frame <= frames; frame++) {
        let start, rise;
        if (phase) {
          start = fraction(frame ? fround(phase[harmonic] + sums[frame - 1]) : phase[harmonic]);
          rise = frame < frames ? cycles[frame] : 0;
        } else {
          start = fraction(sums[frame ? frame - 1 : 0]);
          rise = frame && frame < frames ? cycles[frame] : 0;
        }
        for (let i = 0; i < hop; i++) {
          const angle = fround(start + fround(rise * fround((i + .5) / hop)));
          harmonics[frame * hop + i] += scale * Math.sin(fround(angle * fround(2 * Math.PI)));
        }
      }
    });
    const made = new Float32Array(frames * hop);
    for (let i = 0; i < made.length; i++) {
      const voiced = f0[Math.floor(i / hop)] > config.nsf_voiced_threshold;
      const level = voiced ? config.nsf_sigma : alpha / 3;
      made[i] = Math.tanh((voiced ? harmonics[edge + i] : 0) + noise[i] * this.norm * level + this.bias);
    }
    return [made];
  }

  /** Phase of each harmonic in cycles at the centre of the last frame of F0, continuing from `phase`. */
  phaseAfter(f0, phase) {
    return Array.from(this.weight, (_, harmonic) => {
      const total = f0.reduce((sum, x) => fround(sum + fraction(this.cycles(x, harmonic))), 0);
      return fraction(phase ? fround(total + phase[harmonic]) : total);
    });
  }

  cycles(f0, harmonic) {
    return fround(fraction(fround(fround(f0 * (harmonic + 1)) / this.config.sampling_rate)) * this.hop);
  }
}
