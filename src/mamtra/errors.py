"""The one exception that faces show to a person: one sentence that says what is wrong and what to do."""


class MamTraError(ValueError):
    """A mistake in the input or the installation that the caller can mend. Its message is shown as it is."""
