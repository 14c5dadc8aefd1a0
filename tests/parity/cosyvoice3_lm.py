"""CosyVoice 3's language model at a small size: weights and inputs from names, as in `tests.parity.fixture`, and what is compared.

The original takes part only in `tests.parity.make_cosyvoice3_lm`, which writes what it computed; weights are ours there too.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from mamtra.models.config import SpeechLMConfig
from mamtra.models.speech_lm import SpeechLM
from tests.parity.fixture import integers, seeded

FIXTURE = Path(__file__).resolve().parents[1] / "fixtures" / "cosyvoice3" / "lm.safetensors"
END_OF_PROMPT = 151646
"""The text id that the original wants to see."""
TOKENS = 60
SOS, END, TASK, FILL = range(TOKENS, TOKENS + 4)
"""The first of the 200 special ids, which are rows of the speech table."""
CONFIG = SpeechLMConfig(
    hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2, head_dim=8,
    text_vocab_size=END_OF_PROMPT + 2, num_speech_tokens=TOKENS, speech_vocab_size=TOKENS + 200, eos_id=SOS, fill_id=FILL,
)  # fmt: skip
"""`eos_id` is the first id that ends a generation and the one that is held back; the end itself is `END`."""
TEXT = integers("third text", 1000, 1, 9)
PROMPT_TEXT = torch.cat([integers("third prompt text", 1000, 1, 4), torch.tensor([[END_OF_PROMPT, 7, 8]])], 1)
PROMPT_SPEECH = integers("third prompt speech", TOKENS, 1, 17)
SEEDS = (0, 1, 2)
LAYOUTS = {"unistream": 0.99, "bistream": 0.01}
"""What the original draws, so that it takes this layout."""


def build(special: float) -> SpeechLM:
    """The model as CosyVoice 2's: the marks copied to a table of their own, and a bias of zeros in the head.

    Args:
        special: scale of the head's rows of special ids, so that they come seldom or soon.
    """
    lm = seeded(SpeechLM(CONFIG), "third lm")
    with torch.no_grad():
        lm.llm_decoder.bias.zero_()
        lm.llm_decoder.weight *= 3
        lm.llm_decoder.weight[TOKENS:] *= special
        lm.speech_embedding.weight *= 10  # tokens follow each other rather than repeat
        lm.llm_embedding.weight.copy_(lm.speech_embedding.weight[[SOS, TASK]])
    return lm


ENDINGS = {"long": 0.02, "short": 0.45}
"""Scales of the special ids."""


def fresh(scores: torch.Tensor, history: list[int]) -> int:
    """The best id that is not among the last ten."""
    return int(scores.index_fill(0, torch.tensor(history[-10:], dtype=torch.int64), float("-inf")).argmax())


def scores(row: torch.Tensor) -> torch.Tensor:
    """Scores of all ids above that of the first one; sos, which is held back at first, left out."""
    return (row - row[0]).index_fill(0, torch.tensor([SOS]), 0.0)


def utterances() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Text ids and speech tokens to train on, long enough to be interleaved."""
    for count in (11, 7, 10):
        yield (
            integers(f"third train text {count}", 1000, count),
            integers(f"third speech {count}", TOKENS, 3 * count + 4),
        )
