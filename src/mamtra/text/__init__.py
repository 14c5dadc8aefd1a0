"""Text as written -> spoken words -> phonemes -> ids: normalise, split, read out, tokenise."""
