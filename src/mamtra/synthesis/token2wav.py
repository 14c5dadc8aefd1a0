"""Speech tokens to samples: mel from the flow, waveform from the vocoder; one utterance, or several in one call."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from mamtra.acoustic.flow_stream import FlowStream
from mamtra.acoustic.pitch_range import PitchRange
from mamtra.acoustic.time_stretch import Stretcher, stretch
from mamtra.errors import MamTraError
from mamtra.synthesis.model import Model
from mamtra.voices.voice import Voice

ALIKE = {"cuda": 8}
"""Utterances in one call of flow and vocoder, by the kind of device; elsewhere all of a batch."""


@torch.inference_mode()
def tokens_to_samples(
    model: Model,
    voice: Voice,
    tokens: list[int],
    *,
    seed: int,
    speed: float = 1.0,
    chunked: bool = False,
    steps: int | None = None,
) -> np.ndarray:
    """Speech tokens to float32 samples (T,) with the timbre of `voice`.

    Args:
        tokens: at least one.
        seed: of the vocoder's noise.
        speed: the mel is stretched by it before the vocoder.
        steps: of the flow; None for those of the model.
        chunked: attend by chunks as `mamtra.synthesis.streaming` must; the audio differs, since no chunk sees later ones.

    Raises:
        MamTraError: chunked, and the model's settings ask for a history that its flow cannot keep.
    """
    device = model.device
    row = torch.tensor([tokens], dtype=torch.int64, device=device)
    if chunked:
        mel = Stretcher(speed).push(flow_stream(model, voice, steps).push(row, final=True), final=True)
    else:
        mel = model.flow.inference(row, *voice_inputs(model, voice), steps=steps or model.generation.flow_steps)
        mel = stretch(mel, speed)
    noise = model.vocoder.noise(torch.Generator().manual_seed(seed))(mel.shape[-1] * model.vocoder.config.hop)
    made = model.vocoder.inference(mel, noise=noise.to(device), pitch_range=voice.pitch_range)
    return made.reshape(-1).float().cpu().numpy()


def flow_stream(model: Model, voice: Voice, steps: int | None = None) -> FlowStream:
    """A stream of the flow that begins with the prompt of a voice, and has computed nothing of it yet.

    Raises:
        MamTraError: the model's settings ask for a history that its flow cannot keep.
    """
    settings = model.generation
    steps = steps or settings.flow_steps
    return FlowStream(model.flow, *voice_inputs(model, voice), steps=steps, history=settings.flow_history)


def voice_inputs(model: Model, voice: Voice) -> tuple[torch.Tensor, ...]:
    """What the flow takes of a voice: tokens (1, P), their mel (1, ratio * P, mel), speaker embedding (1, E)."""
    parts = (voice.prompt_speech, voice.prompt_mel, voice.embedding)
    return tuple(part[None].to(model.device) for part in parts)


@torch.inference_mode()
def batch_to_samples(
    model: Model,
    voices: Sequence[Voice],
    tokens: Sequence[list[int]],
    *,
    seeds: Sequence[int],
    speeds: Sequence[float] | None = None,
) -> list[np.ndarray]:
    """`tokens_to_samples` of several utterances, together in the calls of flow and vocoder where their lengths are similar.

    Args:
        voices: one for each utterance; prompts may differ in length.
        tokens: of each utterance, at least one.
        seeds: one for each utterance.
        speeds: one for each utterance; 1 by default.

    Returns:
        float32 samples (T_i,) of each, equal up to rounding to those of the utterance alone.

    Raises:
        MamTraError: no utterances, one without tokens, or lists of different lengths.
    """
    speeds = [1.0] * len(tokens) if speeds is None else speeds
    if not tokens or not all(tokens) or not len(voices) == len(tokens) == len(seeds) == len(speeds):
        raise MamTraError("A batch needs one voice, seed, speed and at least one speech token for each utterance.")
    rows = list(zip(voices, tokens, seeds, speeds, strict=True))
    lengths = [len(voice.prompt_speech) + len(spoken) for voice, spoken, _, _ in rows]
    groups = alike(lengths, ALIKE.get(model.device.type, len(rows)))
    # A device computes one group while the host prepares the next.
    waves = [_group_to_waves(model, *zip(*(rows[row] for row in group), strict=True)) for group in groups]
    made: dict[int, np.ndarray] = {}
    for group, (wave, counts) in zip(groups, waves, strict=True):
        sound = [row[:count].numpy() for row, count in zip(wave.float().cpu(), counts, strict=True)]
        made |= zip(group, sound, strict=True)
    return [made[row] for row in range(len(rows))]


def alike(lengths: Sequence[int], most: int) -> list[list[int]]:
    """Rows by groups of similar length, up to so many each: what is padded is computed too."""
    if len(lengths) <= most:
        return [list(range(len(lengths)))]
    order = sorted(range(len(lengths)), key=lambda row: lengths[row])
    return [order[start : start + most] for start in range(0, len(order), most)]


def _group_to_waves(
    model: Model, voices: Sequence[Voice], tokens: Sequence[list[int]], seeds: Sequence[int], speeds: Sequence[float]
) -> tuple[torch.Tensor, list[int]]:
    """Waves (B, samples) on the device, and the number of samples of each."""
    device, flow, vocoder = model.device, model.flow, model.vocoder

    def moved(value: torch.Tensor) -> torch.Tensor:
        """From the host, which on a GPU goes on meanwhile: it would wait for all that was ordered before."""
        return value.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else value.to(device)

    def padded(rows: Sequence[torch.Tensor]) -> torch.Tensor:
        return moved(pad_sequence(list(rows), batch_first=True))

    counts = [len(row) for row in tokens]
    prompts, lengths = [len(voice.prompt_speech) for voice in voices], {}
    if len({*counts}) > 1 or len({*prompts}) > 1:  # rows of one length need no masks
        lengths = {"token_len": moved(torch.tensor(counts)), "prompt_len": moved(torch.tensor(prompts))}
    mel = flow.inference(
        padded([torch.tensor(row, dtype=torch.int64) for row in tokens]),
        padded([voice.prompt_speech for voice in voices]),
        padded([voice.prompt_mel for voice in voices]),
        moved(torch.stack([voice.embedding for voice in voices])),
        steps=model.generation.flow_steps,
        **lengths,
    )
    ratio = flow.config.token_mel_ratio
    mels = [stretch(row[None, :, : ratio * n], x)[0].T for row, n, x in zip(mel, counts, speeds, strict=True)]
    frames, hop = [len(row) for row in mels], vocoder.config.hop
    draws = [vocoder.noise(torch.Generator().manual_seed(seed)) for seed in seeds]
    noise = [draw(n * hop)[0] for n, draw in zip(frames, draws, strict=True)]
    mel = pad_sequence(mels, batch_first=True).transpose(1, 2)
    pitch_range = PitchRange(*moved(torch.tensor([voice.pitch_range for voice in voices])).split(1, dim=1))
    wave = vocoder.inference(mel, noise=padded(noise), lengths=moved(torch.tensor(frames)), pitch_range=pitch_range)
    return wave, [n * hop for n in frames]
