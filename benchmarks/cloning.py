"""What a recording's level, noise, pauses and bandwidth do to the speaker embedding of a clone, and which advice is given.

    python benchmarks/cloning.py --speech DIR [--speakers 48] [--out docs/results/cloning.json]

DIR has metadata.tsv with the columns path, speaker and seconds, of training speech: no evaluation recording is used. One recording
of each speaker is degraded in every way; each result is compared with the embedding of the recording as it is, once without the
preparation of recordings ("before") and once with it.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import benchmark, say_progress

from mamtra import load
from mamtra.audio.io import read_audio, resample
from mamtra.audio.speech_level import pauses, speech_level
from mamtra.audio.trim import trim_edges
from mamtra.evaluate.statistics import interval, resamples
from mamtra.runtime.results import markdown_table, page
from mamtra.synthesis.advice import advise
from mamtra.synthesis.cloning import prepare_reference
from mamtra.synthesis.reference import Hearing, embed_speaker
from mamtra.synthesis.speaker_change import advise_on_speakers

RATE, SECONDS = 16000, 6.0
KINDS = ("background", "no sound above", "pause", "8 bits", "clipped", "very quiet", "another person")
"""Words of the advice that is counted."""
AS_IT_IS, TWO = "as it is", "two speakers, half each"
Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def noise(snr: float, pink: bool = False) -> Change:
    """White or pink noise at an SNR in dB over the speech level."""

    def add(wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        sound = rng.normal(size=len(wave))
        if pink:
            spectrum = np.fft.rfft(sound)
            spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
            sound = np.fft.irfft(spectrum, len(wave))
        return wave + sound / sound.std() * 10 ** ((speech_level(wave, RATE) - snr) / 20)

    return add


def gap(seconds: float) -> Change:
    """Digital silence in the middle."""
    silence = np.zeros(round(seconds * RATE))
    return lambda wave, rng: np.concatenate([wave[: len(wave) // 2], silence, wave[len(wave) // 2 :]])


def suppress(wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Digital silence wherever it is quiet, as noise suppression leaves it."""
    wave = wave.copy()
    for start, end in pauses(wave, RATE):
        wave[start:end] = 0
    return wave


