// The network for unknown words, see `mamtra.text.english.letter_to_sound`.

export class LetterToSound {
  /** @param {import("./tensors.js").Tensors} weights of letter_to_sound.safetensors */
  constructor(weights) {
    const { sounds, shape } = JSON.parse(weights.about.letter_to_sound);
    Object.assign(this, { sounds, shape, values: {} });
    for (const name of Object.keys(weights.entries)) if (!name.endsWith(".scale")) this.values[name] = weights.values(name);
  }

  /** The best class of each position, two for a letter: letter ids, 1 for a. */
  classes(letters) {
    const rows = this.scores(letters), count = this.sounds.length + 1;
    return Array.from({ length: 2 * letters.length }, (_, at) => {
      let best = 0;
      for (let i = 1; i < count; i++) if (rows[at * count + i] > rows[at * count + best]) best = i;
      return best;
    });
  }

  scores(letters) {
    const { width, layers } = this.shape, embed = this.values["embed.weight"];
    const x = new Float32Array(2 * letters.length * width);
    letters.forEach((id, i) => x.set(embed.subarray(2 * id * width, 2 * (id + 1) * width), 2 * i * width));
    const add = more => more.forEach((value, i) => x[i] += value);
    for (let layer = 0; layer < layers; layer++) {
      const name = `blocks.${layer}`;
      add(silu(this.conv(this.norm(x, `${name}.conv_norm`), `${name}.conv`)));
      add(this.attend(this.norm(x, `${name}.attention_norm`), name));
      add(this.linear(silu(this.linear(this.norm(x, `${name}.feed_norm`), `${name}.feed_in`, width)), `${name}.feed_out`, 2 * width));
    }
    return this.linear(this.norm(x, "norm"), "head", width);
  }

  linear(x, name, width) {
    const weight = this.values[`${name}.weight`], bias = this.values[`${name}.bias`], size = bias.length;
    const made = new Float32Array(x.length / width * size);
    for (let row = 0; row < x.length / width; row++) {
      for (let out = 0; out < size; out++) {
        let sum = bias[out];
        for (let i = 0; i < width; i++) sum += x[row * width + i] * weight[out * width + i];
        made[row * size + out] = sum;
      }
    }
    return made;
  }

  norm(x, name) {
    const { width } = this.shape, weight = this.values[`${name}.weight`], bias = this.values[`${name}.bias`];
    const made = new Float32Array(x.length);
    for (let at = 0; at < x.length; at += width) {
      let mean = 0, square = 0;
      for (let i = 0; i < width; i++) mean += x[at + i] / width;
      for (let i = 0; i < width; i++) square += (x[at + i] - mean) ** 2 / width;
      for (let i = 0; i < width; i++) made[at + i] = (x[at + i] - mean) / Math.sqrt(square + 1e-5) * weight[i] + bias[i];
    }
    return made;
  }

  conv(x, name) {
    const { width, kernel } = this.shape, taps = this.values[`${name}.weight`], bias = this.values[`${name}.bias`];
    return x.map((_, at) => {
      const channel = at % width;
      let sum = bias[channel];
      for (let tap = 0; tap < kernel; tap++) {
        const from = at + (tap - (kernel >> 1)) * width;
        if (from >= 0 && from < x.length) sum += x[from] * taps[channel * kernel + tap];
      }
      return sum;
    });
  }

  attend(x, name) {
    const { width, heads } = this.shape, length = x.length / width, dim = width / heads;
    const qkv = this.linear(x, `${name}.qkv`, width), mixed = new Float32Array(x.length);
    for (let head = 0; head < heads; head++) {
      for (let row = 0; row < length; row++) {
        const q = row * 3 * width + head * dim, scores = [];
        for (let other = 0; other < length; other++) {
          let sum = 0;
          for (let i = 0; i < dim; i++) sum += qkv[q + i] * qkv[other * 3 * width + width + head * dim + i];
          scores.push(sum / Math.sqrt(dim));
        }
        const most = Math.max(...scores), powers = scores.map(score => Math.exp(score - most));
        const total = powers.reduce((a, b) => a + b);
        for (let other = 0; other < length; other++) {
          for (let i = 0; i < dim; i++) {
            mixed[row * width + head * dim + i] += powers[other] / total * qkv[other * 3 * width + 2 * width + head * dim + i];
          }
        }
      }
    }
    return this.linear(mixed, `${name}.out`, width);
  }
}

function silu(x) { return x.map(value => value / (1 + Math.exp(-value))); }
