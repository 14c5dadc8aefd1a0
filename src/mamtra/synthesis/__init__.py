"""From text to audio: a model's parts put together, for a sentence, a stream, a batch."""
