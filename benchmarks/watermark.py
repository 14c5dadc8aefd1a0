"""How surely the watermark is found, and what it does to the sound.

    python benchmarks/watermark.py --real FOLDER [--sentences 100] [--judge] [--out docs/results/watermark.json]

Sentences of the package, spoken by its voices in turn, are marked as a stream of chunks is, then changed in each way; recordings of
people in --real hold no mark. --judge has DistilMOS rate the sentences with and without the mark.
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from record import benchmark

from mamtra import load
from mamtra.audio.io import read_audio, resample, write_audio
from mamtra.audio.watermark import FOUND, STRENGTH, detect
from mamtra.evaluate.sentences import read_sentences
from mamtra.runtime.results import markdown_table, page
from mamtra.synthesis.audio import Audio, marked

Sound = tuple[np.ndarray, int]


def through(suffix: str) -> Callable[[np.ndarray, int], Sound]:
    """Written in a format of the package and read again."""

    def change(samples: np.ndarray, rate: int) -> Sound:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"a.{suffix}"
            write_audio(path, samples, rate)
            return read_audio(path)

    return change


def squeezed(kind: str, subtype: str, level: float, **more: str) -> Callable[[np.ndarray, int], Sound]:
    """In a format of libsndfile with a level of compression, 0 to 1."""

    def change(samples: np.ndarray, rate: int) -> Sound:
        file = io.BytesIO()
        with soundfile.SoundFile(file, "w", rate, 1, subtype, format=kind, compression_level=level, **more) as out:
            out.write(samples)
        file.seek(0)
        return soundfile.read(file, dtype="float32")

    return change


def at(rate: int) -> Callable[[np.ndarray, int], Sound]:
    """Resampled, as for a telephone."""
    return lambda samples, source: (resample(samples, source, rate), rate)


def cut(seconds: float) -> Callable[[np.ndarray, int], Sound]:
    """A part from the middle, from an odd sample on."""

    def change(samples: np.ndarray, rate: int) -> Sound:
        size = min(len(samples), round(seconds * rate))
        start = (len(samples) - size) // 2 | 1
        return samples[start : start + size], rate

    return change


def noisy(samples: np.ndarray, rate: int) -> Sound:
    """With white noise 20 dB below."""
    noise = np.random.default_rng(0).normal(0, 0.1, len(samples)) * np.sqrt(np.square(samples).mean())
    return (samples + noise).astype(np.float32), rate


def faster(fraction: float) -> Callable[[np.ndarray, int], Sound]:
    """Played faster, and so higher."""
    return lambda samples, rate: (resample(samples, round(rate * (1 + fraction)), rate), rate)


CHANGES: Mapping[str, Callable[[np.ndarray, int], Sound]] = {
    "as made": lambda samples, rate: (samples, rate),
    "mp3": through("mp3"),
    "mp3, 24 kbit/s": squeezed("MP3", "MPEG_LAYER_III", 0.9, bitrate_mode="CONSTANT"),
    "opus": through("opus"),
    "opus, 16 kbit/s": squeezed("OGG", "OPUS", 0.95),
    "at 16 kHz": at(16000),
    "at 8 kHz": at(8000),
    "1 s of it": cut(1.0),
    "2 s of it": cut(2.0),
    "12 dB quieter": lambda samples, rate: (samples / 4, rate),
    "noise 20 dB below": noisy,
    "0.1% faster": faster(0.001),
    "1% faster": faster(0.01),
}


WEAK, TOGETHER = ("mp3, 24 kbit/s", "opus, 16 kbit/s", "noise 20 dB below", "1% faster"), 8
"""Changes that are tried with so many sentences one after the other too."""


def stream_of(audio: Audio) -> list[Audio]:
    """The audio in chunks as a stream has them."""
    ends = np.cumsum([0.6, 1.0, 2.0, *[4.0] * 20]) * audio.sample_rate
    parts = np.split(audio.samples, [int(end) for end in ends if end < len(audio.samples)])
    return [replace(audio, samples=part, spans=()) for part in parts]


def measure(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Speak, mark, change, look."""
    sentences, tts = read_sentences(), load(runtime="onnx")
    spoken = [
        tts.say(sentences[number % len(sentences)], tts.voices[number % len(tts.voices)], seed=number)
        for number in range(args.sentences)
    ]
    made = [Audio.joined(list(marked(stream_of(audio), "mamtra"))) for audio in spoken]
    found: dict[str, Any] = {"strength": STRENGTH, "enough": FOUND, "sentences": len(spoken), "voices": len(tts.voices)}
    found["changes"] = {}
    found["seconds"] = sum(audio.seconds for audio in spoken)
    levels = [snr(audio.samples, other.samples) for audio, other in zip(spoken, made, strict=True)]
    found["snr"] = {"median": statistics.median(levels), "least": min(levels)}
    rows = [Audio.joined(spoken[start : start + TOGETHER]) for start in range(0, len(spoken), TOGETHER)]
    long = rows, [Audio.joined(list(marked(stream_of(audio), "mamtra"))) for audio in rows]
    for name, change in CHANGES.items():
        for several, pair in (("", (spoken, made)), (f", {TOGETHER} together", long)):
            if several and name not in WEAK:
                continue
            plain, scores = (
                [detect(*change(audio.samples, audio.sample_rate)).score for audio in each] for each in pair
            )
            found["changes"][name + several] = {"marked": summary(scores), "plain": summary(plain)}
    yield found
    if args.real is not None:
        files = [path for path in sorted(args.real.rglob("*")) if path.suffix in (".wav", ".flac", ".opus", ".mp3")]
        recordings = [read_audio(path) for path in files]
        found["real"] = summary([detect(*recording).score for recording in recordings])
        found["real_seconds"] = sum(len(samples) / rate for samples, rate in recordings)
        yield found
    if args.judge:
        from mamtra.evaluate.judges.models import DistilMOS

        judge = DistilMOS()
        pairs = [
            (judge(a.samples, a.sample_rate), judge(b.samples, b.sample_rate))
            for a, b in zip(spoken, made, strict=True)
        ]
        change = [after - before for before, after in pairs]
        error = statistics.stdev(change) / len(change) ** 0.5
        found["mos"] = {"plain": statistics.mean(a for a, _ in pairs), "marked": statistics.mean(b for _, b in pairs)}
        found["mos"] |= {"change": statistics.mean(change), "error": error, "judge": judge.about}
        yield found


