"""Judging speech: error rates, transcription, and what needs them, such as layer importance by word errors."""
