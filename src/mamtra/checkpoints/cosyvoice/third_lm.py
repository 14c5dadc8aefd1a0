"""The language model of CosyVoice 3 under the names of CosyVoice 2's.

It has no table for sos and task, which are rows of the speech table instead, and no bias of its head. Both are made here: the two
rows, and zeros. After the speech tokens there are 200 ids, of which the first four are sos, end of speech, task and fill.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mamtra.checkpoints.tensor_files import TensorInfo, TensorSource

SPECIAL_IDS = 200
SOS, END, TASK, FILL = range(4)
"""Places of the special ids after the speech tokens; all 200 end generation."""
MARKS, SPEECH, HEAD, BIAS = "llm_embedding.weight", "speech_embedding.weight", "llm_decoder.weight", "llm_decoder.bias"


class ThirdTensors(TensorSource):
    """Tensors of an llm.pt, with those that CosyVoice 2 has besides."""

    def __init__(self, source: TensorSource) -> None:
        self.path, self._source = source.path, source
        speech, head = source.tensors[SPEECH], source.tensors[HEAD]
        made = {MARKS: TensorInfo(speech.dtype, (2, *speech.shape[1:])), BIAS: TensorInfo(head.dtype, head.shape[:1])}
        self.tensors = dict(sorted({**source.tensors, **made}.items()))

    def read(self, name: str) -> Tensor:
        """See `TensorSource.read`."""
        if name == BIAS:
            return torch.zeros(self.tensors[BIAS].shape, dtype=self.tensors[BIAS].dtype)
        if name != MARKS:
            return self._source.read(name)
        table = self._source.read(SPEECH)
        first = len(table) - SPECIAL_IDS
        return table[[first + SOS, first + TASK]]


def is_third(source: TensorSource) -> bool:
    """Whether an llm.pt is CosyVoice 3's: it has a head over speech without a bias, and no table of marks."""
    names = source.tensors
    return SPEECH in names and HEAD in names and MARKS not in names and BIAS not in names


def original_state(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of CosyVoice 3's file: the marks go back into the speech table.

    Args:
        state: by the names of CosyVoice 2; its bias must be zero.
    """
    marks, table = state.pop(MARKS), state[SPEECH].clone()
    first = len(table) - SPECIAL_IDS
    table[[first + SOS, first + TASK]] = marks
    del state[BIAS]
    return {**state, SPEECH: table}
