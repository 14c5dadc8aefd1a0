"""VERSA's own scorer, run as a process over the sound of a score file."""

from __future__ import annotations

import importlib.util
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from pydantic import RootModel

from mamtra.errors import MamTraError
from mamtra.evaluate.alignment import Counts
from mamtra.evaluate.score_file import ScoreFile, row_key, sound_file
from mamtra.evaluate.sets import Line
from mamtra.runtime.strict_models import parse_json

ENTRIES: dict[str, dict[str, Any]] = {
    "words": {"name": "whisper_wer", "model_tag": "default", "beam_size": 5, "text_cleaner": "whisper_basic"},
    "similarity": {"name": "speaker", "model_tag": "default"},
    "mos": {"name": "pseudo_mos", "predictor_types": ["utmos"], "predictor_args": {"utmos": {"fs": 16000}}},
}
"""What the paper's figures were made with."""


def versa_command() -> list[str]:
    """Command of VERSA's scorer.

    Raises:
        MamTraError: VERSA is not installed.
    """
    found = shutil.which("versa-score")
    if found:
        return [found]
    try:
        if importlib.util.find_spec("versa.bin.scorer"):
            return [sys.executable, "-m", "versa.bin.scorer"]
    except ImportError:
        pass
    raise MamTraError(
        "VERSA is not installed here; install it from github.com/wavlab-speech/versa, or leave --with-versa out."
    )


def run_versa(
    scores: ScoreFile, lines: Iterable[Line], out: Path, *, metrics: Sequence[str], config: Path | None = None
) -> tuple[dict[str, float], list[str]]:
    """Let VERSA score the sound of a score file.

    Args:
        scores: rows with sound that was kept.
        lines: of the set, whose recordings VERSA compares speakers with; VERSA needs one for every sound, or none at all.
        out: VERSA's score lines; the lists and configuration written for it stay in a folder beside it.
        metrics: keys of `ENTRIES`, where no configuration is given.
        config: VERSA's own YAML.

    Returns:
        figures, see `means`; and what VERSA left out, a sentence each: it continues without metrics that it cannot load and
        without sound that it cannot use.

    Raises:
        MamTraError: VERSA is missing or fails, no sound was kept, or a name of an utterance has blanks.
    """
    command = versa_command()
    rows = [row for row in scores.rows.values() if sound_file(row)]
    if not rows:
        raise MamTraError("VERSA needs sound that was kept; give --sounds DIR as well.")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.unlink(missing_ok=True)
    work = out.with_suffix(".files")
    compared = _write_lists(rows, {line.id: line.ground_truth for line in lines if line.ground_truth}, work)
    if config is None:
        config = work / "config.yaml"
        config.write_text(yaml.safe_dump([ENTRIES[name] for name in metrics], sort_keys=False), encoding="utf-8")
    command += ["--pred", str(work / "pred.scp"), "--text", str(work / "text"), "--score_config", str(config)]
    command += ["--gt", str(work / "gt.scp")] if compared else []
    command += ["--output_file", str(out), "--io", "soundfile"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    left_out = list(dict.fromkeys(_LEFT_OUT.findall(done.stderr)))
    if done.returncode or not out.is_file():
        last = (done.stderr.strip().splitlines() or ["it wrote nothing"])[-1]
        raise MamTraError(f"VERSA's scorer failed: {'; '.join([*left_out, last])}")
    numbered = enumerate(out.read_text(encoding="utf-8").splitlines(), 1)
    found = [parse_json(_Line, text, f"{out}, line {number}").root for number, text in numbered if text.strip()]
    silent = len(rows) - len(found)
    return means(found), left_out + ([f"{silent} of {len(rows)} sounds have no line"] if silent else [])


class _Line(RootModel[dict[str, Any]]):
    """Any JSON object."""


_LEFT_OUT = re.compile(r"(?:Failed to load metric|Cannot use|Error computing|Error processing) .*")


def _write_lists(rows: Sequence[dict[str, Any]], ground_truth: dict[str, Path], work: Path) -> bool:
    """VERSA's lists, a name, a blank and a value a line; whether there is one of recordings."""
    work.mkdir(parents=True, exist_ok=True)
    compared = all(row["id"] in ground_truth for row in rows)
    lists: dict[str, list[tuple[dict[str, Any], Any]]] = {
        "pred.scp": [(row, row["sound"]) for row in rows],
        "text": [(row, " ".join(row["reference"].split())) for row in rows],
        "gt.scp": [(row, ground_truth[row["id"]].resolve()) for row in rows] if compared else [],
    }
    for name, entries in lists.items():
        split = next((row_key(row) for row, _ in entries if len(row_key(row).split()) > 1), None)
        if split:
            raise MamTraError(f"VERSA's lists end a name at its first blank; rename {split!r} in the set.")
        (work / name).write_text("".join(f"{row_key(row)} {value}\n" for row, value in entries), encoding="utf-8")
    return compared


def means(lines: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Figures of VERSA's lines, as its own summary has them.

    Returns:
        mean of every finite number. Alignment steps of words, characters or phonemes (`whisper_wer`, `fwhisper_cer`) are summed
        before they are divided, and become a rate in percent.
    """
    numbers = dict.fromkeys(key for line in lines for key, value in line.items() if _is_number(value))
    found: dict[str, float] = {}
    for name in dict.fromkeys(match[1] for match in map(_STEP.fullmatch, numbers) if match):
        total = {kind: sum(line.get(f"{name}_{kind}", 0) for line in lines) for kind in Counts._fields}
        found[name] = Counts(**total).rate
    for key in numbers:
        if not _STEP.fullmatch(key):
            found[key] = float(np.mean([line[key] for line in lines if _is_number(line.get(key))]))
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, float | int) and not isinstance(value, bool) and math.isfinite(value)


_STEP = re.compile(r"(.+_(?:wer|cer|per))_(?:delete|insert|replace|equal)")
