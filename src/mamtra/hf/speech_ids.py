"""One id space for the inputs of a speech LM, whose tables for text, speech and marks are apart."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mamtra.models.config import SpeechLMConfig
from mamtra.models.layout import SPEECH, TEXT


def speech_input_ids(sizes: SpeechLMConfig, text: Sequence[int], speech: Sequence[int] = ()) -> Tensor:
    """CosyVoice 2's unistream layout ``[sos][text][task][speech]`` in joint ids.

    Speech ids stay what they are, so that generated ids are speech codes and can be appended; behind them come sos, task and
    the text ids.

    Args:
        sizes: of the model.
        text: ids of the text tokenizer.
        speech: codes that the model is to go on from.

    Returns:
        (1, 2 + len(text) + len(speech)) int64.
    """
    marks = sizes.speech_vocab_size
    return torch.tensor([[marks, *(marks + 2 + i for i in text), marks + 1, *speech]])


def split_ids(sizes: SpeechLMConfig, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Kinds and rows, as `SpeechLM.embed` takes them, of joint ids (B, L) int64."""
    marks = sizes.speech_vocab_size
    text, speech = ids >= marks + 2, ids < marks
    kind = torch.where(speech, SPEECH, torch.where(text, TEXT, ids - marks))
    return kind, torch.where(speech, ids, torch.where(text, ids - marks - 2, ids - marks))
