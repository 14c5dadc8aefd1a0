"""A listening test as one HTML file for listeners, and its key."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mamtra.evaluate.listening.clips import inline
from mamtra.evaluate.listening.key import Key, KeyTrial
from mamtra.evaluate.listening.trials import Design, Trial
from mamtra.runtime.files import write_text
from mamtra.runtime.templates import render

QUESTIONS = {
    "mos": "How natural does this speech sound?",
    "ab": "Which of the two sounds more natural?",
    "mushra": "How close does each clip come to the reference in quality?",
}


@dataclass(frozen=True)
class Wording:
    """What listeners read.

    Attributes:
        title: of the page.
        question: asked in every trial.
        show_text: whether the text of a clip is shown.
        per_listener: trials of one listener besides the catch trials; all of them where None.
        fmt: flac and wav are lossless, opus is small.
    """

    title: str = "Listening test"
    question: str | None = None
    show_text: bool = False
    per_listener: int | None = None
    fmt: str = "flac"


def write_test(
    design: Design, trials: Sequence[Trial], systems: Sequence[str], path: Path, wording: Wording
) -> tuple[Path, Path]:
    """Write PAGE.html and PAGE.key.json.

    Args:
        design: of the test.
        trials: of the test.
        systems: names, in the order of the table.
        path: of the page.
        wording: what listeners read.

    Returns:
        both paths.
    """
    content: dict[str, Any] = {
        "kind": design.kind,
        "seed": design.seed,
        "title": wording.title,
        "question": wording.question or QUESTIONS[design.kind],
        "perListener": wording.per_listener,
        "trials": [
            {
                "id": trial.key,
                "text": trial.text if wording.show_text else "",
                "clips": sorted(one.key for one in trial.stimuli),
                "reference": trial.reference.key if trial.reference else None,
                "always": trial.catch,
            }
            for trial in sorted(trials, key=lambda trial: trial.key)
        ],
        "clips": {
            one.key: inline(one.samples, wording.fmt)
            for trial in trials
            for one in (*trial.stimuli, *([trial.reference] if trial.reference else []))
        },
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
    content["digest"] = digest
    # "<" never appears in the script, so that no text of a set can close it
    data = json.dumps(content, ensure_ascii=False).replace("<", "\\u003c")
    page = render(Path(__file__).with_suffix(".html.j2"), title=wording.title, data=data)
    key = Key(
        listening_test=design.kind,
        digest=digest,
        seed=design.seed,
        systems=tuple(systems),
        trials={
            trial.key: KeyTrial(
                utterance=trial.utterance, catch=trial.catch, clips={one.key: one.owner for one in trial.stimuli}
            )
            for trial in trials
        },
    )
    beside = path.with_suffix(".key.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    for place, text in ((path, page), (beside, key.model_dump_json(indent=1) + "\n")):
        write_text(place, text)
    return path, beside
