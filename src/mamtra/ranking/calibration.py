"""Speech that a model is measured on: utterances from a file, or what the model itself makes of a list of sentences."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from mamtra.checkpoints.generation_config import GenerationConfig
from mamtra.engine.generate import generate
from mamtra.engine.sampling import greedy, ras_sample
from mamtra.engine.steps import Step
from mamtra.errors import MamTraError
from mamtra.models.config import SpeechLMConfig
from mamtra.models.layout import Batch, unistream
from mamtra.models.speech_lm import SpeechLM

POSITIONS = 2048
Encode = Callable[[str], Sequence[int]]


@dataclass(frozen=True)
class Utterance:
    """Text ids and speech codes that belong together, both integers (T,), (M,)."""

    text: Sequence[int]
    speech: Sequence[int]


def read_utterances(
    path: Path, config: SpeechLMConfig, encode: Encode, *, count: int, every: int = 1, seed: int = 0
) -> list[Utterance]:
    """Utterances of a file, drawn without return.

    Args:
        path: JSON lines ``{"text": words or ids, "speech": codes}``, or a token set (.npz with the arrays speech,
            speech_len, text, text_len, all utterances behind one another).
        config: of the model, whose tables the ids must fit.
        encode: words to text ids.
        count: at most so many.
        every: only rows 0, every, 2 * every ... take part.
        seed: of the draw.

    Raises:
        MamTraError: the file is missing, empty or of another kind, or an id does not fit the model.
    """
    if not path.is_file():
        raise MamTraError(f"There is no calibration file {path}.")
    if path.suffix not in (".npz", ".jsonl"):
        raise MamTraError(f"Calibration data is a .jsonl or a .npz file, not {path.name!r}.")
    rows = (_from_token_set(path) if path.suffix == ".npz" else _from_lines(path, encode))[::every]
    if not rows:
        raise MamTraError(f"{path} holds no utterances.")
    chosen = np.random.default_rng(seed).permutation(len(rows))[:count]
    found = [rows[i] for i in sorted(chosen.tolist())]
    for one in found:
        for name, ids, size in (
            ("text id", one.text, config.text_vocab_size),
            ("code", one.speech, config.num_speech_tokens),
        ):
            if len(ids) == 0 or not 0 <= min(ids) <= max(ids) < size:
                raise MamTraError(
                    f"Each utterance of {path} needs at least one {name}, all of them 0 to {size - 1}; "
                    "use data made for this model."
                )
    return found


def own_speech(
    lm: SpeechLM,
    texts: Sequence[Sequence[int]],
    prompt: tuple[Tensor, Tensor] | None,
    settings: GenerationConfig,
    *,
    sample: bool = True,
    seed: int = 0,
    step: Step | None = None,
) -> list[Utterance]:
    """What the model itself says to each text, behind the prompt that it continues.

    Args:
        lm: the model.
        texts: text ids.
        prompt: text ids and speech codes of a voice, which become part of the utterance.
        settings: of the sampling, and of the lengths.
        sample: draw, as in speaking; otherwise the most probable code is taken each time.
        seed: of the draws.
        step: see `mamtra.engine.generate.generate`.
    """
    before, heard = (part.tolist() for part in prompt) if prompt else ([], [])
    found = []
    for number, text in enumerate(texts):
        run = generate(
            lm,
            text,
            before,
            heard,
            generator=torch.Generator().manual_seed(seed + number),
            min_ratio=settings.min_ratio,
            max_ratio=settings.max_ratio,
            sampler=partial(ras_sample, config=settings) if sample else greedy,
            step=step,
        )
        found.append(Utterance([*before, *text], [*heard, *run]))
    return found


def batches(utterances: Sequence[Utterance], eos_id: int, positions: int = POSITIONS) -> list[Batch]:
    """Teacher-forced sequences of similar length together, at most ``positions`` to a batch where one is not longer."""
    order = sorted(utterances, key=lambda one: len(one.text) + len(one.speech))
    groups: list[list[Utterance]] = []
    for one in order:
        length = len(one.text) + len(one.speech) + 2
        if not groups or (len(groups[-1]) + 1) * length > positions:
            groups.append([])
        groups[-1].append(one)
    return [unistream([u.text for u in group], [u.speech for u in group], eos_id=eos_id) for group in groups]


def _from_token_set(path: Path) -> list[Utterance]:
    try:
        with np.load(path) as arrays:
            text, speech = (
                np.split(arrays[name].astype(np.int64), np.cumsum(arrays[f"{name}_len"], dtype=np.int64)[:-1])
                for name in ("text", "speech")
            )
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise MamTraError(f"{path} is not a token set: it needs speech, speech_len, text and text_len.") from error
    if len(text) != len(speech):
        raise MamTraError(f"{path} is damaged: it has {len(text)} texts and {len(speech)} utterances.")
    return [Utterance(t, s) for t, s in zip(text, speech, strict=True)]


def _from_lines(path: Path, encode: Encode) -> list[Utterance]:
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        if not line.strip():
            continue
        try:
            item: dict[str, Any] = json.loads(line)
            text, speech = item["text"], [int(code) for code in item["speech"]]
            ids = encode(text) if isinstance(text, str) else [int(i) for i in text]
        except MamTraError as error:
            raise MamTraError(f"Line {number} of {path}: {error}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise MamTraError(f'Line {number} of {path} is not {{"text": words or ids, "speech": codes}}.') from error
        found.append(Utterance(ids, speech))
    return found
