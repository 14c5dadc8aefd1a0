"""Hands damaged files to a reader."""

from __future__ import annotations

import json
import random
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from mamtra.errors import MamTraError
from tests.readers.damage import damaged, damaged_bytes, damaged_json
from tests.readers.registry import Reader

LONGEST = 700
"""Characters of a message that a person still reads."""


@dataclass
class Outcome:
    """What a reader made of damaged files.

    Attributes:
        read: files it read.
        refused: files it refused in a sentence.
        faults: what else it did, and how often.
        example: of a fault: the number of the file, and what came of it.
    """

    read: int = 0
    refused: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    example: str = ""


def try_reader(reader: Reader, folder: Path, seed: int, count: int) -> Outcome:
    """Hand `count` damaged files to a reader, made in an empty folder."""
    path = reader.make(folder)
    data = path.read_bytes()
    reader.read(path)
    draw, outcome = random.Random(f"{reader.name} {seed}"), Outcome()
    if reader.kind == "json":
        contents = damaged_json(json.loads(data), draw, count)
    elif reader.kind == "lines":
        contents = damaged(data.decode(), draw, count)
    else:
        contents = damaged_bytes(data, draw, count)
    for number, content in enumerate(contents):
        path.write_bytes(content)
        fault = _fault(reader, path, outcome)
        if fault:
            outcome.faults[fault.partition(":")[0]] += 1
            outcome.example = outcome.example or f"file {number}: {fault}"
    return outcome


def _fault(reader: Reader, path: Path, outcome: Outcome) -> str:
    """What is wrong with how a file was taken, or nothing; good ends are counted."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reader.read(path)
    except MamTraError as error:
        message = str(error)
        if len(message) > LONGEST:
            return f"a message of more than {LONGEST} characters: {message[:200]!r}"
        if not message.isprintable():
            return f"a message with control characters: {message!r}"
        outcome.refused += 1
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__}: {str(error)[:200]!r} in {Path(place.filename).name}, line {place.lineno}"
    else:
        outcome.read += 1
    return ""
