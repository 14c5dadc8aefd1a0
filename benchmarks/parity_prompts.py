"""Recordings through both prompt paths of CosyVoice 2, at 16 and at 24 kHz, against the definitions computed in float64."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mamtra.audio.features import kaldi_fbank_80, mel_24k, whisper_log_mel, whisper_log_mel_128
from mamtra.audio.io import read_audio, resample, write_audio
from mamtra.audio.sinc_resample import sinc_resample
from mamtra.checkpoints.find import find_model
from mamtra.errors import MamTraError
from mamtra.synthesis.cloning import check_reference
from mamtra.synthesis.open_model import open_model

RATES = (8000, 16000, 22050, 24000, 44100, 48000)


def prompts(recordings: list[Path], folder: Path, seconds: float = 6.0) -> Iterator[dict[str, Any]]:
    """A row for each recording and rate; the speech tokenizer is that of the embedded voice.

    Args:
        recordings: sound files.
        folder: for the recordings at other rates.
        seconds: of a recording that are used.
    """
    tokenizer = open_model(find_model()).speech_tokenizer
    for path in at_rates(recordings, folder, seconds):
        recording, _, rate = path.stem.rpartition(".")
        yield {"recording": recording, "rate": int(rate), **_row(path, tokenizer)}


def at_rates(recordings: list[Path], folder: Path, seconds: float = 6.0) -> Iterator[Path]:
    """Files NAME.RATE.wav of the beginning of each recording."""
    for recording in recordings:
        wave, own = read_audio(recording)
        for rate in RATES:
            path = folder / f"{recording.stem}.{rate}.wav"
            write_audio(path, resample(wave[: int(seconds * own)], own, rate), rate)
            yield path


def _row(path: Path, tokenizer: Any) -> dict[str, Any]:
    from tests.audio import naive

    try:
        wave, rate = check_reference(path, trim=False)
    except MamTraError as error:
        return {"refused": str(error).replace(str(path), path.name)}
    wanted16, wanted24 = naive.resample(wave, rate, 16000), naive.resample(wave, rate, 24000)
    wanted = {
        "mel": naive.mel_24k(wanted24),
        "log_mel": naive.whisper_log_mel_128(wanted16),
        "filter_bank": naive.kaldi_fbank_80(wanted16),
    }
    mels = tokenizer.config.num_mels
    tokens = _tokens(naive.whisper_log_mel(wanted16, mels), tokenizer)
    found: dict[str, Any] = {"seconds": len(wave) / rate, "tokens": len(tokens)}
    for name, convert in (("like_original", sinc_resample), ("not_like_original", resample)):
        ours16, ours24 = (
            torch.from_numpy(np.ascontiguousarray(convert(wave, rate, hertz))) for hertz in (16000, 24000)
        )
        made = {
            "mel": mel_24k(ours24[None])[0].numpy(),
            "log_mel": whisper_log_mel_128(ours16[None])[0].numpy(),
            "filter_bank": kaldi_fbank_80(ours16).numpy(),
        }
        found[name] = {key: float(np.abs(made[key] - wanted[key]).max()) for key in made}
        heard = whisper_log_mel(ours16[None], mels)[0].numpy()
        found[name]["tokens_changed"] = int((_tokens(heard, tokenizer) != tokens).sum())
    return found


@torch.inference_mode()
def _tokens(log_mel: np.ndarray, tokenizer: Any) -> np.ndarray:
    whole = log_mel[:, : log_mel.shape[1] // 4 * 4]
    return tokenizer(torch.from_numpy(whole.astype(np.float32))[None])[0].numpy()


def speeds(values: tuple[float, ...] = (0.5, 0.7, 0.9, 1.1, 1.3, 1.6, 2.0)) -> list[dict[str, Any]]:
    """Mel frames at other speeds against the definition: frames that are wanted, made, and the greatest difference."""
    from mamtra.acoustic.time_stretch import stretch
    from tests.audio import naive

    rows = []
    for speed in values:
        row = {"speed": speed, "lengths": [], "difference": 0.0}
        for frames in (1, 52, 92, 741):
            mel = np.random.default_rng(frames).normal(size=(80, frames)).astype(np.float32)
            made, wanted = stretch(torch.from_numpy(mel)[None], speed)[0].numpy(), naive.stretch(mel, speed)
            row["lengths"].append([frames, wanted.shape[1], made.shape[1]])
            if made.shape == wanted.shape:
                row["difference"] = max(row["difference"], float(np.abs(made - wanted).max()))
        rows.append(row)
    return rows
