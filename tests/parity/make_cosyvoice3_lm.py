"""Vectors of CosyVoice 3's language model by the original code: `python -m tests.parity.make_cosyvoice3_lm REFERENCE`.

REFERENCE is a checkout of the original repository. Nothing is fetched, and nothing of it is kept but what it computed.
"""

from __future__ import annotations

import random
import sys
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors.numpy import save_file
from torch import Tensor

from tests.parity.cosyvoice3_lm import (
    CONFIG,
    ENDINGS,
    FIXTURE,
    LAYOUTS,
    PROMPT_SPEECH,
    PROMPT_TEXT,
    SEEDS,
    TEXT,
    build,
    fresh,
    scores,
    utterances,
)
from tests.parity.fixture import Output, packed


def open_original(reference: Path) -> ModuleType:
    """The original's module of language models; what it imports and does not use here is left out."""
    sys.path.append(str(reference))
    for name, members in {
        "cosyvoice.utils.onnx": {"SpeechTokenExtractor": None, "online_feature": False, "onnx_path": None},
        "cosyvoice.utils.file_utils": {"logging": __import__("logging")},
    }.items():
        module = sys.modules[name] = ModuleType(name)
        vars(module).update(members)
    from cosyvoice.llm import llm

    return llm


def original_lm(code: ModuleType, special: float, sampling: Any) -> Any:
    """The original with our weights."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    sizes = CONFIG.model_dump(include={"hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
                                       "num_key_value_heads", "rms_norm_eps"})  # fmt: skip
    backbone = Qwen2Config(vocab_size=CONFIG.text_vocab_size, rope_theta=CONFIG.rope_theta, tie_word_embeddings=True,
                           attn_implementation="eager", **sizes)  # fmt: skip
    encoder = code.Qwen2Encoder.__new__(code.Qwen2Encoder)
    torch.nn.Module.__init__(encoder)
    encoder.model = Qwen2ForCausalLM(backbone)
    step = encoder.forward_one_step

    def see_everything(xs: Tensor, masks: Tensor, cache: Any = None) -> Any:
        """The code gives a step a mask of one position, which transformers 4 ignored; later versions hide the cache for it."""
        seen = xs.shape[1] + (0 if cache is None else cache.get_seq_length())
        return step(xs, masks=torch.ones(1, seen, seen, dtype=torch.bool), cache=cache)

    encoder.forward_one_step = see_everything
    assert backbone.rope_parameters["rope_theta"] == CONFIG.rope_theta
    lm = code.CosyVoice3LM(CONFIG.hidden_size, CONFIG.hidden_size, CONFIG.num_speech_tokens, encoder, sampling)
    ours = build(special).state_dict()
    shared = {name for name in ours if name not in ("llm_embedding.weight", "llm_decoder.bias")}
    state = {f"llm.model.{name}" if name.startswith("model.") else name: ours[name] for name in shared}
    lm.load_state_dict({**state, "llm.model.lm_head.weight": state["llm.model.model.embed_tokens.weight"]})
    return lm.eval()


def spoken(lm: Any, prompt_speech: Tensor) -> Tensor:
    """Speech tokens of the text."""
    lengths = (torch.tensor([value.shape[1]], dtype=torch.int32) for value in (TEXT, PROMPT_TEXT, prompt_speech))
    text, prompt, speech = lengths
    run = lm.inference(TEXT, text, PROMPT_TEXT, prompt, prompt_speech, speech, torch.zeros(0, 192))
    return torch.tensor([*run], dtype=torch.int64)


@torch.no_grad()
def outputs(code: ModuleType) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    rows: list[Tensor] = []

    def best(row: Tensor, history: list[int], most: int) -> int:
        rows.append(row.clone())
        return fresh(row, history)

    from cosyvoice.utils.common import ras_sampling

    ras = partial(ras_sampling, top_p=0.8, top_k=25, win_size=10, tau_r=0.1)
    for name, special in ENDINGS.items():
        rows.clear()
        lm = original_lm(code, special, best)
        found[f"{name}/best"] = spoken(lm, PROMPT_SPEECH)
        for which, row in (("first", rows[0]), ("last", rows[-1])):
            found[f"{name}/{which} scores"] = scores(row)
        found[f"{name}/best without speech"] = spoken(lm, PROMPT_SPEECH[:, :0])
        lm.sampling = ras
        for seed in SEEDS:
            torch.manual_seed(seed)
            found[f"{name}/sampled/{seed}"] = spoken(lm, PROMPT_SPEECH)
    texts, speeches = zip(*utterances(), strict=True)
    pad = partial(torch.nn.utils.rnn.pad_sequence, batch_first=True)
    none = torch.zeros(len(texts), 1, dtype=torch.int64)
    batch = {
        "text_token": pad(texts), "text_token_len": torch.tensor([*map(len, texts)]),
        "speech_token": pad(speeches), "speech_token_len": torch.tensor([*map(len, speeches)]),
        "instruct_token": none, "instruct_token_len": torch.zeros(len(texts), dtype=torch.int64),
    }  # fmt: skip
    lm = original_lm(code, 1.0, best)
    for name, draw in LAYOUTS.items():
        random.random = lambda draw=draw: draw
        found[f"{name}/loss"] = lm(batch, torch.device("cpu"))["loss"][None]
    return found


def main() -> None:
    arrays = {}
    for name, value in outputs(open_original(Path(sys.argv[1]))).items():
        print(name, value.shape, value[:12].tolist() if not value.is_floating_point() else "")
        arrays |= packed(Output(name, value))
    FIXTURE.parent.mkdir(parents=True, exist_ok=True)
    save_file(
        arrays,
        FIXTURE,
        metadata={"written_by": "python -m tests.parity.make_cosyvoice3_lm", "torch": torch.__version__},
    )
    print(f"{len(arrays)} arrays, {FIXTURE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
