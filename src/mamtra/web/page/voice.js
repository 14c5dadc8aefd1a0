// A voice: a short prompt that the model continues.

import { Tensors } from "./tensors.js";

/** From the content of a voice file. */
export function readVoice(name, buffer) {
  const stored = new Tensors(buffer);
  return {
    name,
    promptText: stored.values("prompt_text"),
    promptSpeech: stored.values("prompt_speech"),
    promptMel: stored.values("prompt_mel"),
    embedding: stored.values("embedding"),
    pitchRange: { middle: Number(stored.about.pitch) || 1, factor: Number(stored.about.pitch_range ?? 1) },
  };
}
