"""Trials of a listening test: utterances that all systems have spoken, and catch trials."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mamtra.errors import MamTraError
from mamtra.evaluate.listening.clips import low_anchor, noise_anchor, read_clip
from mamtra.evaluate.listening.key import LOW_ANCHOR, NOISE_ANCHOR, REFERENCE, Kind
from mamtra.evaluate.score_file import ScoreFile, sound_file


@dataclass(frozen=True)
class Stimulus:
    """One clip.

    Attributes:
        key: opaque name in the page, which says nothing about the owner.
        owner: name of a system, or REFERENCE, LOW_ANCHOR, NOISE_ANCHOR.
        samples: float32 (T,) at 24 kHz.
    """

    key: str
    owner: str
    samples: np.ndarray


@dataclass(frozen=True)
class Trial:
    """One question.

    Attributes:
        key: opaque name in the page.
        utterance: id in the score files.
        text: of the utterance.
        stimuli: to be rated; the page shuffles them.
        reference: the open reference of a MUSHRA trial.
        catch: whether the right answer is known beforehand.
    """

    key: str
    utterance: str
    text: str
    stimuli: tuple[Stimulus, ...]
    reference: Stimulus | None = None
    catch: bool = False


@dataclass(frozen=True)
class Design:
    """A whole test.

    Attributes:
        kind: mos (one clip, rated 1 to 5), ab (the better of two clips) or mushra (all systems and a reference, rated 0 to 100).
        utterances: sampled from those that all systems have; all of them where None.
        catch: number of catch trials.
        seed: of the sampling, of opaque names and of every listener's order.
        normalise: whether clips are loudness-normalised.
    """

    kind: Kind
    utterances: int | None = None
    catch: int = 2
    seed: int = 0
    normalise: bool = True


def make_trials(design: Design, files: Sequence[ScoreFile], reference: ScoreFile | None = None) -> list[Trial]:
    """All trials of a test.

    Args:
        design: of the test.
        files: scores of one system each, with their sound kept. An AB test compares each of the others with the first.
        reference: scores of recordings, which a MUSHRA test needs.

    Raises:
        MamTraError: too few systems, two of one name, no reference, or no utterance that all have sound of.
    """
    if design.kind == "ab" and len(files) < 2:
        raise MamTraError("An AB test needs two score files or more; the others are compared with the first.")
    if design.kind == "mushra" and reference is None:
        raise MamTraError("A MUSHRA test needs recordings to compare with; give --reference GROUND_GROUND_TRUTH.jsonl.")
    systems = system_names(files)
    everyone = [*files, *([reference] if reference else [])]
    shared = [key for key in files[0].rows if all(sound_file(scores.rows.get(key, {})) for scores in everyone)]
    if not shared:
        raise MamTraError(
            "There is no utterance that all systems have sound of; run `mamtra evaluate` with --sounds DIR to keep it."
        )
    rng = np.random.default_rng(design.seed)
    wanted = min(design.utterances or len(shared), len(shared))
    chosen = [shared[i] for i in sorted(rng.permutation(len(shared))[:wanted].tolist())]
    trials = [t for key in chosen for t in _of_utterance(design, systems, files, reference, key)]
    caught = [chosen[i % len(chosen)] for i in range(design.catch)]
    return trials + [_catch(design, files[0], reference, key, i) for i, key in enumerate(caught)]


def system_names(files: Sequence[ScoreFile]) -> list[str]:
    """Names of systems, one each.

    Raises:
        MamTraError: two are the same, even by the names of their files.
    """
    names = [str(scores.fingerprint.get("system")) for scores in files]
    names = [name if names.count(name) == 1 else scores.path.stem for name, scores in zip(names, files, strict=True)]
    if len({*names}) < len(names) or {*names} & {REFERENCE, LOW_ANCHOR, NOISE_ANCHOR}:
        raise MamTraError(f"These score files cannot be told apart by name: {', '.join(names)}; rename one.")
    return names


def _of_utterance(
    design: Design, systems: Sequence[str], files: Sequence[ScoreFile], reference: ScoreFile | None, key: str
) -> Iterator[Trial]:
    text = files[0].rows[key].get("text", "")
    found = [_stimulus(design, name, scores, key) for name, scores in zip(systems, files, strict=True)]
    if design.kind == "mos":
        for one in found:
            yield Trial(_opaque(design, "trial", one.key), key, text, (one,))
    elif design.kind == "ab":
        for other in found[1:]:
            yield Trial(_opaque(design, "trial", key, other.owner), key, text, (found[0], other))
    elif reference is not None:
        shown = _stimulus(design, REFERENCE, reference, key, "shown")
        hidden = Stimulus(_opaque(design, REFERENCE, key, "hidden"), REFERENCE, shown.samples)
        low = Stimulus(_opaque(design, LOW_ANCHOR, key), LOW_ANCHOR, low_anchor(shown.samples))
        yield Trial(_opaque(design, "trial", key), key, text, (*found, hidden, low), shown)


def _catch(design: Design, first: ScoreFile, reference: ScoreFile | None, key: str, number: int) -> Trial:
    """The noise anchor, alone (it must get 1 or 2) or with the clean clip (which must win)."""
    mark = f"catch {number}"
    good = _stimulus(design, REFERENCE, reference or first, key, mark)
    bad = Stimulus(_opaque(design, "catch", key, mark), NOISE_ANCHOR, noise_anchor(good.samples, design.seed + number))
    stimuli = (bad,) if design.kind == "mos" else (good, bad)
    shown = _stimulus(design, REFERENCE, reference or first, key, mark + " shown") if design.kind == "mushra" else None
    return Trial(_opaque(design, mark, key), key, first.rows[key].get("text", ""), stimuli, shown, True)


def _stimulus(design: Design, owner: str, scores: ScoreFile, key: str, mark: str = "") -> Stimulus:
    return Stimulus(
        _opaque(design, "clip", owner, key, mark), owner, read_clip(Path(scores.rows[key]["sound"]), design.normalise)
    )


def _opaque(design: Design, *words: Any) -> str:
    return hashlib.sha256(json.dumps([design.seed, *words]).encode()).hexdigest()[:12]
