"""The exception of user mistakes: one sentence that says what is wrong and what to do."""


class MamTraError(ValueError):
    """A mistake in the input or the installation that the caller can correct. Its message is shown to the user as it is."""
