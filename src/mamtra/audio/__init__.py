"""Sound: features, speech tokenizer, speaker encoder, flow, vocoder, files, joining. Knows nothing of the language model."""
