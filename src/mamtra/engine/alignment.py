"""Where in the text the LM was at each speech token: the attention of one head, from one pass over a finished run."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from mamtra.models.layout import prompt
from mamtra.models.positions import Positions
from mamtra.models.speech_lm import SpeechLM
from mamtra.runtime.cuda_graphs import GraphCache


@torch.inference_mode()
def text_attention(
    lm: SpeechLM,
    head: tuple[int, int],
    text_ids: Sequence[int],
    tokens: Sequence[int],
    prompt_text_ids: Sequence[int] | Tensor = (),
    prompt_speech: Sequence[int] | Tensor = (),
    graphs: GraphCache | None = None,
) -> Tensor:
    """Attention of a head to the text while each token was drawn. The pass ends at the head's layer.

    Args:
        lm: the model, in evaluation mode.
        head: its layer, one with attention, and its number in the layer.
        text_ids: of the text that was spoken.
        tokens: speech tokens of the run.
        prompt_text_ids: text ids of the prompt.
        prompt_speech: speech tokens of the prompt.
        graphs: for a GPU, used by nothing else that is called ``alignment``; the pass is then padded to a power of two.

    Returns:
        (tokens, text ids) float32 on the CPU; rows sum to at most 1, the rest is attention to other inputs.
    """
    before, speech = (torch.as_tensor(part, dtype=torch.int64).flatten() for part in (prompt_text_ids, prompt_speech))
    text, run = (torch.as_tensor(part, dtype=torch.int64) for part in (text_ids, tokens))
    kind, ids = prompt(torch.cat((before, text)), torch.cat((speech, run)))
    place, device = lm.model.embed_tokens.weight.device, lm.head_weight.device
    hidden = lm.embed(kind.to(place), ids.to(place))
    if graphs is not None and device.type == "cuda":
        hidden = F.pad(hidden, (0, 0, 0, (1 << (hidden.shape[1] - 1).bit_length()) - hidden.shape[1]))
    positions = Positions.from_zero(hidden.shape[1], lm.config, device)
    given = [hidden, positions.cos, positions.sin]
    run_to_head = partial(_weights, lm, *head)
    (weights,) = run_to_head(*given) if graphs is None else graphs(("alignment", head), run_to_head, given)
    start = 1 + len(before)  # after sos
    drawn = (
        start + len(text) + len(speech)
    )  # the input before the first token: the task mark, or the prompt's last token
    return weights[drawn : drawn + len(run), start : start + len(text)].cpu()


def _weights(lm: SpeechLM, layer: int, number: int, hidden: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor]:
    positions = Positions(cos, sin)
    for below in lm.model.layers[:layer]:
        hidden = below(hidden, positions)
    block = lm.model.layers[layer]
    return (block.mixer.weights(block.input_layernorm(hidden), positions)[0, number],)
