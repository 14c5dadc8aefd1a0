"""The key of a listening test: which clip is whose. It stays with those who ask."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from mamtra.evaluate.score_file import Name
from mamtra.runtime.strict_models import StrictModel, parse_json
from mamtra.runtime.text_files import read_text

Kind = Literal["mos", "ab", "mushra"]
KINDS: tuple[str, ...] = get_args(Kind)
REFERENCE, LOW_ANCHOR, NOISE_ANCHOR = "reference", "low anchor", "noise anchor"
SCALES = {"mos": (1.0, 5.0), "mushra": (0.0, 100.0)}
"""Least and greatest rating."""


class KeyTrial(StrictModel):
    """One trial.

    Attributes:
        utterance: id in the score files.
        catch: whether the right answer is known beforehand.
        clips: system, REFERENCE, LOW_ANCHOR or NOISE_ANCHOR, by the opaque name of the clip.
    """

    utterance: Name
    catch: bool
    clips: Annotated[dict[str, Name], Field(min_length=1)]


class Key(StrictModel):
    """A test.

    Attributes:
        listening_test: kind of the test.
        digest: of the page.
        seed: of the sampling of utterances, of opaque names and of every listener's order.
        systems: names, in the order of the table.
        trials: by their opaque names.
    """

    listening_test: Kind
    digest: Name
    seed: int
    systems: Annotated[tuple[Name, ...], Field(min_length=1)]
    trials: dict[str, KeyTrial]

    @property
    def kind(self) -> Kind:
        """Of the test."""
        return self.listening_test

    @model_validator(mode="after")
    def _fits(self) -> Key:
        for name, trial in self.trials.items():
            owners = list(trial.clips.values())
            if "catch" in owners:
                raise ValueError("the clip 'catch' is called 'noise anchor' now; make the test again")
            if len({*owners}) < len(owners) or {*owners} != self._owners(trial):
                raise ValueError(f"trial {name[:40]!r} does not have the clips of a {self.kind} trial")
        return self

    def _owners(self, trial: KeyTrial) -> set[str]:
        """Whose clips a trial must have."""
        owners = {*trial.clips.values()}
        if trial.catch:
            return {NOISE_ANCHOR} if self.kind == "mos" else {REFERENCE, NOISE_ANCHOR}
        if self.kind == "mushra":
            return {*self.systems, REFERENCE, LOW_ANCHOR}
        known = owners & {*self.systems}
        return known if len(known) == (1 if self.kind == "mos" else 2) else {""}


def read_key(path: Path) -> Key:
    """The key of a test; the page's own path will do.

    Raises:
        MamTraError: there is none, or it is something else.
    """
    place = path.with_suffix(".key.json") if path.suffix == ".html" else path
    text = read_text(place, f"There is no key {place} of a listening test; `mamtra listen make` writes it.")
    return parse_json(Key, text, f"{place} is not the key of a listening test")
