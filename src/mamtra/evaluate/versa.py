"""VERSA's files: its score lines written and read, its configuration read, so that either tool can finish the other's work.

VERSA (github.com/wavlab-speech/versa) keeps one JSON object an utterance: `key`, `ref_text`, `whisper_hyp_text`, and the steps of
the word and character alignment as `whisper_wer_delete`, `_insert`, `_replace`, `_equal` and `whisper_cer_...`. Its summary sums
those and averages all else, as `mamtra.evaluate.summary` does.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from mamtra.errors import MamTraError
from mamtra.evaluate.alignment import Counts, count
from mamtra.evaluate.score_file import ScoreFile, row_key
from mamtra.evaluate.text_normalizers import normaliser
from mamtra.runtime.files import write_text

METRICS = {"whisper_wer": "words", "speaker": "similarity", "pseudo_mos": "mos"}
"""Names in VERSA's configuration, and what answers to them here."""

_MEANS = {"mos": "distillmos", "similarity_to_truth": "spk_similarity", "similarity_to_prompt": "spk_similarity_prompt"}
_STEPS = Counts._fields


def read_config(path: Path, *, any_metric: bool = False) -> set[str]:
    """What a VERSA configuration (a YAML list of `name` and arguments) asks for, as values of `METRICS`.

    Args:
        path: of the configuration.
        any_metric: pass over metrics that are not known here, because VERSA itself runs.

    Raises:
        MamTraError: it is not such a list, or asks for a metric that is not known here.
    """
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise MamTraError(f"{path} cannot be read as a VERSA configuration, a YAML list of metrics.") from error
    if not isinstance(entries, list) or not all(isinstance(entry, dict) and "name" in entry for entry in entries):
        raise MamTraError(f"{path} is not a VERSA configuration: it must be a list whose entries have a name.")
    unknown = sorted({str(entry["name"]) for entry in entries} - set(METRICS))
    if unknown and not any_metric:
        raise MamTraError(f"{path} asks for {', '.join(unknown)}; the metrics known here are {', '.join(METRICS)}.")
    return {METRICS[entry["name"]] for entry in entries if entry["name"] in METRICS}


def versa_lines(scores: ScoreFile) -> Iterable[dict[str, Any]]:
    """The rows of a score file as VERSA writes them; texts by the basic rule, as its `whisper_basic`."""
    normalise, _ = normaliser("basic")
    for row in scores.rows.values():
        reference, heard = normalise(row["reference"]), normalise(row.get("heard", ""))
        line: dict[str, Any] = {"key": row_key(row), "ref_text": reference, "whisper_hyp_text": heard}
        for name, steps in (("wer", count(reference.split(), heard.split())), ("cer", count(reference, heard))):
            line |= {f"whisper_{name}_{kind}": getattr(steps, kind) for kind in _STEPS}
        yield line | {theirs: row[ours] for ours, theirs in _MEANS.items() if ours in row}


def write_versa(scores: ScoreFile, path: Path) -> None:
    """Write a score file in VERSA's form."""
    write_text(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in versa_lines(scores)))


def from_versa(path: Path, lines: Iterable[dict[str, Any]]) -> ScoreFile:
    """Score lines of VERSA as a score file. Its stamp knows only that VERSA made it.

    Raises:
        MamTraError: a line has no reference text.
    """
    rows = {}
    for number, line in enumerate(lines, 1):
        if "key" not in line or "ref_text" not in line:
            raise MamTraError(f"{path}, line {number}: no key or ref_text, which VERSA's whisper_wer writes.")
        row = {"id": line["key"], "category": "", "text": line["ref_text"], "reference": line["ref_text"]}
        row["heard"] = next((line[key] for key in line if key.endswith("_hyp_text")), "")
        rows[row["id"]] = row | {ours: line[theirs] for ours, theirs in _MEANS.items() if theirs in line}
    return ScoreFile(path, {"system": path.stem, "kind": "VERSA", "asr": "as VERSA was set"}, rows)


def versa_rate(lines: Iterable[dict[str, Any]]) -> float:
    """The word error rate of VERSA's summary, percent: counts are summed before they are divided."""
    found = [Counts(**{kind: line[f"whisper_wer_{kind}"] for kind in _STEPS}) for line in lines]
    return sum(found, Counts()).rate
