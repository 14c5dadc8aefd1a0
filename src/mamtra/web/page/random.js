// The random numbers of torch's CPU generator, as `mamtra.light.random` makes them: a seed means the same in the page.

const SIZE = 624, PERIOD = 397, BLOCK = 16;

export class Generator {
  /** @param {number} seed a whole number below 2^53, of which the lower 32 bits count */
  constructor(seed) {
    this.state = new Uint32Array(SIZE);
    this.at = SIZE;
    this.state[0] = seed % 2 ** 32;
    for (let i = 1; i < SIZE; i++) {
      const before = this.state[i - 1];
      this.state[i] = Math.imul(before ^ (before >>> 30), 1812433253) + i;
    }
  }

  /** The next 32 bits of the Mersenne Twister. */
  bits() {
    if (this.at === SIZE) this.twist();
    let x = this.state[this.at++];
    x ^= x >>> 11;
    x ^= (x << 7) & 0x9d2c5680;
    x ^= (x << 15) & 0xefc60000;
    return (x ^ (x >>> 18)) >>> 0;
  }

  twist() {
    const state = this.state;
    for (let i = 0; i < SIZE; i++) {
      const x = (state[i] & 0x80000000) | (state[(i + 1) % SIZE] & 0x7fffffff);
      state[i] = state[(i + PERIOD) % SIZE] ^ (x >>> 1) ^ (x & 1 ? 0x9908b0df : 0);
    }
    this.at = 0;
  }

  /** Exponential numbers, each of 53 bits. */
  exponential(count) {
    const made = new Float32Array(count);
    for (let i = 0; i < count; i++) {
      const high = this.bits(), low = this.bits();
      made[i] = -Math.log1p(-((high & 0x1fffff) * 2 ** 32 + low) * 2 ** -53);
    }
    return made;
  }

  /** Normal numbers, made 16 at a time; the last 16 anew where the count is no multiple. */
  normal(count) {
    const made = this.uniform(Math.max(count, BLOCK)), whole = made.length - made.length % BLOCK;
    for (let at = 0; at < whole; at += BLOCK) boxMuller(made, at);
    if (whole < made.length) {
      const last = this.uniform(BLOCK);
      boxMuller(last, 0);
      made.set(last, made.length - BLOCK);
    }
    return made.subarray(0, count);
  }

  uniform(count) {
    const made = new Float32Array(count);
    for (let i = 0; i < count; i++) made[i] = (this.bits() & 0xffffff) * 2 ** -24;
    return made;
  }
}

/** The first columns of torch.randn(rows, length), transposed: (used, rows); rows * length is a multiple of 16. */
export function normalColumns(seed, rows, length, used) {
  const raw = new Generator(seed).uniform(rows * length), made = new Float32Array(used * rows);
  for (let row = 0; row < rows; row++) {
    const begin = row * length, first = begin - begin % BLOCK;
    // a block that two rows share is complete after the first of them
    const from = row && first < (row - 1) * length + used ? first + BLOCK : first;
    for (let at = from; at < begin + used; at += BLOCK) boxMuller(raw, at);
    for (let i = 0; i < used; i++) made[i * rows + row] = raw[begin + i];
  }
  return made;
}

function boxMuller(numbers, at) {
  const half = BLOCK / 2;
  for (let i = at; i < at + half; i++) {
    const radius = Math.fround(Math.sqrt(Math.fround(-2 * Math.fround(Math.log(Math.fround(1 - numbers[i]))))));
    const angle = Math.fround(Math.fround(2 * Math.PI) * numbers[i + half]);
    numbers[i] = radius * Math.fround(Math.cos(angle));
    numbers[i + half] = radius * Math.fround(Math.sin(angle));
  }
}
