"""The networks that judge speech: ASR, naturalness, speaker similarity. Each is optional."""
