"""Lines to encoded sound on several machines by Ray Data; this process writes the files."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

import torch

from mamtra.bulk.lines import Failure, Line
from mamtra.bulk.speakers import LocalSpeaker, Sound
from mamtra.runtime.ray_data import RayData
from mamtra.tts import TTS

LINES_PER_TASK = {"cpu": 4, "cuda": 128}
"""Lines that an actor takes at once, by the kind of device."""


class RaySpeaker:
    """Speaks lines in a pool of Ray actors, each with its own model.

    Every machine needs this package, and the model and the voice files at the same paths. What a machine that fails had begun is
    given to others.

    Args:
        tts: its model is opened by every actor, on a device of the same kind.
        source: name of the batch file, for messages.
        address: see `mamtra.runtime.ray_data.RayData`.
        workers: largest number of actors.
        watermark: see `LocalSpeaker`.

    Raises:
        MamTraError: Ray is not installed, or nothing answers at the address.
    """

    def __init__(self, tts: TTS, source: str, address: str, workers: int | None, watermark: str | None = None) -> None:
        device = tts.model.device.type
        self._each = LINES_PER_TASK.get(device, LINES_PER_TASK["cpu"])
        self._ray = RayData("A batch with --ray", address, workers, gpu=device == "cuda")
        directory = str(tts.model.directory.resolve())
        self._given = {"directory": directory, "source": source, "device": device, "watermark": watermark}

    def __enter__(self) -> RaySpeaker:
        return self

    def __exit__(self, *_: object) -> None:
        self._ray.close()

    def each(self, lines: Sequence[Line]) -> Iterator[Sound | Failure]:
        """One result a line, in the order in which they are finished.

        Raises:
            MamTraError: the model cannot be opened, or the cluster fails.
        """
        by_number = {line.number: line for line in lines}
        rows = [
            {"lines": json.dumps([asdict(_anywhere(line)) for line in lines[start : start + self._each]])}
            for start in range(0, len(lines), self._each)
        ]
        for row in self._ray.map(rows, _Actor, self._given):
            about = json.loads(row["about"])
            if about["reason"] is not None:
                yield Failure(about["number"], about["reason"])
            else:
                yield Sound(by_number[about["number"]], row["data"], about["seconds"], about["finish_reason"])


class _Actor:
    """One process on the cluster."""

    def __init__(self, directory: str, source: str, device: str, watermark: str | None) -> None:
        if device == "cpu":
            torch.set_num_threads(1)
        self._speaker = LocalSpeaker(TTS.load(directory, device=device), source, watermark)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        lines = [Line(**line) for group in batch["lines"] for line in json.loads(group)]
        results = list(self._speaker.each(lines))
        about = [
            {"number": r.number, "reason": r.reason}
            if isinstance(r, Failure)
            else {"number": r.line.number, "reason": None, "seconds": r.seconds, "finish_reason": r.finish_reason}
            for r in results
        ]
        data = [b"" if isinstance(r, Failure) else r.data for r in results]
        return {"about": [json.dumps(one) for one in about], "data": data}


def _anywhere(line: Line) -> Line:
    """The line for processes with other working directories."""
    is_file = line.voice is not None and os.path.isfile(line.voice)
    return replace(line, voice=os.path.abspath(line.voice)) if is_file else line
