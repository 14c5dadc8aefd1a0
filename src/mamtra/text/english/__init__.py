"""English as written -> spoken words -> phonemes."""
