"""Answers that listeners sent back: read, matched with the key of the test, and those who did not listen taken out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mamtra.errors import MamTraError
from mamtra.evaluate.listening.trials import ANCHOR, CATCH, REFERENCE

HIGH, SHARE = 90, 0.15
"""ITU-R BS.1534-3, 4.1.2: who rates the hidden reference under 90 in more than 15% of the trials is left out; so is, here, who
rates the low anchor over 90 as often."""


@dataclass(frozen=True)
class Answer:
    """One trial by one listener.

    Attributes:
        listener: name or code.
        utterance: id in the score files.
        catch: whether it was a catch trial.
        scores: by system (or REFERENCE, ANCHOR, CATCH); empty for AB.
        pair: both systems of an AB trial, in the key's order.
        choice: the better system of the pair, or None for no difference.
    """

    listener: str
    utterance: str
    catch: bool
    scores: dict[str, float]
    pair: tuple[str, ...] = ()
    choice: str | None = None


def read_answers(paths: Iterable[Path], key: dict[str, Any]) -> tuple[list[Answer], list[str]]:
    """All answers of a test.

    Returns:
        answers, and what there is to say of the files: unfinished ones, and listeners who sent more than one.

    Raises:
        MamTraError: a file is missing, is something else, or belongs to another test.
    """
    sessions: dict[str, dict[str, Any]] = {}
    remarks = []
    for path in paths:
        session = _session(path, key)
        name = session["listener"]
        if name in sessions:
            remarks.append(f"{name} sent more than one file; the one with more answers counts")
            session = max(sessions[name], session, key=lambda one: len(one["answers"]))
        sessions[name] = session
    remarks += [f"{name} did not finish" for name, session in sessions.items() if not session.get("finished")]
    if not sessions:
        raise MamTraError("There are no answers; give the JSON files that listeners saved.")
    return [_answer(key, name, item) for name, session in sessions.items() for item in session["answers"]], remarks


def _session(path: Path, key: dict[str, Any]) -> dict[str, Any]:
    try:
        session = json.loads(path.read_text(encoding="utf-8"))
        listener, trials = session["listener"], [item["trial"] for item in session["answers"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MamTraError(f"{path} is not a file of answers, as the page of a listening test saves it.") from error
    if session.get("digest") != key["digest"]:
        raise MamTraError(
            f"{path} belongs to another listening test than the key; give the key that was made with its page."
        )
    if not isinstance(listener, str) or not {*trials} <= {*key["trials"]} or len({*trials}) < len(trials):
        raise MamTraError(f"{path} is damaged: its trials are not those of the test.")
    return session


def _answer(key: dict[str, Any], listener: str, item: dict[str, Any]) -> Answer:
    trial = key["trials"][item["trial"]]
    owners = trial["clips"]
    try:
        scores = {owners[clip]: float(value) for clip, value in item["scores"].items()}
        chosen = item.get("choice")
        choice = owners[chosen] if chosen not in (None, "same") else None
    except (KeyError, TypeError, ValueError) as error:
        raise MamTraError(
            f"The answers of {listener} are damaged: they name a clip that is not in the test."
        ) from error
    if key["listening_test"] != "ab" and {*scores} != {*owners.values()}:
        raise MamTraError(f"The answers of {listener} are damaged: a trial has clips that were not rated.")
    pair = tuple(owners.values()) if key["listening_test"] == "ab" else ()
    return Answer(listener, trial["utterance"], trial["catch"], scores, pair, choice)


def fooled(answer: Answer, kind: str) -> bool:
    """Whether a catch trial was answered as by someone who did not listen."""
    if kind == "mos":
        return answer.scores[CATCH] > 2
    if kind == "ab":
        return answer.choice != REFERENCE
    return answer.scores[REFERENCE] <= answer.scores[CATCH]


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
        failed = sum(fooled(answer, kind) for answer in own if answer.catch)
        if failed > allowed:
            left_out[name] = f"failed {failed} of {sum(answer.catch for answer in own)} catch trials"
        elif kind == "mushra":
            rated = [answer.scores for answer in own if not answer.catch]
            low = sum(scores[REFERENCE] < HIGH for scores in rated)
            high = sum(scores[ANCHOR] > HIGH for scores in rated)
            if low > SHARE * len(rated):
                left_out[name] = f"rated the hidden reference under {HIGH} in {low} of {len(rated)} trials"
            elif high > SHARE * len(rated):
                left_out[name] = f"rated the low anchor over {HIGH} in {high} of {len(rated)} trials"
    return [answer for answer in answers if not answer.catch and answer.listener not in left_out], left_out
