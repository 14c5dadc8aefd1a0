// The tensors of a safetensors file, as float32 or whole numbers.

const VIEWS = {
  F32: Float32Array, F16: Uint16Array, BF16: Uint16Array, I8: Int8Array, I16: Int16Array, U16: Uint16Array, I32: Int32Array,
  I64: BigInt64Array,
};

export class Tensors {
  /** @param {ArrayBuffer} buffer content of the file */
  constructor(buffer) {
    const length = Number(new DataView(buffer).getBigUint64(0, true));
    const { __metadata__: about, ...entries } = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
    this.about = about || {};
    this.entries = entries;
    this.buffer = buffer;
    this.start = 8 + length;
  }

  shape(name) { return this.entry(name).shape; }

  /** All values: whole numbers in an array, others as float32. */
  values(name) { return this.rows(name, 0, this.shape(name)[0]); }

  /** The rows from one number to before another; int8 weights are multiplied with the scale beside them. */
  rows(name, first, last) {
    const { dtype, shape, data_offsets: [begin] } = this.entry(name);
    const width = shape.slice(1).reduce((a, b) => a * b, 1), View = VIEWS[dtype];
    const from = this.start + begin + first * width * View.BYTES_PER_ELEMENT, count = (last - first) * width;
    const stored = new View(this.buffer.slice(from, from + count * View.BYTES_PER_ELEMENT));
    if (dtype === "F32") return stored;
    if (/[IU](16|32|64)/.test(dtype)) return Array.from(stored, Number);
    const made = Float32Array.from(stored, { F16: half, BF16: brain }[dtype]);
    if (dtype === "I8" && this.entries[name + ".scale"]) {
      const scale = this.rows(name + ".scale", first, last);
      for (let i = 0; i < count; i++) made[i] *= scale[Math.floor(i / width)];
    }
    return made;
  }

  entry(name) {
    if (!this.entries[name]) throw new Error(`A file of the voice has no ${name}; write the folder again with mamtra web.`);
    return this.entries[name];
  }
}

const bits = new DataView(new ArrayBuffer(4));

function brain(x) {
  bits.setUint32(0, x << 16);
  return bits.getFloat32(0);
}

function half(x) {
  const sign = x & 0x8000 ? -1 : 1, exponent = (x >> 10) & 31, fraction = x & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -24 * fraction);
}
