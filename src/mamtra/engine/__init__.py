"""Decoding: sampling and the loops that turn text ids into speech tokens. Knows neither text nor sound."""
