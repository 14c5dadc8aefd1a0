"""Sounds through all judges of a voice in batches, and what is measured without a judge: range of the pitch, and pauses."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from record import made_with

from mamtra.audio.features import kaldi_fbank_80
from mamtra.audio.io import resample
from mamtra.audio.trim import frame_power, trim_edges
from mamtra.encoders.campplus import CAMPPlus, CAMPPlusConfig
from mamtra.evaluate.error_rates import count_errors, english_normaliser
from mamtra.evaluate.judges.asr import open_transcriber
from mamtra.evaluate.judges.batches import judge_all
from mamtra.evaluate.judges.ge2e import Resemblyzer
from mamtra.evaluate.judges.models import RATE, DistilMOS, embed_file
from mamtra.evaluate.statistics import interval, ratio, resampled_rows
from mamtra.runtime.json_files import read_json, write_json
from mamtra.synthesis.batch import speak_jobs
from mamtra.synthesis.model import Model
from mamtra.synthesis.retries import AGAIN
from mamtra.voices.voice import Voice

BATCH = 64
LOWEST, HIGHEST = 60, 500
"""Of the pitch, Hz."""
VOICED = 0.5
"""Least autocorrelation of a voiced frame."""
WINDOW = 800
QUIET_DB, SHORTEST_PAUSE = -35.0, 0.15
CPU, AND = "a CPU", " and "
"""Where was judged, and what joins several such names."""
FIGURES = {
    "wer": ("WER %", 2), "mos": ("DistilMOS", 3), "cam": ("CAM++", 3), "ge2e": ("Resemblyzer", 3),
    "f0_range": ("F0 range, semitones", 2), "pause": ("pauses, s", 3), "seconds": ("length, s", 2),
}  # fmt: skip


@dataclass(frozen=True)
class Take:
    """A sound to judge.

    Attributes:
        id: of the line.
        reference: the words of it.
        samples: float32 (T,).
        rate: Hz.
        speaker: a recording of the speaker to compare with.
    """

    id: str
    reference: str
    samples: np.ndarray
    rate: int
    speaker: Path | None = None


class PublishedCAMPPlus:
    """SpeakerEncoder with the weights that the 3D-Speaker project published, the teacher of the embedded model's encoder.

    Args:
        weights: a state dict.
        device: of torch.
    """

    def __init__(self, weights: Path, device: str) -> None:
        self._device, self._model = device, CAMPPlus(CAMPPlusConfig())
        self._model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
        self._model.float().eval().to(device)
        self.about = "CAM++ of 3D-Speaker"

    @torch.inference_mode()
    def __call__(self, samples: np.ndarray, sample_rate: int) -> np.ndarray:
        """Unit vector (192,)."""
        wave = np.ascontiguousarray(resample(samples, sample_rate, RATE))
        bank = kaldi_fbank_80(torch.from_numpy(wave).to(self._device))
        found = self._model((bank - bank.mean(0, keepdim=True))[None])[0].cpu().numpy()
        return found / max(float(np.linalg.norm(found)), 1e-9)


class VoiceJudges:
    """Whisper, DistilMOS and two speaker encoders, none of them trained by this package.

    Args:
        whisper: see `mamtra.evaluate.judges.asr.open_transcriber`.
        campplus: published weights of CAM++.
        device: of all of them.
    """

    def __init__(self, whisper: str, campplus: Path, device: str) -> None:
        self.device = device
        self._transcriber, self._rater = open_transcriber(whisper, 2, device), DistilMOS(device)
        self._encoders = {"cam": PublishedCAMPPlus(campplus, device), "ge2e": Resemblyzer(device=device)}
        self._recorded: dict[str, dict[Path, np.ndarray]] = {name: {} for name in self._encoders}
        self._normalise, rule = english_normaliser()
        names = [self._rater.about, *(encoder.about for encoder in self._encoders.values())]
        self.about = {"asr": self._transcriber.about["asr"], "rule": rule, "judges": names}

    def __call__(self, takes: Sequence[Take]) -> list[dict[str, Any]]:
        """Their rows, in their order."""
        rows: list[dict[str, Any]] = []
        order = sorted(takes, key=lambda take: len(take.samples) / take.rate)
        for at in range(0, len(order), BATCH):
            rows += self._batch(order[at : at + BATCH])
        by_id = {row["id"]: row for row in rows}
        return [by_id[take.id] for take in takes]

    def _batch(self, takes: Sequence[Take]) -> list[dict[str, Any]]:
        sounds = [(resample(take.samples, take.rate, RATE), RATE) for take in takes]
        hypotheses, ratings = judge_all(self._transcriber, sounds), self._rater.many(sounds)
        rows = []
        for take, sound, hypothesis, rating in zip(takes, sounds, hypotheses, ratings, strict=True):
            errors = count_errors(take.reference, hypothesis, self._normalise)
            row = {"id": take.id, "errors": errors.word_errors, "words": errors.words, "mos": rating}
            if take.speaker is not None:
                for name, encoder in self._encoders.items():
                    row[name] = float(encoder(*sound) @ embed_file(encoder, take.speaker, self._recorded[name]))
            rows.append({**row, **liveliness(*sound), "hypothesis": hypothesis})
        return rows


def seed_of(voice: int, line: int) -> int:
    """Seed of a line in a voice, by their places: with equal ones, voices that continue no prompt would all say the same tokens."""
    return 1000 * voice + line


def speak_all(model: Model, jobs: Sequence[tuple[Voice, str, int]]) -> list[np.ndarray]:
    """Samples (T,) of every text in its voice, all in one batch of the engine, as `mamtra say` speaks them.

    Args:
        model: on its device.
        jobs: voice, text and seed.
    """
    return list(speak_jobs(model, jobs, retries=AGAIN))


def liveliness(samples: np.ndarray, rate: int) -> dict[str, float]:
    """Length, range of the pitch and inner pauses of speech (T,) at 16 kHz; no range where less than 0.3 s are voiced."""
    body = trim_edges(samples, rate, keep=0.0)
    found = {"seconds": len(body) / rate, "pause": pauses(body, rate)}
    track = pitch(body, rate)
    if len(track) >= 30:
        low, high = np.percentile(track, [5, 95])
        found["f0_range"] = float(12 * np.log2(high / low))
    return found


def pitch(samples: np.ndarray, rate: int) -> np.ndarray:
    """F0 of the voiced frames, Hz (N,): the autocorrelation's peak in 50 ms every 10 ms, corrected for the window.

    The first peak within 15% of the highest one is taken, against octaves that are too low; a median over five frames removes
    single ones.
    """
    hop, window = rate // 100, np.hanning(WINDOW)
    if len(samples) < WINDOW:
        return np.zeros(0)
    frames = sliding_window_view(samples.astype(np.float64), WINDOW)[::hop]
    frames = (frames - frames.mean(1, keepdims=True)) * window
    spectrum = np.abs(np.fft.rfft(frames, 2 * WINDOW)) ** 2
    lags = np.arange(rate // HIGHEST, rate // LOWEST)
    own = np.fft.irfft(np.abs(np.fft.rfft(window, 2 * WINDOW)) ** 2)
    found = np.fft.irfft(spectrum)
    power = found[:, 0]
    curve = found[:, lags] / np.maximum(power[:, None], 1e-12) / (own[lags] / own[0])
    peak = curve.max(1)
    inner = (
        (curve[:, 1:-1] >= curve[:, :-2]) & (curve[:, 1:-1] >= curve[:, 2:]) & (curve[:, 1:-1] > 0.85 * peak[:, None])
    )
    first = inner.argmax(1) + 1
    voiced = (peak > VOICED) & (power > power.max() * 10 ** (QUIET_DB / 10)) & inner.any(1)
    track = np.where(voiced, rate / lags[first], np.nan)
    around = sliding_window_view(np.pad(track, 2, constant_values=np.nan), 5)
    sure = np.isfinite(around).sum(1) >= 4
    return np.nanmedian(around[sure & voiced], axis=1) if (sure & voiced).any() else np.zeros(0)


def pauses(samples: np.ndarray, rate: int) -> float:
    """Seconds of the pauses inside speech (T,): runs of 0.15 s or more, 35 dB below its loud parts."""
    power = frame_power(samples, rate)
    if len(power) == 0:
        return 0.0
    quiet = power < np.percentile(power, 95) * 10 ** (QUIET_DB / 10)
    runs = "".join("q" if one else " " for one in quiet).split()
    return sum(len(run) for run in runs if len(run) >= 100 * SHORTEST_PAUSE) / 100


def lines_of(rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Number of the line of each row (n,): a line that several voices say counts as one in an interval."""
    return np.unique([row["id"] for row in rows], return_inverse=True)[1]


