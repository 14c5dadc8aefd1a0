"""One id space for the inputs of a speech LM, which has separate tables for text, speech and special tokens."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mamtra.models.config import SpeechLMConfig


def speech_input_ids(sizes: SpeechLMConfig, text: Sequence[int], speech: Sequence[int] = ()) -> Tensor:
    """CosyVoice 2's unistream layout ``[sos][text][task][speech]`` in joint ids.

    Speech tokens keep their ids, so that generated ids can be appended; sos, task and the text ids follow.

    Args:
        sizes: of the model.
        text: ids of the text tokenizer.
        speech: speech tokens to continue.

    Returns:
        (1, 2 + len(text) + len(speech)) int64.
    """
    special = sizes.speech_vocab_size
    return torch.tensor([[special, *(special + 2 + i for i in text), special + 1, *speech]])


def speech_kinds(speech_vocab_size: int, ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of joint ids (B, L) int64: which are text, which are speech (bool), and the row of each in its own table."""
    text, speech = ids >= speech_vocab_size + 2, ids < speech_vocab_size
    first = torch.where(text, speech_vocab_size + 2, torch.where(speech, 0, speech_vocab_size))
    return text, speech, ids - first