def snr(before: np.ndarray, after: np.ndarray) -> float:
    """Level of the sound above that of the mark, dB."""
    return float(10 * np.log10(np.square(before).sum() / np.square(after - before).sum()))


def summary(scores: list[float]) -> dict[str, Any]:
    """How many were found, and scores."""
    return {
        "found": sum(score >= FOUND for score in scores), "of": len(scores), "median": statistics.median(scores),
        "least": min(scores), "most": max(scores),
    }  # fmt: skip


def render(result: dict[str, Any]) -> str:
    """The page."""
    rows = [
        [
            name, f"{of['marked']['found']} of {of['marked']['of']}", f"{of['marked']['median']:.1f}",
            f"{of['marked']['least']:.1f}", f"{of['plain']['found']} of {of['plain']['of']}", f"{of['plain']['most']:.1f}",
        ]
        for name, of in result["changes"].items()
    ]  # fmt: skip
    table = markdown_table(["", "found", "median score", "lowest", "found without the mark", "highest score"], rows)
    told = [
        f"{result['sentences']} sentences, {result['seconds']:.0f} s by {result['voices']} voices of the package, marked in the "
        f"chunks of a stream with {result['strength']:g} nepers. A score of {result['enough']:g} standard deviations is enough."
    ]
    level = result["snr"]
    quality = [f"The mark is {level['median']:.1f} dB below the sound (median; lowest {level['least']:.1f})."]
    if "mos" in result:
        mos = result["mos"]
        quality.append(
            f"DistilMOS ({mos['judge']}) rates {mos['plain']:.3f} without and {mos['marked']:.3f} with the mark: "
            f"{mos['change']:+.3f} ± {1.96 * mos['error']:.3f} (95%, paired)."
        )
    if "real" in result:
        real = result["real"]
        told.append(
            f"In {real['of']} recordings of people ({result['real_seconds'] / 60:.0f} minutes) it was found {real['found']} times; "
            f"the highest score is {real['most']:.1f}."
        )
    return page(result, "# The watermark", " ".join(told), table, "## Sound", " ".join(quality))


def options(parser: argparse.ArgumentParser) -> None:
    """Those of this benchmark."""
    parser.add_argument("--sentences", type=int, default=100)
    parser.add_argument("--real", type=Path, help="folder of recordings without the mark")
    parser.add_argument("--judge", action="store_true", help="have DistilMOS rate the sound")
    parser.set_defaults(threads=2)


def main(argv: list[str] | None = None) -> None:
    """Run from the command line."""
    benchmark("watermark", __doc__, measure, render, options, argv)


if __name__ == "__main__":
    main()
