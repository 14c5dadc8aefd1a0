// The thread of flow and vocoder.

import { Parts } from "./open.js";
import { openRuntime } from "./ort.js";
import { serve } from "./remote.js";
import { readVoice } from "./voice.js";

let sound;
const voices = new Map(), streams = new Map();

serve({
  /** What the vocoder is computed with. */
  async open(files, wasm, about, threads, graphics) {
    sound = await new Parts(await openRuntime(wasm, threads, graphics), files, about, graphics).sound();
    await sound.warmUp();
    return sound.device;
  },
  addVoice(name, buffer) { voices.set(name, readVoice(name, buffer)); },
  /** Tokens of the first hop. */
  prepare(voice) { return sound.prepare(voices.get(voice)); },
  /** Begin the sound of a segment; tokens to push first. */
  async begin(stream, voice, seed, speed, pause) {
    streams.set(stream, await sound.open(voices.get(voice), seed, speed, pause));
    return streams.get(stream).wanted;
  },
  /** { samples, wanted } of more tokens. */
  async push(stream, tokens, final) {
    const samples = await streams.get(stream).push(tokens, final), { wanted } = streams.get(stream);
    if (final) streams.delete(stream);
    return { samples, wanted };
  },
  end(stream) { streams.delete(stream); },
});
