"""Lengths that the encoders of both runtimes share."""

SAMPLES_PER_TOKEN = 640
"""Of the speech tokenizer: 40 ms at 16 kHz."""
MARGIN = 8
"""Tokens of silence that the speech tokenizer hears on both sides, in training and in inference, so that the edges are alike."""
SEGMENT = 100
"""Steps whose mean is the context of the speaker encoder's layers."""
