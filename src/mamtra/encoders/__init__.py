"""From a recording to what a model is prompted with: speech tokenizer and speaker encoder."""
