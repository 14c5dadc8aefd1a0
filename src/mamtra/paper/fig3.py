"""Figure 3 of the paper: GPU memory of one utterance by component, against the original's way of loading."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mamtra.acoustic.flow import Flow, FlowConfig
from mamtra.acoustic.hift import HiFT, HiFTConfig
from mamtra.cost.measured_memory import LoadedAsOriginal, decode, free, open_engine, parameter_bytes, peak_of, random_lm
from mamtra.engine.state_pool import stream_bytes
from mamtra.errors import MamTraError
from mamtra.models.scaled_linear import scale_weights
from mamtra.paper.study import Study
from mamtra.paper.table1 import RATIOS
from mamtra.runtime.cuda_graphs import GraphCache
from mamtra.runtime.plotting import canvas, need_matplotlib
from mamtra.runtime.results import markdown_table

INPUTS, TOKENS, PROMPT, STEPS = 250, 250, 125, 10
"""Inputs of the LM, speech tokens that it makes (10 s), of the flow's prompt (5 s), and Euler steps."""
ORIGINAL, HALF = "original, float32", "original, fp16=True"
PAPER, GOAL = 0.66, 0.35
"""Memory of the paper's 1:1 hybrid against CosyVoice 2, and the goal for this package against the original in its fp16 mode."""
PARTS = {
    "lm": ("LM", "#4477aa"),
    "text": ("text table and text head", "#66ccee"),
    "cache": ("cache and states of the LM", "#ee8866"),
    "flow": ("flow", "#228833"),
    "vocoder": ("vocoder", "#ccbb44"),
    "work": ("work: activations, copies, graphs", "#bbbbbb"),
}
NOTES = """One utterance on {device} at CosyVoice 2's sizes with random weights: {inputs} inputs of the LM, {tokens} speech
tokens (10 s), a prompt of {prompt} tokens in the flow. MB by torch's allocator, parts that lie on the GPU; the total is the highest
moment, with everything loaded, and `work` is the rest of it. The speech tokenizer and the speaker encoder are in no row: a stored
voice does not need them.

`original` is CosyVoice 2's way of loading, rebuilt from the shapes: float32 weights, text table and text head on the GPU, and with
`fp16=True` LM and flow under autocast to float16. The other rows are this package's: an engine of one slot with bfloat16 weights,
the text table in host memory, flow and vocoder in float32 unless the row says more. `graphs` runs the flow three times, so that its
captured graphs are in the figure, as in a process that goes on speaking.

The paper reports that MamTra 1:1 takes {paper:.0%} of CosyVoice 2's memory on Seed-TTS-eval and does not say what was counted. The
cache of one utterance is a few MB, so that a hybrid alone cannot save that much. The goal is {goal:.0%} of the original in its fp16
mode."""


def _find() -> dict[str, Any]:
    """Measure every system.

    Raises:
        MamTraError: there is no CUDA device, or matplotlib is missing.
    """
    need_matplotlib()
    if not torch.cuda.is_available():
        raise MamTraError("fig3 measures GPU memory and needs a CUDA device.")
    device = torch.device("cuda")
    return {"device": torch.cuda.get_device_name(device), "rows": list(measure(device))}


def measure(device: torch.device) -> Iterator[dict[str, Any]]:
    """A row for every system; a CPU counts nothing."""
    for half in (False, True):
        yield _original(device, half)
    for ratio in ("1:0", *RATIOS):
        yield _engine(device, ratio, ratio)
    yield _engine(device, "1:1, graphs", "1:1", graphs=True)
    yield _engine(device, "1:1, flow in bfloat16", "1:1", flow_type=torch.bfloat16)
    yield _engine(device, "1:1, int8 LM, flow in bfloat16", "1:1", flow_type=torch.bfloat16, weights="int8")


def _original(device: torch.device, half: bool) -> dict[str, Any]:
    lm = LoadedAsOriginal(random_lm("1:0", device, dtype=torch.float32), half)
    kind = torch.float16 if device.type == "cuda" else torch.bfloat16
    state = stream_bytes(lm.lm.config, INPUTS + TOKENS, kind if half else torch.float32)
    text = parameter_bytes(lm.text_head, lm.lm.model.embed_tokens, device=device)
    sound = _Sound(device, torch.float32, lambda: torch.autocast(device.type, kind, enabled=half))
    total = max(peak_of(lambda: lm(INPUTS, TOKENS, min(16, TOKENS)), device), peak_of(sound, device))
    return _row(HALF if half else ORIGINAL, lm, text, state, sound, total, device)


