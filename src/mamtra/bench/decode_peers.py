"""Other programs' decode steps on the same shapes: transformers' Qwen2, eager and compiled with a static cache."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Iterator
from typing import Any

import torch

from mamtra.cost.presets import cosyvoice2_config

SHAPES = ((1, 2048), (32, 2048))
STEPS, COMPILED_STEPS = 8, 24


@torch.inference_mode()
def transformers_rows(ends: float) -> Iterator[dict[str, Any]]:
    """Rows of the measurement, all attention; nothing where transformers is missing."""
    try:
        import transformers
        from transformers import DynamicCache, Qwen2Config, Qwen2Model, StaticCache
    except ImportError:
        return
    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")
    sizes = cosyvoice2_config()
    config = Qwen2Config(**{name: getattr(sizes, name) for name in names}, vocab_size=16, head_dim=sizes.head_dim)
    config._attn_implementation = "sdpa"
    with torch.device("cuda"):
        model = Qwen2Model(config).to(torch.bfloat16).eval()
    for rows, length in SHAPES:
        for compiled in (False, True):
            if time.perf_counter() > ends:
                return
            about = {
                "ratio": "1:0", "rows": rows, "length": length,
                "system": f"transformers {transformers.__version__}, " + ("static cache, compiled" if compiled else "eager"),
            }  # fmt: skip
            shape = (rows, sizes.num_key_value_heads, length - 64, sizes.head_dim)
            cache = StaticCache(config=config, max_cache_len=length) if compiled else DynamicCache(config=config)
            try:
                kv = torch.randn(shape, device="cuda", dtype=torch.bfloat16)
                for layer in range(sizes.num_hidden_layers):
                    cache.update(kv, kv, layer, {"cache_position": torch.arange(shape[2], device="cuda")})
                yield about | _times(model, cache, rows, shape[2], compiled)
            except Exception as error:
                yield about | {"failed": f"{type(error).__name__}: {error}".splitlines()[0][:200]}
            del cache
            gc.collect()
            torch.cuda.empty_cache()


def _times(model: Any, cache: Any, rows: int, length: int, compiled: bool) -> dict[str, Any]:
    run = torch.compile(model.forward, mode="reduce-overhead") if compiled else model.forward
    x = torch.randn(rows, 1, model.config.hidden_size, device="cuda", dtype=torch.bfloat16)
    times = []
    for step in range(COMPILED_STEPS if compiled else STEPS):
        position = torch.tensor([length + step], device="cuda")
        torch.cuda.synchronize()
        began = time.perf_counter()
        run(inputs_embeds=x, past_key_values=cache, use_cache=True, position_ids=position[None].expand(rows, 1))
        torch.cuda.synchronize()
        times.append(1e3 * (time.perf_counter() - began))
    kept = times[len(times) // 2 :]
    return {"ms": statistics.median(kept), "least_ms": min(kept), "most_ms": max(kept), "repetitions": len(kept)}
