"""Kinds of inputs of a speech LM, and the chunks in which text and speech may alternate; see `mamtra.models.layout`."""

PAD, SOS, TASK, TEXT, SPEECH = -1, 0, 1, 2, 3
MIX = (5, 15)
"""Text ids and speech tokens of a chunk of the bistream layout, as CosyVoice 2 is trained."""
