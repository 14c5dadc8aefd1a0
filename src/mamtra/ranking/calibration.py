"""Calibration data: utterances from a file, or the model's own speech."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from mamtra.checkpoints.generation_config import GenerationConfig
from mamtra.engine.engine import Engine
from mamtra.engine.request import Request, Sampling, Unistream
from mamtra.errors import MamTraError
from mamtra.models.config import SpeechLMConfig
from mamtra.models.layout import Batch, opened, unistream
from mamtra.runtime.json_files import loads
from mamtra.runtime.npz_files import read_lists
from mamtra.runtime.text_files import read_text

POSITIONS = 2048
PARTS = ("text", "speech")
_TOGETHER = 256
"""Texts that the engine is given at once."""
Encode = Callable[[str], Sequence[int]]


@dataclass(frozen=True)
class Utterance:
    """Text ids (T,) and speech tokens (M,) of one utterance, integers."""

    text: Sequence[int]
    speech: Sequence[int]


def read_utterances(
    path: Path, config: SpeechLMConfig, encode: Encode, *, count: int, every: int = 1, seed: int = 0
) -> list[Utterance]:
    """A random sample of the utterances of a file, without replacement.

    Args:
        path: JSON lines ``{"text": words or ids, "speech": speech tokens}``, or a token set (.npz with the arrays speech,
            speech_len, text, text_len, utterances concatenated).
        config: of the model, whose tables the ids must fit.
        encode: text to text ids.
        count: at most so many.
        every: only utterances 0, every, 2 * every ... are sampled from.
        seed: of the sampling.

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
            ("speech token", one.speech, config.num_speech_tokens),
        ):
            if len(ids) == 0 or not 0 <= min(ids) <= max(ids) < size:
                raise MamTraError(
                    f"Each utterance of {path} needs at least one {name}, all of them 0 to {size - 1}; "
                    "use data made for this model."
                )
    return found


def own_speech(
    engine: Engine,
    texts: Sequence[Sequence[int]],
    prompt: tuple[Sequence[int] | Tensor, Sequence[int] | Tensor] | None,
    settings: GenerationConfig,
    *,
    opening: Sequence[int] = (),
    sample: bool = True,
    seed: int = 0,
) -> list[Utterance]:
    """Speech tokens that the model itself generates for each text, with the prompt of a voice before them.

    Args:
        engine: of the model.
        texts: text ids.
        prompt: text ids and speech tokens of a voice, which become part of the utterance.
        settings: of sampling and length limits.
        opening: text ids that the model reads first, which do not.
        sample: sample as in synthesis; otherwise the most probable token is taken.
        seed: of sampling.
    """
    prompt_text, prompt_speech = ([int(i) for i in part] for part in prompt or ((), ()))
    sampling = Sampling(ras=settings, greedy=not sample, guards=settings)
    before = [*opening, *prompt_text]
    found: list[Utterance] = []
    for start in range(0, len(texts), _TOGETHER):
        group = texts[start : start + _TOGETHER]
        runs = [
            engine.submit(Request(Unistream(text, before, prompt_speech, lengths=settings), seed + number, sampling))
            for number, text in enumerate(group, start)
        ]
        found += [
            Utterance([*prompt_text, *text], [*prompt_speech, *run.result()])
            for text, run in zip(group, runs, strict=True)
        ]
    return found


def batches(
    utterances: Sequence[Utterance], eos_id: int, positions: int = POSITIONS, opening: Sequence[int] = ()
) -> list[Batch]:
    """Batches of teacher-forced sequences of similar length, of at most ``positions`` positions; longer sequences stand alone.
    Each begins with the text ids of `opening`."""
    order = sorted(utterances, key=lambda one: len(one.text) + len(one.speech))
    groups: list[list[Utterance]] = []
    for one in order:
        length = len(opening) + len(one.text) + len(one.speech) + 2
        if not groups or (len(groups[-1]) + 1) * length > positions:
            groups.append([])
        groups[-1].append(one)
    made = (unistream([u.text for u in group], [u.speech for u in group], eos_id=eos_id) for group in groups)
    return [opened(batch, opening) for batch in made]


def _from_token_set(path: Path) -> list[Utterance]:
    try:
        arrays = read_lists(path, [name for part in PARTS for name in (part, f"{part}_len")])
    except ValueError as error:
        raise MamTraError(f"{path} is not a token set: it needs speech, speech_len, text and text_len.") from error
    lengths = {part: arrays[f"{part}_len"] for part in PARTS}
    if any(len(part) == 0 or part.min() < 0 for part in lengths.values()) or any(
        int(lengths[part].sum(dtype=object)) != len(arrays[part]) for part in PARTS
    ):
        raise MamTraError(f"{path} is damaged: its lengths do not add up.")
    text, speech = (np.split(arrays[part], np.cumsum(lengths[part])[:-1]) for part in PARTS)
    if len(text) != len(speech):
        raise MamTraError(f"{path} is damaged: it has {len(text)} texts and {len(speech)} utterances.")
    return [Utterance(t, s) for t, s in zip(text, speech, strict=True)]


def _integer(value: Any) -> int:
    if type(value) is not int:
        raise TypeError("no integer")
    return value


def _from_lines(path: Path, encode: Encode) -> list[Utterance]:
    found = []
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            item: dict[str, Any] = loads(line)
            text, speech = item["text"], [_integer(token) for token in item["speech"]]
            ids = encode(text) if isinstance(text, str) else [_integer(token) for token in text]
        except MamTraError as error:
            raise MamTraError(f"Line {number} of {path}: {error}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise MamTraError(
                f'Line {number} of {path} is not {{"text": words or ids, "speech": speech tokens}}.'
            ) from error
        found.append(Utterance(ids, speech))
    return found
