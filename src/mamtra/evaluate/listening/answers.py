"""Answers that listeners sent back: read, matched with the key of the test, and screened for those who did not listen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field

from mamtra.errors import MamTraError
from mamtra.evaluate.listening.key import LOW_ANCHOR, NOISE_ANCHOR, REFERENCE, SCALES, Key, KeyTrial
from mamtra.runtime.printable import printable
from mamtra.runtime.strict_models import StrictModel, parse_json
from mamtra.runtime.text_files import read_text

HIGH, FRACTION = 90, 0.15
"""ITU-R BS.1534-3, 4.1.2: who rates the hidden reference below 90 in more than 15% of the trials is left out; so is, here, who
rates the low anchor above 90 as often."""


@dataclass(frozen=True)
class Answer:
    """One trial by one listener.

    Attributes:
        listener: name or code.
        utterance: id in the score files.
        catch: whether it was a catch trial.
        scores: by system (or REFERENCE, LOW_ANCHOR, NOISE_ANCHOR); empty for AB.
        pair: both systems of an AB trial, in the key's order.
        choice: the better system of the pair, or None for no difference.
        refused: ratings outside the scale; an answer that has any does not count.
    """

    listener: str
    utterance: str
    catch: bool
    scores: dict[str, float]
    pair: tuple[str, ...] = ()
    choice: str | None = None
    refused: int = 0


class _Item(StrictModel):
    """One answer in a file; ratings are checked against the scale afterwards."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=True)

    trial: str
    scores: dict[str, float] = Field(default_factory=dict)
    choice: str | None = None


class _Session(StrictModel):
    """A file of answers."""

    model_config = ConfigDict(extra="ignore")

    listener: Annotated[str, Field(min_length=1, max_length=200)]
    digest: str
    finished: str | None = None
    answers: list[_Item]


def read_answers(paths: Iterable[Path], key: Key) -> tuple[list[Answer], list[str]]:
    """All answers of a test.

    Returns:
        answers, and remarks on the files: unfinished ones, listeners who sent several, ratings that were refused.

    Raises:
        MamTraError: a file is missing, is something else, or belongs to another test.
    """
    sessions: dict[str, tuple[Path, _Session]] = {}
    remarks = []
    for path in paths:
        session = _session(path, key)
        name = session.listener
        if name in sessions:
            remarks.append(f"{printable(name)} sent more than one file; the one with more answers counts")
        if name not in sessions or len(session.answers) > len(sessions[name][1].answers):
            sessions[name] = path, session
    if not sessions:
        raise MamTraError("There are no answers; give the JSON files that listeners saved.")
    found = []
    for name, (path, session) in sessions.items():
        if not session.finished:
            remarks.append(f"{printable(name)} did not finish")
        own = [_answer(key, path, name, item) for item in session.answers]
        refused = sum(answer.refused for answer in own)
        if refused:
            remarks.append(f"{printable(name)}: {refused} ratings outside the scale were refused")
        found += own
    return found, remarks


def _session(path: Path, key: Key) -> _Session:
    what = f"{path} is not a file of answers, as the page of a listening test saves it"
    session = parse_json(_Session, read_text(path), what)
    if session.digest != key.digest:
        raise MamTraError(
            f"{path} belongs to another listening test than the key; give the key that was made with its page."
        )
    trials = [item.trial for item in session.answers]
    if not {*trials} <= {*key.trials} or len({*trials}) < len(trials):
        raise MamTraError(f"{path} is damaged: its trials are not those of the test.")
    return session


def _answer(key: Key, path: Path, listener: str, item: _Item) -> Answer:
    trial: KeyTrial = key.trials[item.trial]
    chosen = item.choice if item.choice != "same" else None
    if not {*item.scores, *([chosen] if chosen else [])} <= {*trial.clips}:
        raise MamTraError(f"{path} is damaged: it names a clip that is not in the trial.")
    if key.kind == "ab":
        pair = tuple(trial.clips.values())
        return Answer(listener, trial.utterance, trial.catch, {}, pair, trial.clips[chosen] if chosen else None)
    if {*item.scores} != {*trial.clips}:
        raise MamTraError(f"{path} is damaged: a trial has clips that were not rated.")
    low, high = SCALES[key.kind]
    refused = sum(not low <= value <= high for value in item.scores.values())  # NaN is never within
    scores = {} if refused else {trial.clips[clip]: value for clip, value in item.scores.items()}
    return Answer(listener, trial.utterance, trial.catch, scores, refused=refused)


def failed_catch(answer: Answer, kind: str) -> bool:
    """Whether a catch trial was answered as by someone who did not listen."""
    if answer.refused:
        return True
    if kind == "mos":
        return answer.scores[NOISE_ANCHOR] > 2
    if kind == "ab":
        return answer.choice != REFERENCE
    return answer.scores[REFERENCE] <= answer.scores[NOISE_ANCHOR]


def screen(answers: Sequence[Answer], kind: str, allowed: int = 0) -> tuple[list[Answer], dict[str, str]]:
    """Answers that count, without catch trials, and the listeners left out with the reason.

    Args:
        answers: of all listeners.
        kind: of the test.
        allowed: catch trials that a listener may fail.
    """
    left_out = {}
    for name in dict.fromkeys(answer.listener for answer in answers):
        own = [answer for answer in answers if answer.listener == name]
        failed = sum(failed_catch(answer, kind) for answer in own if answer.catch)
        if failed > allowed:
            left_out[name] = f"failed {failed} of {sum(answer.catch for answer in own)} catch trials"
        elif kind == "mushra":
            rated = [answer.scores for answer in own if not answer.catch and not answer.refused]
            low = sum(scores[REFERENCE] < HIGH for scores in rated)
            high = sum(scores[LOW_ANCHOR] > HIGH for scores in rated)
            if low > FRACTION * len(rated):
                left_out[name] = f"rated the hidden reference under {HIGH} in {low} of {len(rated)} trials"
            elif high > FRACTION * len(rated):
                left_out[name] = f"rated the low anchor over {HIGH} in {high} of {len(rated)} trials"
    counted = [a for a in answers if not a.catch and not a.refused and a.listener not in left_out]
    return counted, left_out