def _engine(
    device: torch.device, name: str, ratio: str, *, graphs: bool = False,
    flow_type: torch.dtype = torch.float32, weights: Any = None,
) -> dict[str, Any]:  # fmt: skip
    lm = random_lm(ratio, device)
    lm.text_to_host()
    if weights:
        scale_weights(lm, weights)
    sound = _Sound(device, flow_type, nullcontext)
    if graphs:
        sound.use_graphs()
    with open_engine(lm, 1, INPUTS + TOKENS) as engine:
        speak = peak_of(lambda: decode(engine, lm, 1, INPUTS, TOKENS), device)
        total = max(speak, peak_of(lambda: [sound() for _ in range(3 if graphs else 1)], device))
    state = stream_bytes(lm.config, INPUTS + TOKENS, lm.head_weight.dtype)
    return _row(name, lm, 0, state, sound, total, device)


def _row(
    name: str, lm: nn.Module, text: int, state: int, sound: _Sound, total: int, device: torch.device
) -> dict[str, Any]:
    flow, vocoder = (parameter_bytes(part, device=device) for part in (sound.flow, sound.vocoder))
    known = {
        "lm": parameter_bytes(lm, device=device) - text,
        "text": text,
        "cache": state,
        "flow": flow,
        "vocoder": vocoder,
    }
    return {"system": name, **known, "work": max(0, total - sum(known.values())), "total": total}


class _Sound:
    """Flow and vocoder at CosyVoice 2's sizes; a call turns the tokens of one utterance into samples."""

    def __init__(
        self, device: torch.device, flow_type: torch.dtype, context: Callable[[], AbstractContextManager]
    ) -> None:
        free(device)
        with device:
            flow, vocoder = Flow(FlowConfig()), HiFT(HiFTConfig())
        vocoder.remove_weight_norm()
        self.flow = flow.to(flow_type).eval().requires_grad_(False)
        self.vocoder = vocoder.eval().requires_grad_(False)
        self._device, self._context = device, context

    def use_graphs(self) -> None:
        """As a loaded model does on a GPU."""
        for part in (self.flow, self.vocoder):
            part.use_graphs(GraphCache(self._device))

    @torch.inference_mode()
    def __call__(self) -> None:
        device, config = self._device, self.flow.config
        with self._context():
            mel = self.flow.inference(
                torch.randint(0, 6561, (1, TOKENS), device=device),
                torch.randint(0, 6561, (1, PROMPT), device=device),
                torch.randn(1, PROMPT * config.token_mel_ratio, config.output_size, device=device) - 5,
                torch.randn(1, config.spk_embed_dim, device=device),
                steps=STEPS,
            )
        noise = torch.randn(1, mel.shape[2] * self.vocoder.config.hop, 1, device=device)
        self.vocoder.inference(mel.float(), noise=noise)


def _page(found: dict[str, Any]) -> str:
    rows = {row["system"]: row for row in found["rows"]}
    base = rows[HALF]["total"]
    table = markdown_table(
        ("system", *(label for label, _ in PARTS.values()), "total", "against fp16=True"),
        (
            (name, *(f"{row[part] / 1e6:,.0f}" for part in (*PARTS, "total")), f"{row['total'] / base:.0%}" if base else "")
            for name, row in rows.items()
        ),
    )  # fmt: skip
    notes = NOTES.format(
        device=found["device"], inputs=INPUTS, tokens=TOKENS, prompt=PROMPT, paper=PAPER, goal=GOAL,
    )  # fmt: skip
    return f"{table}\n\n{notes}"


def _draw(found: dict[str, Any], path: Path) -> None:
    rows = found["rows"]
    with canvas(path, (7.6, 4.2)) as figure:
        axes, left = figure.add_subplot(), [0.0] * len(rows)
        names = [row["system"] for row in rows]
        for part, (label, colour) in PARTS.items():
            sizes = [row[part] / 1e9 for row in rows]
            axes.barh(names, sizes, left=left, color=colour, label=label)
            left = [a + b for a, b in zip(left, sizes, strict=True)]
        axes.invert_yaxis()
        axes.tick_params(labelsize=8)
        axes.set_xlabel("GPU memory of one utterance, GB", fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(fontsize=7, frameon=False, loc="lower right")


STUDY = Study("fig3", "Figure 3: GPU memory by component", _find, _page, _draw)
