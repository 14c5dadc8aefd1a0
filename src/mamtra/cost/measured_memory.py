"""GPU memory of a language model at work, as torch's allocator sees it: random weights, real requests."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from mamtra.cost.presets import cosyvoice2_config, tiny_config
from mamtra.engine.engine import Engine
from mamtra.engine.request import Request, Unistream
from mamtra.models.plan import LayerPlan
from mamtra.models.sampling_config import LengthConfig
from mamtra.models.speech_lm import SpeechLM


def random_lm(ratio: str, device: torch.device, tiny: bool = False, dtype: torch.dtype | None = None) -> SpeechLM:
    """A model with random weights that never ends a stream.

    Args:
        ratio: of attention to Mamba layers, such as ``1:5``.
        device: where it is made.
        tiny: thin layers instead of CosyVoice 2's.
        dtype: bfloat16 on a GPU by default, float32 elsewhere.
    """
    config = tiny_config(layers=12) if tiny else cosyvoice2_config()
    plan = LayerPlan.from_ratio(config.num_hidden_layers, ratio)
    config = config.model_copy(update={"layer_types": plan.layer_types})
    with device:
        lm = SpeechLM(config)
    lm = lm.to(dtype or (torch.bfloat16 if device.type == "cuda" else torch.float32)).eval().requires_grad_(False)
    lm.llm_decoder.bias[config.eos_id :] = -100
    return lm


def free(device: torch.device) -> None:
    """Return what nobody holds any more to a GPU; elsewhere memory is returned as it is let go of."""
    if device.type == "cuda":
        gc.collect()
        torch.cuda.synchronize(device)
        torch._C._cuda_clearCublasWorkspaces()  # one for every stream that it ever saw
        torch.cuda.empty_cache()


def peak_of(run: Callable[[], Any], device: torch.device) -> int:
    """Bytes of all tensors on a GPU while something runs, at most; 0 elsewhere."""
    free(device)
    if device.type != "cuda":
        run()
        return 0
    torch.cuda.reset_peak_memory_stats(device)
    run()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device)


def parameter_bytes(*modules: nn.Module, device: torch.device) -> int:
    """Bytes of the parameters and buffers that lie on a device."""
    tensors = [t for module in modules for t in (*module.parameters(), *module.buffers())]
    return sum(t.numel() * t.element_size() for t in tensors if t.device.type == device.type)


def open_engine(lm: SpeechLM, streams: int, capacity: int, **options: Any) -> Engine:
    """An engine that holds so many streams; on a CPU with the slots of a GPU, to try a measurement."""
    options = options if lm.head_weight.device.type == "cuda" else {"deterministic": False, **options}
    return Engine(lm, slots=streams, capacity=capacity, **options)


def decode(engine: Engine, lm: SpeechLM, streams: int, inputs: int, tokens: int) -> None:
    """Let streams of random text run side by side to their end."""
    draw = torch.Generator().manual_seed(0)
    lengths = LengthConfig(min_ratio=0, max_ratio=1e-6, min_tokens=tokens)
    runs = []
    for seed in range(streams):
        ids = torch.randint(0, lm.config.text_vocab_size, (inputs - 2,), generator=draw).tolist()
        runs.append(engine.submit(Request(Unistream(ids, lengths=lengths), seed=seed)))
    for run in runs:
        run.result()


class LoadedAsOriginal(nn.Module):
    """A speech LM as CosyVoice 2's code loads and runs it: float32, Qwen2's text table and its text head on the GPU.

    Rebuilt from the shapes. With ``half`` every call runs under autocast to float16, which is its ``fp16=True``; each call computes
    the text logits too, and nothing uses them.

    Args:
        lm: all attention, float32.
        half: autocast.
    """

    def __init__(self, lm: SpeechLM, half: bool) -> None:
        super().__init__()
        self.lm, self._half = lm, half
        self._kind = torch.float16 if lm.head_weight.device.type == "cuda" else torch.bfloat16
        with lm.head_weight.device:
            self.text_head = nn.Linear(lm.config.hidden_size, lm.config.text_vocab_size, bias=False)
        self.text_head.requires_grad_(False)

    @torch.inference_mode()
    def forward(self, inputs: int, tokens: int, steps: int) -> None:
        """Feed so many inputs and make the first steps of so many tokens, which the cache has room for."""
        lm, device = self.lm, self.lm.head_weight.device
        state = lm.init_state(1, inputs + tokens, dtype=self._kind if self._half else torch.float32)
        x = torch.randn(1, inputs, lm.config.hidden_size, device=device)
        for _ in range(steps):
            with torch.autocast(device.type, self._kind, enabled=self._half):
                hidden = lm(x, state)
                self.text_head(hidden)
                token = lm.logits(hidden[:, -1]).argmax(-1)
            x = lm.speech_embedding(token)[:, None]
