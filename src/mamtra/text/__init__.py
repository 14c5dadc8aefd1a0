"""Text as written -> segments -> ids: splitting, normalisation, tokenization."""
