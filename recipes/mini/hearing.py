"""Losses of a flow that hear what it makes: who speaks in a mel of a few steps, and which tokens it says."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from mel_reader import MelReader, reading_distance
from mel_speaker import MelSpeaker, speaker_distance
from torch import Tensor

from mamtra.acoustic.causal_flow import FlowConditions
from mamtra.acoustic.flow import Flow
from mamtra.encoders.speech_tokenizer import token_digits


def between_speakers(
    flow: Flow, told: FlowConditions, wanted: Tensor, others: Tensor, share: float
) -> tuple[FlowConditions, Tensor]:
    """The first rows of a batch, of which some are to sound like nobody: like a mixture of two other speakers.

    Args:
        flow: embeds the speakers.
        told: conditions of the batch.
        wanted: (n, 192) unit embeddings of the first n rows' speakers.
        others: (n, 2, 192) those of two others for each.
        share: of the n rows that get such a speaker, and no prompt, which would be of another.

    Returns:
        Conditions, whose `spks` and `cond` are those of the n rows, and the embeddings (n, 192) that they want now.
    """
    count = len(wanted)
    chance = torch.rand(2, count, 1, device=wanted.device)
    chosen = chance[0] < share
    mixed = torch.where(chosen, F.normalize(torch.lerp(*others.unbind(1), chance[1]), dim=1), wanted)
    spks = torch.where(chosen, flow.speaker(mixed), told.spks[:count])
    return told._replace(spks=spks, cond=told.cond[:count] * ~chosen[..., None]), mixed


class Hearing:
    """Makes the mel of some rows of a batch, with gradients, and hears it.

    Args:
        flow: is trained.
        config: section `flow`.
        embeddings: (rows of the corpus, 192) unit speaker embeddings.
        listener: hears the speaker, if anybody does.
        reader: reads the tokens, if anybody does.
    """

    def __init__(
        self,
        flow: Flow,
        config: dict[str, Any],
        embeddings: Tensor,
        listener: MelSpeaker | None,
        reader: MelReader | None,
    ) -> None:
        self.flow, self.config, self.embeddings = flow, config, embeddings
        self.listener, self.reader = listener, reader

    def distances(
        self,
        told: FlowConditions,
        noise: Tensor,
        token: Tensor,
        feat: Tensor,
        row: Tensor,
        others: Tensor,
        lengths: Tensor,
    ) -> dict[str, tuple[float, Tensor]]:
        """The weight and the value of each loss, by the name that it has in the log.

        Args:
            told: conditions of the batch.
            noise: (B, 2N, 80) that the mel is made of.
            token: (B, N) speech tokens.
            feat: (B, 2N, 80) mel of the recordings.
            row: (B,) of the corpus.
            others: (B, 2) rows of other speakers, see `between_speakers`.
            lengths: (B,) in tokens.
        """
        config, found = self.config, {}
        count = max(1, round(config["speaker_rows"] * len(row)))
        wanted, strangers = self.embeddings[row[:count]], self.embeddings[others[:count]]
        told, wanted = between_speakers(self.flow, told, wanted, strangers, config["between_speakers"])
        mel = self.flow.sketch(told, noise, count, config["speaker_steps"])
        if self.listener:
            frames = round(config["speaker_frames"] * mel.shape[1])
            far = speaker_distance(self.listener, mel, 2 * lengths[:count], wanted, frames, config["hearing"])
            found["speaker"] = config["speaker_weight"], far
        if self.reader:
            inside = told.valid[:count]
            mel = torch.where(inside[..., None], mel, feat[:count])
            digits, warm = token_digits(token[:count], self.reader.tokenizer.config), config["reading_temperature"]
            far = reading_distance(self.reader, mel, digits, inside[:, ::2], warm, config["hearing"])
            found["reading"] = config["reading_weight"], far
        return found
