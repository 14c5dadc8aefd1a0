"""Which runtime a model is given: torch, or ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from mamtra.acoustic.receptive_field import SOURCE_FILTER
from mamtra.checkpoints.model_files import is_native, part_files, read_config
from mamtra.errors import MamTraError
from mamtra.light.cpu import has_dot_products

OLDEST = (1, 30)
"""The first ONNX Runtime with all operators of the graphs."""
RUNTIMES = ("onnx", "torch")
_PARTS = ("lm", "flow", "vocoder")


def choose_runtime(directory: Path, wanted: str | None, *, asks_torch: bool) -> Literal["onnx", "torch"]:
    """The runtime of a model: the one that is wanted, else torch where it is installed, else ONNX Runtime.

    Args:
        directory: of the model.
        wanted: "onnx", "torch" or None.
        asks_torch: a device, a type of weights or a history of the flow is asked for, which only torch has.

    Raises:
        MamTraError: the wanted runtime cannot run the model, or torch is needed and not installed.
    """
    if wanted not in (None, *RUNTIMES):
        raise MamTraError(f"There is no runtime {wanted!r}; use {' or '.join(RUNTIMES)}.")
    has_torch = find_spec("torch") is not None
    if wanted == "torch" or (wanted is None and has_torch):
        if not has_torch:
            raise MamTraError("The runtime torch is not installed; pip install 'mamtra[torch]'.")
        return "torch"
    problem = (
        "Devices, types of weights and a flow's history belong to the runtime torch"
        if asks_torch
        else obstacle(directory)
    )
    if problem and has_torch:
        raise MamTraError(f"{problem}; use the runtime torch.")
    if problem:
        raise MamTraError(f"{problem}; use the runtime torch: pip install 'mamtra[torch]'.")
    return "onnx"


def obstacle(directory: Path) -> str | None:
    """Why ONNX Runtime cannot run a model, as the beginning of a sentence; None where it can."""
    if problem := installation_problem():
        return problem
    if not is_native(directory):
        return f"{directory} is no model directory of this package, which ONNX Runtime needs"
    config = read_config(directory)
    missing = [name for name in _PARTS if name not in config or not part_files(directory, name)[0].is_file()]
    if missing:
        return f"{directory} has no {', '.join(missing)} in one file, as ONNX Runtime needs it"
    return _unknown_form(config["lm"]) or _unknown_sound(config)


def _unknown_sound(config: Mapping[str, Any]) -> str | None:
    kinds = [config[name].get("architecture") for name in ("flow", "vocoder") if isinstance(config[name], dict)]
    if any(kind not in (None, SOURCE_FILTER) for kind in kinds):
        return "ONNX Runtime does not run the flow and the vocoder of CosyVoice 3"
    return None


def _unknown_form(lm: Mapping[str, Any]) -> str | None:
    if lm.get("mamba_form") != "mamba2":
        return f"ONNX Runtime has no Mamba layers of the form {lm.get('mamba_form')!r}"
    if lm.get("rope_scaling") is not None:
        return "ONNX Runtime does not run language models with scaled rotary positions"
    return None


@lru_cache(maxsize=1)
def installation_problem() -> str | None:
    """Why this installation cannot compute with ONNX Runtime, as the beginning of a sentence; None where it can."""
    try:
        found = version("onnxruntime")
    except PackageNotFoundError:
        return "onnxruntime is not installed"
    if tuple(int(part) for part in found.split(".")[:2]) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        return f"onnxruntime {found} is too old; version {oldest} or later is needed (pip install -U onnxruntime)"
    return None


def describe_runtimes() -> dict[str, str]:
    """What each runtime is ready for in this installation, the one taken by default marked."""
    has_torch, problem = find_spec("torch") is not None, installation_problem()
    ready = "ready" if has_dot_products() else "ready, in float32: no 8-bit dot products were found in this processor"
    states = {"onnx": problem or ready, "torch": "ready" if has_torch else "not installed"}
    default = "torch" if has_torch else "onnx"
    return {name: f"{state} (default)" if name == default else state for name, state in states.items()}
