// The thread of the language model.

import { Parts } from "./open.js";
import { openRuntime } from "./ort.js";
import { breathe, serve } from "./remote.js";
import { segmentTokens, warmUp } from "./run.js";
import { readVoice } from "./voice.js";

let lm;
const voices = new Map();

serve({
  async open(files, wasm, about) {
    lm = await new Parts(await openRuntime(wasm, 1), files, about).lm();
    await warmUp(lm);
  },
  addVoice(name, buffer) { voices.set(name, readVoice(name, buffer)); },
  /** Tokens of a segment, see run.js. */
  async *tokens({ voice, ...request }, signal) {
    for await (const made of segmentTokens(lm, { ...request, voice: voices.get(voice) }, () => breathe(signal))) yield made;
  },
});
