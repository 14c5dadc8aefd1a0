"""Training data: corpora, tokenization, shards of speech tokens, batches."""
