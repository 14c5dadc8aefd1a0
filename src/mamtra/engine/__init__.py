"""Decoding: sampling, decode steps and the loops from text ids to speech tokens. Knows neither text nor audio."""