def figures(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Value and 95% bootstrap interval over lines of every figure, WER over all words."""
    rows = list(rows)
    found: dict[str, Any] = {"utterances": len(rows)}
    for name in FIGURES:
        kept = [row for row in rows if name == "wer" or name in row]
        if not kept:
            continue
        parts = np.array([100 * row["errors"] if name == "wer" else row[name] for row in kept], float)
        wholes = np.array([row["words"] if name == "wer" else 1 for row in kept], float)
        spread = interval(ratio(parts, wholes, resampled_rows(lines_of(kept))))
        found[name] = {"value": float(ratio(parts, wholes)), "ci95": spread}
    return found


def cells(found: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """Of a table: every figure with its interval."""
    made = []
    for name in names:
        digits = FIGURES[name][1]
        if name in found:
            low, high = found[name]["ci95"]
            made.append(f"{found[name]['value']:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]")
        else:
            made.append("")
    return made


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a file of JSON lines; none where there is no file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Replace a file of JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def judged_by(result: Mapping[str, Any]) -> str:
    """The judges of a record with what `about_run` gives, and where they were."""
    judges = result["judges"]
    return f"ASR: {judges['asr']}, {judges['rule']}; {', '.join(judges['judges'])}; on {result['gpu'] or CPU}."


def about_run(folder: Path, judges: VoiceJudges | None) -> dict[str, Any]:
    """Judges and circumstances of a run, kept in its folder: the figures may be collected elsewhere.

    Args:
        folder: of the run.
        judges: that were used just now; None where all was judged before.
    """
    path = folder / "about.json"
    if judges is not None:
        earlier = (read_json(path)["gpu"] or CPU).split(AND) if path.exists() else []
        device = torch.cuda.get_device_name(judges.device) if judges.device != "cpu" else CPU
        used = dict.fromkeys([*earlier, device])
        gpu = "" if [*used] == [CPU] else AND.join(used)
        made = made_with()
        folder.mkdir(parents=True, exist_ok=True)
        write_json(
            path, {"judges": judges.about, "gpu": gpu, "hardware": made["hardware"], "versions": made["versions"]}
        )
    return json.loads(path.read_text(encoding="utf-8"))
