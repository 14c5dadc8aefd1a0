"""From text to sound: a model's parts put together, for a sentence, a stream, a batch."""
