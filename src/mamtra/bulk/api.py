"""A file of texts to a folder of sound files, from Python: what `mamtra batch` does."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mamtra.audio.io import format_of
from mamtra.bulk.lines import Defaults, Failure, Line, read_lines
from mamtra.bulk.record import Made, Record, digest_of, join_hashes
from mamtra.bulk.speakers import LocalSpeaker, Sound, VoiceHashes
from mamtra.errors import MamTraError
from mamtra.runtime.arguments import checked
from mamtra.runtime.files import check_folder, write_bytes
from mamtra.runtime.locks import directory_lock
from mamtra.synthesis.fingerprint import hash_parts
from mamtra.synthesis.pipeline import check_speed
from mamtra.tts import TTS

Progress = Callable[[int, int], None]
"""Called with the lines that are done, failed ones too, and their total."""


@dataclass(frozen=True)
class Summary:
    """What became of the lines.

    Attributes:
        made: sound files made by this call.
        kept: those that were there already, made from the same input.
        seconds: of sound made.
        cut_off: numbers of lines that were cut off at the length limit in every attempt.
        failures: lines without a sound file, in the order of the file.
    """

    made: int
    kept: int
    seconds: float
    cut_off: tuple[int, ...]
    failures: tuple[Failure, ...]


@checked
def batch(
    file: str | os.PathLike,
    folder: str | os.PathLike,
    *,
    model: str | os.PathLike | None = None,
    voice: str | None = None,
    seed: int = 0,
    speed: float = 1.0,
    fmt: str = "wav",
    runtime: str | None = None,
    device: str | None = None,
    ray: str | None = None,
    workers: int | None = None,
    watermark: str | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Speak every line of a file into ID.FORMAT of a folder. The same call resumes an interrupted one.

    What is finished is not made again, unless its line, its voice or the model has changed. A line that is malformed or cannot be
    spoken does not stop the others.

    Args:
        file: FILE.txt with a text a line (ids line0001, line0002, ...), or FILE.jsonl with objects of ``text`` and, where wanted,
            ``id``, ``voice`` (a name, or a file beside FILE.jsonl), ``seed``, ``speed`` and ``format``.
        folder: of the sound files, and of ``batch.jsonl`` that lists them; made where it does not exist.
        model: directory or name.
        voice: of lines that name none.
        seed: of lines that name none; a line's audio does not depend on the other lines.
        speed: of lines that name none.
        fmt: of lines that name none: wav, flac, opus, mp3, aac or pcm.
        runtime: "onnx" or "torch", see `TTS.load`.
        device: cpu, cuda, cuda:N or mps.
        ray: speak on a Ray cluster: ``auto``, ``HOST:PORT``, or ``local`` for this machine.
        workers: with `ray`, the most actors.
        watermark: key to mark the samples with, see `mamtra.audio.watermark`; None for no mark.
        progress: told after every line.

    Raises:
        MamTraError: there is no such file or model, it holds no text, or the folder is in use or cannot be written.
    """
    source, out = Path(file), Path(folder)
    defaults = Defaults(voice, seed, check_speed(speed), format_of("-", fmt))
    entries = list(read_lines(source, defaults))
    if not entries:
        raise MamTraError(f"{source} holds no text.")
    check_folder(out)
    tts = TTS.load(model, runtime=runtime, device=device)
    if ray is not None and tts.model.arrays == "numpy":
        raise MamTraError("A batch with --ray needs the runtime torch; pip install 'mamtra[torch]'.")
    failures = [entry for entry in entries if isinstance(entry, Failure)]
    made, seconds, cut_off = 0, 0.0, []
    with directory_lock(out, "mamtra batch"):
        record = Record(out)
        digests, waiting = dict[int, str](), list[Line]()
        decides = {**hash_parts(tts.model), "generation": tts.model.generation.model_dump_json()}
        weights = join_hashes(decides if watermark is None else {**decides, "watermark": watermark})
        voices = VoiceHashes(tts)
        for line in (entry for entry in entries if isinstance(entry, Line)):
            try:
                digests[line.number] = digest_of(line, voices(line.voice), weights)
            except MamTraError as error:
                failures.append(Failure(line.number, f"{source}, line {line.number}: {error}"))
                continue
            if not record.has(line, digests[line.number]):
                waiting.append(line)
        kept = len(digests) - len(waiting)
        for result in _speak(tts, source, waiting, ray, workers, watermark):
            if isinstance(result, Failure):
                failures.append(result)
            else:
                line = result.line
                write_bytes(out / line.file, result.data)
                digest = digests[line.number]
                record.add(Made(id=line.id, file=line.file, digest=digest, seconds=result.seconds,
                                finish_reason=result.finish_reason))  # fmt: skip
                made, seconds = made + 1, seconds + result.seconds
                cut_off += [line.number] * (result.finish_reason == "length")
            if progress is not None:
                progress(kept + made + len(failures), len(entries))
    order = sorted(failures, key=lambda failure: failure.number)
    return Summary(made, kept, seconds, tuple(sorted(cut_off)), tuple(order))


def _speak(
    tts: TTS, source: Path, lines: list[Line], ray: str | None, workers: int | None, watermark: str | None
) -> Iterator[Sound | Failure]:
    if not lines:
        return
    if ray is None:
        yield from LocalSpeaker(tts, str(source), watermark).each(lines)
        return
    from mamtra.bulk.ray_speaker import RaySpeaker

    with RaySpeaker(tts, str(source), ray, workers, watermark) as speaker:
        yield from speaker.each(lines)
