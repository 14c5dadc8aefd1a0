"""What a text.json says of a front end that reads phonemes."""

from __future__ import annotations

from typing import Literal

from mamtra.runtime.strict_models import ClosedModel
from mamtra.text.english.dates import DateOrder


class TextConfig(ClosedModel):
    """Contents of `text.json`.

    Attributes:
        kind: the text units that the model reads.
        language: BCP 47 tag.
        lexicon_source: where the lexicon's readings come from.
        longest_segment: greatest number of phoneme symbols in a segment, stress marks, spaces and punctuation included.
        date_order: of day and month in dates of figures only: "mdy", "dmy", or "auto" (month first unless it cannot be).
    """

    kind: Literal["phonemes"] = "phonemes"
    language: Literal["en-US"] = "en-US"
    lexicon_source: str = ""
    longest_segment: int = 250
    date_order: DateOrder = "auto"
