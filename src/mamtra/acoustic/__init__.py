"""From speech tokens to a waveform: flow matching, vocoder, and their streaming forms. Knows nothing of the language model."""
