"""VERSA itself over what a score file was measured on: its scorer as a process, with lists and a configuration written for it."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mamtra.errors import MamTraError
from mamtra.evaluate.score_file import ScoreFile, row_key
from mamtra.evaluate.sets import Line

ENTRIES: dict[str, dict[str, Any]] = {
    "words": {"name": "whisper_wer", "model_tag": "default", "beam_size": 5, "text_cleaner": "whisper_basic"},
    "similarity": {"name": "speaker", "model_tag": "default"},
    "mos": {"name": "pseudo_mos", "predictor_types": ["utmos"], "predictor_args": {"utmos": {"fs": 16000}}},
}
"""What the paper's figures were made with."""


def scorer() -> list[str]:
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
) -> dict[str, float]:
    """Have VERSA score the sound of a score file.

    Args:
        scores: rows with sound that was kept.
        lines: of the set, whose recordings VERSA compares voices with.
        out: for VERSA's lines; its lists and configuration stay in a folder beside it.
        metrics: keys of `ENTRIES`, where no configuration is given.
        config: VERSA's own YAML.

    Returns:
        mean of every number in VERSA's lines; of whisper_wer and whisper_cer, counts summed before they are divided, percent.

    Raises:
        MamTraError: VERSA is missing or fails, or no sound was kept.
    """
    command = scorer()
    rows = [row for row in scores.rows.values() if row.get("sound") and Path(row["sound"]).is_file()]
    if not rows:
        raise MamTraError("VERSA needs sound that was kept; give --sounds DIR as well.")
    truth = {line.id: line.truth for line in lines if line.truth}
    work = out.with_suffix(".files")
    work.mkdir(parents=True, exist_ok=True)
    lists = {
        "pred.scp": [(row, row["sound"]) for row in rows],
        "text": [(row, row["reference"]) for row in rows],
        "gt.scp": [(row, truth[row["id"]].resolve()) for row in rows if row["id"] in truth],
    }
    for name, entries in lists.items():
        (work / name).write_text("".join(f"{row_key(row)} {value}\n" for row, value in entries), encoding="utf-8")
    if config is None:
        config = work / "config.yaml"
        config.write_text(yaml.safe_dump([ENTRIES[name] for name in metrics], sort_keys=False), encoding="utf-8")
    command += ["--pred", str(work / "pred.scp"), "--text", str(work / "text"), "--score_config", str(config)]
    command += [
        *(["--gt", str(work / "gt.scp")] if lists["gt.scp"] else []),
        "--output_file",
        str(out),
        "--io",
        "soundfile",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or not out.is_file():
        last = (done.stderr.strip().splitlines() or ["it wrote nothing"])[-1]
        raise MamTraError(f"VERSA's scorer failed: {last}")
    return means([json.loads(line) for line in out.read_text(encoding="utf-8").splitlines() if line.strip()])


def means(lines: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Figures of VERSA's lines, as its own summary has them."""
    kinds, found = ("delete", "insert", "replace", "equal"), {}
    for name in ("whisper_wer", "whisper_cer"):
        counted = [line for line in lines if f"{name}_equal" in line]
        if counted:
            total = {kind: sum(line[f"{name}_{kind}"] for line in counted) for kind in kinds}
            wrong = total["delete"] + total["insert"] + total["replace"]
            found[name] = 100 * wrong / max(1, wrong - total["insert"] + total["equal"])
    numbers = dict.fromkeys(key for line in lines for key, value in line.items() if isinstance(value, float | int))
    for key in numbers:
        if not key.startswith(("whisper_wer_", "whisper_cer_")):
            found[key] = float(np.mean([line[key] for line in lines if isinstance(line.get(key), float | int)]))
    return found
