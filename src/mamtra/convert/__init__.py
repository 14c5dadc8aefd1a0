"""Attention to Mamba: weight transfer with provenance."""
