"""Decoding: sampling and the loop that turns text ids into speech codes. Knows neither text nor sound."""