def room(wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise that decays by 60 dB in 0.4 s as the response of a room, the direct sound as strong as 8 of its deviations."""
    times = np.arange(RATE // 2) / RATE
    response = rng.normal(size=len(times)) * 10 ** (-3 * times / 0.4)
    response[0] = 8
    return np.convolve(wave, response / np.sqrt(np.square(response).sum()))[: len(wave)]


CHANGES: dict[str, Change] = {
    AS_IT_IS: lambda wave, rng: wave,
    "level -20 dB": lambda wave, rng: wave * 0.1,
    "white noise, SNR 40 dB": noise(40),
    "white noise, SNR 31 dB": noise(31),
    "white noise, SNR 20 dB": noise(20),
    "white noise, SNR 11 dB": noise(11),
    "pink noise, SNR 20 dB": noise(20, pink=True),
    "gap of 2 s": gap(2),
    "gap of 10 s": gap(10),
    "gap of 2 s, white noise, SNR 40 dB": lambda wave, rng: noise(40)(gap(2)(wave, rng), rng),
    "cut at 4 kHz": lambda wave, rng: resample(resample(wave.astype(np.float32), RATE, 8000), 8000, RATE),
    "8 bits": lambda wave, rng: np.round(wave * 128) / 128,
    "pauses set to zero": suppress,
    "clipped by 20 dB": lambda wave, rng: np.clip(wave * 10, -1, 1),
    "room of 0.4 s": room,
}


def recordings(folder: Path, count: int, seed: int) -> dict[str, np.ndarray]:
    """By speaker, the first recording of 5 to 20 s: at most `SECONDS`, float32 at 16 kHz, edges trimmed as in cloning."""
    with (folder / "metadata.tsv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    first: dict[str, str] = {}
    for row in rows:
        if row["speaker"].startswith("librispeech") and 5 <= float(row["seconds"]) <= 20:
            first.setdefault(row["speaker"], row["path"])
    chosen = np.random.default_rng(seed).permutation(sorted(first))[:count]
    read = {name: read_audio(folder / first[name], RATE)[0] for name in chosen}
    return {name: trim_edges(wave[: round(SECONDS * RATE)], RATE, keep=0.1) for name, wave in read.items()}


def embed(wave: np.ndarray, hearing: Hearing, prepared: bool) -> tuple[np.ndarray, list[str]]:
    """Embedding of unit length, and what is advised about speakers."""
    samples = prepare_reference(wave, RATE) if prepared else wave.astype(np.float32)
    fbank = hearing.fbank(np.ascontiguousarray(samples))
    found = embed_speaker(fbank, hearing)
    return found / np.linalg.norm(found), advise_on_speakers(fbank, hearing.embed) if prepared else []


@torch.inference_mode()
def measure(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The record after every eighth speaker, and at the end."""
    torch.set_num_threads(args.threads)
    hearing = load(args.model, runtime="torch").model.hearing
    waves = recordings(args.speech, args.speakers, args.seed)
    names = list(waves)
    embeddings: dict[str, dict[bool, list[np.ndarray]]] = {change: {False: [], True: []} for change in CHANGES}
    advice: dict[str, list[str]] = {change: [] for change in (*CHANGES, TWO)}
    with say_progress("recordings") as progress:
        for number, name in enumerate(progress.track(names)):
            rng = np.random.default_rng([args.seed, number])
            for change, apply in CHANGES.items():
                wave = apply(waves[name], rng).astype(np.float32)
                for prepared in (False, True):
                    found, about = embed(wave, hearing, prepared)
                    embeddings[change][prepared].append(found)
                advice[change].append(" ".join([*advise(wave, RATE, "", continued=False), *about]))
            half, other = round(SECONDS / 2 * RATE), waves[names[number - 1]]
            both = np.concatenate([waves[name][:half], other[:half]])
            advice[TWO].append(" ".join([*advise(both, RATE, "", continued=False), *embed(both, hearing, True)[1]]))
            if number % 8 == 7 or number == len(names) - 1:
                yield {"seed": args.seed, "speakers": number + 1, **summarise(embeddings, advice, args.seed)}


def summarise(
    embeddings: dict[str, dict[bool, list[np.ndarray]]], advice: dict[str, list[str]], seed: int
) -> dict[str, Any]:
    """Means, intervals and counts over speakers."""
    rows, different = [], {}
    for change, found in embeddings.items():
        row: dict[str, Any] = {"change": change}
        for label, prepared in (("before", False), ("after", True)):
            clean, changed = np.stack(embeddings[AS_IT_IS][prepared]), np.stack(found[prepared])
            count = len(clean)
            cosines = (clean * changed).sum(1)
            row[label] = {
                "cosine": float(cosines.mean()),
                "interval": interval(cosines[resamples(count, seed)].mean(1)),
                "lowest": float(cosines.min()),
                "nearest_is_own": int((np.argmax(changed @ clean.T, axis=1) == np.arange(count)).sum()),
            }
            different[label] = float((clean @ clean.T)[~np.eye(count, dtype=bool)].mean())
        row["after_to_before_as_it_is"] = float(
            (np.stack(found[True]) * np.stack(embeddings[AS_IT_IS][False])).sum(1).mean()
        )
        rows.append(row)
    counts = {change: {kind: sum(kind in text for text in texts) for kind in KINDS} for change, texts in advice.items()}
    return {"different_speakers": different, "rows": rows, "advice": counts}


def render(results: dict[str, Any]) -> str:
    """The page."""
    count, different = results["speakers"], results["different_speakers"]

    def cell(found: dict[str, Any]) -> str:
        low, high = found["interval"]
        return f"{found['cosine']:.2f} [{low:.2f}, {high:.2f}]"

    rows = [
        (
            row["change"],
            *(cell(row[label]) for label in different),
            *(row[label]["nearest_is_own"] for label in different),
        )
        for row in results["rows"]
    ]
    advised = [(change, *(kinds[kind] or "-" for kind in KINDS)) for change, kinds in results["advice"].items()]
    plain = next(row for row in results["rows"] if row["change"] == AS_IT_IS)["after_to_before_as_it_is"]
    return page(
        results,
        "# Recordings to clone from",
        f"Cosine of the speaker embedding of a degraded recording to that of the same recording as it is, mean over {count}\n"
        f"speakers of LibriSpeech train-clean-100 (up to {SECONDS:g} s each) with 95% bootstrap intervals: before, and after the\n"
        "level is normalised and long pauses are shortened. The last two\n"
        "columns count the recordings whose nearest undegraded recording is their own. Different speakers have a cosine of\n"
        f"{different['before']:.2f} before and {different['after']:.2f} after; the preparation itself leaves {plain:.2f} of a\n"
        "recording as it is. The settings were chosen on degraded recordings of the same training corpus, part of them by the\n"
        "same speakers; no evaluation recording was used.",
        markdown_table(("recording", "before", "after", "nearest before", "nearest after"), rows),
        f"Advice that was given, of {count} recordings each. The recordings of LibriSpeech have backgrounds of their own, so some\n"
        "are advised on as they are.",
        markdown_table(("recording", *KINDS), advised),
    )  # fmt: skip


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--speech", type=Path, help="folder of training speech")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--speakers", type=int, default=48)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)


def main(argv: list[str] | None = None) -> None:
    benchmark("cloning", __doc__, measure, render, options, argv)


if __name__ == "__main__":
    main()
