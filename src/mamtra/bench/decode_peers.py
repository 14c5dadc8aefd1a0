"""Other programs' decode steps on the same shapes: transformers' Qwen2, eager and compiled with a static cache."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from typing import Any

import torch

from mamtra.cost.measured_memory import free
from mamtra.cost.presets import cosyvoice2_config

SHAPES = ((1, 2048), (32, 2048))
STEPS, COMPILED_STEPS = 8, 24


class Transformers:
    """Qwen2 of transformers at CosyVoice 2's size: bfloat16, random weights, the text table on the GPU, no head."""

    def __init__(self, device: torch.device) -> None:
        import transformers

        names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")
        self._version, self._device, self._sizes = transformers.__version__, device, cosyvoice2_config()
        sizes = {name: getattr(self._sizes, name) for name in names}
        self._config = transformers.Qwen2Config(
            **sizes, vocab_size=self._sizes.text_vocab_size, head_dim=self._sizes.head_dim
        )
        self._config._attn_implementation = "sdpa"
        with device:
            self.model = transformers.Qwen2Model(self._config).to(torch.bfloat16).eval()

    def name(self, *, static: bool, compiled: bool) -> str:
        """How a row is called."""
        kind = "static cache, compiled" if compiled else "static cache" if static else "eager"
        return f"transformers {self._version}, {kind}"

    def cache_bytes(self, length: int) -> int:
        """Keys and values of one stream."""
        return length * 4 * self._sizes.key_value_size * self._sizes.num_hidden_layers

    @torch.inference_mode()
    def prefill_times(self, inputs: int, runs: int, *, static: bool) -> list[float]:
        """Milliseconds of one call with so many inputs and an empty cache."""
        from transformers import DynamicCache, StaticCache

        x, times = torch.randn(1, inputs, self._sizes.hidden_size, device=self._device).bfloat16(), []
        for _ in range(runs):
            cache = (
                StaticCache(config=self._config, max_cache_len=inputs) if static else DynamicCache(config=self._config)
            )
            torch.cuda.synchronize()
            began = time.perf_counter()
            self.model(inputs_embeds=x, past_key_values=cache, use_cache=True)
            torch.cuda.synchronize()
            times.append(1e3 * (time.perf_counter() - began))
        return times

    @torch.inference_mode()
    def times(self, rows: int, length: int, steps: int, *, static: bool, compiled: bool) -> list[float]:
        """Milliseconds of the last half of so many steps, which end at a context of this length, the host's launches included."""
        from transformers import DynamicCache, StaticCache

        sizes, before = self._sizes, length - steps
        cache = StaticCache(config=self._config, max_cache_len=length) if static else DynamicCache(config=self._config)
        kv = torch.randn(rows, sizes.num_key_value_heads, before, sizes.head_dim, device=self._device).bfloat16()
        for layer in range(sizes.num_hidden_layers):
            cache.update(kv, kv, layer, {"cache_position": torch.arange(before, device=self._device)})
        run = torch.compile(self.model.forward, mode="reduce-overhead") if compiled else self.model.forward
        x, times = torch.randn(rows, 1, sizes.hidden_size, device=self._device).bfloat16(), []
        for step in range(steps):
            position = torch.tensor([before + step], device=self._device)
            torch.cuda.synchronize()
            began = time.perf_counter()
            run(inputs_embeds=x, past_key_values=cache, use_cache=True, position_ids=position[None].expand(rows, 1))
            torch.cuda.synchronize()
            times.append(1e3 * (time.perf_counter() - began))
        return times[len(times) // 2 :]


def transformers_rows(ends: float) -> Iterator[dict[str, Any]]:
    """Rows of the measurement, all attention; nothing where transformers is missing."""
    device = torch.device("cuda")
    try:
        peer = Transformers(device)
    except ImportError:
        return
    for rows, length in SHAPES:
        for compiled in (False, True):
            if time.perf_counter() > ends:
                return
            name = peer.name(static=compiled, compiled=compiled)
            about = {"system": name, "ratio": "1:0", "rows": rows, "length": length}
            try:
                kept = peer.times(
                    rows, length, COMPILED_STEPS if compiled else STEPS, static=compiled, compiled=compiled
                )
            except Exception as error:
                yield about | {"failed": f"{type(error).__name__}: {error}".splitlines()[0][:200]}
            else:
                spread = {"ms": statistics.median(kept), "least_ms": min(kept), "most_ms": max(kept)}
                yield about | spread | {"repetitions": len(kept)}
            free(device)
