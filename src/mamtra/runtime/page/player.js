// Samples that are heard while more of them are made.

const AHEAD = .03, MOST_LEAD = 1.5;

export class Player {
  constructor(rate) {
    this.rate = rate;
    this.lead = 0;
    this.clear();
  }

  /** Forget what was heard before. */
  clear() {
    this.silence();
    Object.assign(this, { parts: [], samples: 0, marks: [], begin: 0, ends: 0, gaps: 0 });
  }

  /** Browsers allow sound only after a click or a key. */
  wake() {
    this.context ||= new AudioContext({ sampleRate: this.rate });
    return this.context.resume();
  }

  /** Play samples behind those before. Where they come too late, a gap is counted, and the next text begins so much later. */
  push(samples) {
    const now = this.context.currentTime;
    if (!this.samples) this.ends = this.begin = now + AHEAD + this.lead;
    if (this.ends < now) {
      this.gaps++;
      this.lead = Math.min(MOST_LEAD, this.lead + now - this.ends);
      this.begin += now - this.ends;
      this.ends = now;
    }
    this.parts.push(samples);
    this.samples += samples.length;
    this.ends = this.schedule(samples, this.ends);
  }

  schedule(samples, at) {
    const buffer = this.context.createBuffer(1, samples.length, this.rate), source = this.context.createBufferSource();
    buffer.copyToChannel(samples, 0);
    source.buffer = buffer;
    source.connect(this.context.destination);
    source.start(at);
    this.sources.push(source);
    return at + samples.length / this.rate;
  }

  silence() {
    for (const source of this.sources || []) source.stop();
    this.sources = [];
  }

  /** Play from a second of what was made. */
  async from(second) {
    await this.wake();
    this.silence();
    const rest = this.joined().subarray(Math.floor(second * this.rate));
    this.begin = this.context.currentTime + AHEAD - second;
    if (rest.length) this.ends = this.schedule(rest, this.context.currentTime + AHEAD);
  }

  /** Seconds heard so far. */
  get at() { return this.samples ? this.context.currentTime - this.begin : 0; }

  get seconds() { return this.samples / this.rate; }

  joined() { return joined(this.parts); }

  /** What was made as a WAV file of 16 bits. */
  wav() { return wav(this.joined(), this.rate); }
}

export function joined(parts) {
  const all = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** Samples as a WAV file of 16 bits. */
export function wav(samples, rate) {
  const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const text = (at, letters) => [...letters].forEach((letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
  text(0, "RIFF"); view.setUint32(4, 36 + 2 * samples.length, true); text(8, "WAVEfmt "); view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); view.setUint16(22, 1, true); view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true); view.setUint16(32, 2, true); view.setUint16(34, 16, true);
  text(36, "data"); view.setUint32(40, 2 * samples.length, true);
  samples.forEach((x, i) => view.setInt16(44 + 2 * i, Math.max(-1, Math.min(1, x)) * 32767, true));
  return new Blob([view], { type: "audio/wav" });
}
