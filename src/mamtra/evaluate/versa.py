"""VERSA's files: its score lines written and read, its configuration read, so that either tool can continue the other's work.

VERSA (github.com/wavlab-speech/versa) keeps one JSON object an utterance: `key`, `ref_text`, `whisper_hyp_text`, and the steps of
the word and character alignment as `whisper_wer_delete`, `_insert`, `_replace`, `_equal` and `whisper_cer_...`. Its summary sums
those and averages everything else, as `mamtra.evaluate.summary` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ConfigDict

from mamtra.errors import MamTraError
from mamtra.evaluate.alignment import Counts, count
from mamtra.evaluate.score_file import Name, Number, ScoreFile, Text, row_key
from mamtra.evaluate.text_normalizers import normaliser
from mamtra.runtime.files import check_regular, write_text
from mamtra.runtime.line_files import json_line
from mamtra.runtime.printable import printable
from mamtra.runtime.strict_models import StrictModel, parse_json
from mamtra.runtime.yaml_files import BoundedLoader

METRICS = {"whisper_wer": "words", "speaker": "similarity", "pseudo_mos": "mos"}
"""Metrics of VERSA's configuration, and their counterparts here."""

_MEANS = {
    "mos": "distillmos",
    "similarity_to_ground_truth": "spk_similarity",
    "similarity_to_prompt": "spk_similarity_prompt",
}
_STEPS = Counts._fields


class VersaLine(StrictModel):
    """A score line of VERSA; what else it holds is not read."""

    model_config = ConfigDict(extra="allow")

    key: Name
    ref_text: Text
    distillmos: Number | None = None
    spk_similarity: Number | None = None
    spk_similarity_prompt: Number | None = None


def read_config(path: Path, *, any_metric: bool = False) -> set[str]:
    """The metrics that a VERSA configuration (a YAML list of `name` and arguments) asks for, as values of `METRICS`.

    Args:
        path: of the configuration.
        any_metric: skip metrics that are not known here, because VERSA itself runs.

    Raises:
        MamTraError: it is not such a list, or asks for a metric that is not known here.
    """
    check_regular(path)
    try:
        entries = yaml.load(path.read_text(encoding="utf-8"), BoundedLoader)
    except Exception as error:  # PyYAML's constructors raise what they like on odd values
        raise MamTraError(f"{path} cannot be read as a VERSA configuration, a YAML list of metrics.") from error
    if not isinstance(entries, list) or not all(
        isinstance(entry, dict) and isinstance(entry.get("name"), str) for entry in entries
    ):
        raise MamTraError(f"{path} is not a VERSA configuration: it must be a list whose entries have a name.")
    unknown = sorted({entry["name"] for entry in entries} - set(METRICS))
    if unknown and not any_metric:
        names = printable(", ".join(unknown))
        raise MamTraError(f"{path} asks for {names}; the metrics known here are {', '.join(METRICS)}.")
    return {METRICS[entry["name"]] for entry in entries if entry["name"] in METRICS}


def versa_lines(scores: ScoreFile) -> Iterable[dict[str, Any]]:
    """The rows of a score file as VERSA writes them; texts are normalised by the basic rule, like its `whisper_basic`."""
    normalise, _ = normaliser("basic")
    for row in scores.rows.values():
        reference, hypothesis = normalise(row["reference"]), normalise(row.get("hypothesis", ""))
        line: dict[str, Any] = {"key": row_key(row), "ref_text": reference, "whisper_hyp_text": hypothesis}
        words = count(reference.split(), hypothesis.split())
        for name, steps in (("wer", words), ("cer", count(reference, hypothesis))):
            line |= {f"whisper_{name}_{kind}": getattr(steps, kind) for kind in _STEPS}
        yield line | {theirs: row[ours] for ours, theirs in _MEANS.items() if ours in row}


def write_versa(scores: ScoreFile, path: Path) -> None:
    """Write a score file in VERSA's form."""
    write_text(path, "".join(map(json_line, versa_lines(scores))))


def from_versa(path: Path, lines: Sequence[str]) -> ScoreFile:
    """Score lines of VERSA as a score file. Its fingerprint says no more than that VERSA made it.

    Raises:
        MamTraError: a line is something else.
    """
    rows = {}
    for number, text in enumerate(lines, 1):
        line = parse_json(VersaLine, text, f"{path}, line {number}")
        row: dict[str, Any] = {"id": line.key, "category": "", "text": line.ref_text, "reference": line.ref_text}
        found = [value for key, value in (line.model_extra or {}).items() if key.endswith("_hyp_text")]
        row["hypothesis"] = found[0] if found and isinstance(found[0], str) else ""
        means = {ours: getattr(line, theirs) for ours, theirs in _MEANS.items()}
        rows[line.key] = row | {name: value for name, value in means.items() if value is not None}
    return ScoreFile(path, {"system": path.stem, "kind": "VERSA", "asr": "as VERSA was set"}, rows)
