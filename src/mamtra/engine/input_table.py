"""Embeddings of inputs of mixed kinds for an engine on a GPU: `SpeechLM.embed` in a handful of launches, whatever their number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mamtra.engine.request import Inputs
from mamtra.models.kinds import SOS, SPEECH, TASK, TEXT
from mamtra.models.layout import PAD
from mamtra.models.speech_lm import SpeechLM
from mamtra.runtime.device import to_device


class InputTable:
    """Text is looked up where its table lies, all else in one table on the device.

    Args:
        lm: the model, whose embeddings of speech and marks are copied.
    """

    def __init__(self, lm: SpeechLM) -> None:
        speech, marks = lm.speech_embedding.weight.detach(), lm.llm_embedding.weight.detach()
        self._table = torch.cat((speech, marks, torch.full_like(marks[:1], -1)))
        self._text = lm.model.embed_tokens
        first = {SPEECH: 0, TEXT: 0, SOS: len(speech), TASK: len(speech), PAD: len(self._table) - 1}
        self._first = np.zeros(max(first) - min(first) + 1, np.int64)  # kind -1 is the last
        self._first[list(first)] = list(first.values())
        self._pad = first[PAD]

    def __call__(self, rows: Sequence[Inputs], width: int) -> Tensor:
        """(B, width, hidden_size) on the device, rows padded to the right as `SpeechLM.embed` does it."""
        codes = np.full((len(rows), width), self._pad, np.int64)
        places, texts = [], []
        for row, inputs in enumerate(rows):
            kind, ids = np.array(inputs, np.int64).reshape(-1, 2).T
            codes[row, : len(inputs)] = self._first[kind] + ids
            text = np.flatnonzero(kind == TEXT)
            places.append(row * width + text)
            texts.append(ids[text])
        at = np.concatenate(places)
        codes.reshape(-1)[at] = 0
        given = to_device(torch.from_numpy(np.concatenate((codes.reshape(-1), at))), self._table.device)
        found = F.embedding(given[: codes.size], self._table)
        if len(at):
            looked_up = self._text(to_device(torch.from_numpy(np.concatenate(texts)), self._text.weight.device))
            found.index_copy_(0, given[codes.size :], to_device(looked_up, found.device))
        return found.view(len(rows), width, -1)
