// From a text to samples: the text front end, the language model, and flow and vocoder, each in a thread of its own.

import { wasmPath } from "./ort.js";
import { Remote } from "./remote.js";
import { segmentSeed } from "./run.js";

const LONGEST = 100000;
const PYTHON = /^pyodide\//;
const TEXT = /^(text\.zip|model\/(text\.json|tokenizer\.json|lexicon\.txt\.xz|letter_to_sound\.safetensors))$/;
const LM = /^model\/(lm\.onnx|model\.safetensors)$/;
const SOUND = /^model\/(flow_encoder\.onnx|flow_step\.onnx|pitch\.onnx|wave\.onnx|flow\.safetensors|vocoder\.safetensors)$/;

export class Speech {
  /** @param about site.json
   *  @param get gives the content of a file by its path
   *  @param {number} threads for flow and vocoder
   *  @param {boolean} graphics whether there is a GPU to try */
  constructor(about, get, threads, graphics) {
    Object.assign(this, { about, get, threads, graphics, voices: new Map(), count: 0 });
    this.text = new Remote(new URL("text_worker.js", import.meta.url));
    this.lm = new Remote(new URL("lm_worker.js", import.meta.url));
    this.sound = new Remote(new URL("sound_worker.js", import.meta.url));
  }

  /** The files that `open` asks for. */
  static files(about, graphics) {
    const wasm = [wasmPath(false), wasmPath(graphics)];
    return Object.keys(about.files).filter(path => [PYTHON, TEXT, LM, SOUND].some(of => of.test(path)) || wasm.includes(path));
  }

  /** Load everything; each part opens as soon as its files are there. Gives what the vocoder is computed with. */
  async open() {
    const named = pattern => Object.keys(this.about.files).filter(path => pattern.test(path));
    const plain = this.get(wasmPath(false)), ofSound = this.graphics ? this.get(wasmPath(true)) : plain, python = Promise.all(named(PYTHON).map(path => this.get(path)));
    const part = async (remote, pattern, ...more) => {
      const paths = named(pattern), found = await Promise.all(paths.map(path => this.get(path)));
      const files = Object.fromEntries(paths.map((path, i) => [path.replace(/^model\//, ""), found[i]]));
      return remote.ask("open", [files, ...more], { transfer: found });
    };
    const [device] = await Promise.all([
      ofSound.then(wasm => part(this.sound, SOUND, wasm, this.about, this.threads, this.graphics)),
      plain.then(wasm => part(this.lm, LM, wasm, this.about)),
      python.then(() => part(this.text, TEXT)), // which loads them by their addresses
    ]);
    return device;
  }

  /** Load a voice and compute its prompt, once; tokens of the first hop. */
  prepare(voice) {
    if (!this.voices.has(voice)) {
      const done = this.get(`model/voices/${voice}.safetensors`).then(async buffer => {
        await Promise.all([this.lm.ask("addVoice", [voice, buffer]), this.sound.ask("addVoice", [voice, buffer])]);
        return this.sound.ask("prepare", [voice]);
      });
      done.catch(() => this.voices.delete(voice));
      this.voices.set(voice, done);
    }
    return this.voices.get(voice);
  }

  /** Samples of a text, chunk by chunk: { samples, text, leftOut }, text with the first chunk of a segment. */
  async *speak({ text, voice, seed, speed, signal }) {
    if (!text.trim()) throw new Error("There is no text to speak.");
    if (text.length > LONGEST) throw new Error(`The text has ${text.length} characters; at most ${LONGEST} fit, so split it.`);
    const first = await this.prepare(voice), segments = this.text.each("segments", [text], { signal });
    let index = 0, leftOut = "";
    const start = async () => {
      const { value, done } = await segments.next();
      if (done || "left_out" in value) {
        leftOut = value?.left_out || "";
        return null;
      }
      const request = { ids: value.ids, voice, seed, index, first };
      return { segment: value, index: index++, tokens: this.lm.each("tokens", [request], { signal }) };
    };
    let next = start();
    for (let now; (now = await next);) {
      next = start(); // the language model speaks the next segment while this one becomes sound
      next.catch(() => {});
      yield* this.soundOf(now, { voice, seed, speed, signal });
    }
    if (leftOut) yield { samples: new Float32Array(0), leftOut };
  }

  async *soundOf({ segment, index, tokens }, { voice, seed, speed, signal }) {
    const stream = this.count++;
    let waiting = [], wanted = null, text = segment.written;
    try {
      for await (const { attempt, tokens: more, reason } of tokens) {
        const begin = [stream, voice, segmentSeed(seed, index, attempt), speed, segment.pause];
        wanted ??= await this.sound.ask("begin", begin, { signal });
        waiting.push(...more);
        if (!reason && waiting.length < wanted) continue;
        const made = await this.sound.ask("push", [stream, waiting, Boolean(reason)], { signal });
        wanted = made.wanted;
        waiting = [];
        if (made.samples.length) {
          yield { samples: made.samples, text };
          text = "";
        }
      }
    } finally {
      this.sound.ask("end", [stream]);
    }
  }
}
