"""Voices: the prompt that a model continues, its file, and the library of those at hand."""
