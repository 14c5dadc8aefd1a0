"""One id space for the inputs of a speech LM, which has separate tables for text, speech and special tokens."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mamtra.models.config import SpeechLMConfig
from mamtra.models.layout import SPEECH, TEXT


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


def split_ids(sizes: SpeechLMConfig, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Kinds and rows, as `SpeechLM.embed` takes them, of joint ids (B, L) int64."""
    special = sizes.speech_vocab_size
    text, speech = ids >= special + 2, ids < special
    kind = torch.where(speech, SPEECH, torch.where(text, TEXT, ids - special))
    return kind, torch.where(speech, ids, torch.where(text, ids - special - 2, ids - special))
