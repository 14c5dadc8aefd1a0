"""Score files: JSON lines, first a fingerprint of what was measured how, then a row an utterance; interrupted runs continue."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, JsonValue

from mamtra.errors import MamTraError
from mamtra.runtime.files import is_file
from mamtra.runtime.json_files import loads
from mamtra.runtime.line_files import LineFile, json_line
from mamtra.runtime.printable import printable
from mamtra.runtime.strict_models import StrictModel, parse_json
from mamtra.runtime.text_files import read_text

COMPARABLE = ("set_sha256", "asr", "asr_sha256", "rules", "metrics")
"""Keys of the fingerprint in which two files must agree for their figures to be compared."""
RENAMED = {"stamp": "fingerprint", "heard": "hypothesis", "similarity_to_truth": "similarity_to_ground_truth"}
"""Keys of earlier versions."""

Text = Annotated[str, Field(max_length=100_000)]
Name = Annotated[str, Field(min_length=1, max_length=500)]
Number = Annotated[float, Field(ge=-1e9, le=1e9)]
Seed = Annotated[int, Field(ge=0, lt=2**64)]


class Fingerprint(StrictModel):
    """What was measured how; see `mamtra.evaluate.scorer.Scorer.fingerprint`."""

    system: Text
    kind: Text = ""
    mamtra: Text = ""
    set: Text = ""
    set_sha256: Text = ""
    lines: int = 0
    weights_sha256: Text = ""
    layer_types: Text = ""
    generation: dict[str, JsonValue] = Field(default_factory=dict)
    voice: Text = ""
    seed: Seed | list[Seed] = 0
    asr: Text = ""
    asr_sha256: Text = ""
    rules: dict[str, Text] = Field(default_factory=dict)
    metrics: dict[str, Text] = Field(default_factory=dict)


class Row(StrictModel):
    """Scores of an utterance; see `mamtra.evaluate.scorer.Scorer`."""

    id: Name
    seed: Seed | None = None
    category: Text = ""
    text: Text = ""
    reference: Text
    hypothesis: Text = ""
    error: Text | None = None
    sha256: Text = ""
    sound: Text | None = None
    finish_reason: Text = ""
    tokens: int = 0
    seconds: Number = 0.0
    duration_ratio: Number = 0.0
    silence_share: Number = 0.0
    words_per_second: Number = 0.0
    rtf: Number = 0.0
    ttfa_ms: Number = 0.0
    mos: Number = 0.0
    similarity_to_prompt: Number = 0.0
    similarity_to_ground_truth: Number = 0.0
    spent: dict[str, Number] = Field(default_factory=dict)


class _FirstLine(StrictModel):
    fingerprint: Fingerprint


class ScoreFile:
    """Scores of one system on one set.

    Args:
        path: the file; created with the first row.
        fingerprint: of the run.
        rows: measured so far, by `row_key`.
    """

    def __init__(
        self, path: Path, fingerprint: Mapping[str, Any], rows: Mapping[str, dict[str, Any]] | None = None
    ) -> None:
        self.path, self.fingerprint, self.rows = path, dict(fingerprint), dict(rows or {})
        self._file = LineFile(path, self._lines)

    def add(self, row: dict[str, Any]) -> None:
        """Keep a row, on disk at once."""
        self.rows[row_key(row)] = row
        self._file.append(json_line(row))

    def _lines(self) -> list[str]:
        return [json_line({"fingerprint": self.fingerprint}), *map(json_line, self.rows.values())]


def row_key(row: Mapping[str, Any]) -> str:
    """Name of a row: its id, and its seed where utterances are spoken with several."""
    return f"{row['id']}#{row['seed']}" if "seed" in row else row["id"]


def sound_file(row: Mapping[str, Any]) -> Path | None:
    """The sound of a row, where it was kept and is still there."""
    return Path(row["sound"]) if row.get("sound") and is_file(row["sound"]) else None


def read_lines(path: Path) -> list[str]:
    """Lines of a score file; a last line that an interruption cut short is left out.

    Raises:
        MamTraError: there is no such file, or it is empty.
    """
    lines = read_text(path, f"There is no score file {path}; `mamtra evaluate` makes one.").split("\n")
    last = lines.pop()
    if _is_json(last):
        lines.append(last)
    if not lines:
        raise MamTraError(f"{path} is not a score file: its first line has no fingerprint.")
    return lines


def read_scores(path: Path, lines: list[str] | None = None) -> ScoreFile:
    """Read a score file.

    Args:
        path: the file.
        lines: of it, where they were read already.

    Raises:
        MamTraError: there is none, or a line of it is something else.
    """
    lines = read_lines(path) if lines is None else lines
    if not any(f'"{key}"' in lines[0] for key in ("fingerprint", "stamp")):
        raise MamTraError(f"{path} is not a score file: its first line has no fingerprint.")
    first = parse_json(_FirstLine, lines[0], f"{path}, line 1", RENAMED).fingerprint
    rows = {}
    for number, line in enumerate(lines[1:], 2):
        row = parse_json(Row, line, f"{path}, line {number}", RENAMED).model_dump(exclude_unset=True, exclude_none=True)
        rows[row_key(row)] = row
    return ScoreFile(path, first.model_dump(exclude_unset=True), rows)


def _is_json(text: str) -> bool:
    try:
        loads(text)
    except ValueError:
        return False
    return True


def open_scores(path: Path, fingerprint: Mapping[str, Any], *, overwrite: bool = False) -> ScoreFile:
    """Begin a score file, or continue the one that is there.

    Raises:
        MamTraError: the file there was measured differently and is not to be overwritten.
    """
    if overwrite or not path.exists():
        return ScoreFile(path, fingerprint)
    found = read_scores(path)
    now = json.loads(json.dumps(fingerprint))  # as it will be read: tuples are lists
    changed = sorted(key for key in {*now, *found.fingerprint} if now.get(key) != found.fingerprint.get(key))
    if changed:
        raise MamTraError(
            f"{path} was measured with another {', '.join(changed)}; give another -o, or --overwrite to measure anew."
        )
    return found


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Why the figures of two fingerprints cannot be compared, a phrase each."""

    def shown(value: Any) -> str:
        return printable(str(value), 200)

    return [
        f"{key}: {shown(one.get(key))} against {shown(other.get(key))}"
        for key in COMPARABLE
        if one.get(key) != other.get(key)
    ]
