"""A language model on disk, of any format: its sizes, its tensors under this package's names, the files beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from mamtra.checkpoints.parts import PARTS
from mamtra.checkpoints.storage import SCALE, dequantise_rows
from mamtra.checkpoints.strict_loading import describe_difference
from mamtra.checkpoints.tensor_files import TensorSource
from mamtra.errors import MamTraError
from mamtra.models.config import CausalLMConfig, SpeechLMConfig

_FLOATS = {torch.float32: "float32", torch.bfloat16: "bfloat16", torch.float16: "float16"}


@dataclass(frozen=True)
class StoredLM:
    """An opened language model; tensors are read on demand.

    Attributes:
        directory: of the model.
        kind: format of the directory.
        section: "lm" for a speech LM, "causal_lm" for any other.
        config: sizes.
        source: tensors as they are stored.
        names: parameter name to tensor name in the source, without the scales of int8 tensors.
        unused: tensors of the source that are not parameters, with the reason.
        settings: entries of config.json beside the sizes.
        companions: files that are copied with the model, by their relative path.
        not_copied: files that are not copied with it.
        source_info: what the model states about its origin.
    """

    directory: Path
    kind: Literal["native", "huggingface", "cosyvoice2", "cosyvoice3"]
    section: Literal["lm", "causal_lm"]
    config: SpeechLMConfig | CausalLMConfig
    source: TensorSource
    names: Mapping[str, str]
    unused: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    companions: Mapping[str, Path] = field(default_factory=dict)
    not_copied: tuple[str, ...] = ()
    source_info: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the directory."""
        return self.directory.resolve().name

    @cached_property
    def storage(self) -> str:
        """How most of the weights are stored, see `mamtra.checkpoints.storage`.

        Raises:
            MamTraError: the type is not supported.
        """
        if any(self.is_quantised(parameter) for parameter in self.names):
            return "int8"
        dtype = self.source.tensors[self.names["model.embed_tokens.weight"]].dtype
        if dtype not in _FLOATS:
            raise MamTraError(
                f"{self.source.path} holds weights of type {dtype}; convert them to one of {', '.join(_FLOATS.values())}."
            )
        return _FLOATS[dtype]

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return sum(prod(self.source.tensors[name].shape) for name in self.names.values())

    @property
    def bytes(self) -> int:
        """Size of all tensors of the source."""
        return sum(info.bytes for info in self.source.tensors.values())

    def is_quantised(self, parameter: str) -> bool:
        """Whether a parameter is stored as int8 rows with scales."""
        return self.names[parameter] + SCALE in self._scales

    @cached_property
    def _scales(self) -> frozenset[str]:
        return scales(self.source)

    def stored_names(self, parameter: str) -> dict[str, str]:
        """Tensors that hold a parameter: name in this package to name in the source."""
        name = self.names[parameter]
        stored = {parameter: name}
        return stored | {parameter + SCALE: name + SCALE} if self.is_quantised(parameter) else stored

    def read(self, parameter: str) -> Tensor:
        """A parameter in the type of the source, dequantised to float32 where it is int8."""
        name = self.names[parameter]
        tensor = self.source.read(name)
        return dequantise_rows(tensor, self.source.read(name + SCALE)) if self.is_quantised(parameter) else tensor

    def check(self) -> None:
        """Compare names and shapes with what the sizes ask for.

        Raises:
            MamTraError: they differ, or weights are of a type that is not supported.
        """
        stored = self.source.tensors
        found = {parameter: stored[name].shape for parameter, name in self.names.items() if name in stored}
        known = {*self.names.values(), *self.unused, *self._scales}
        found |= {name: info.shape for name, info in stored.items() if name not in known}
        difference = describe_difference(parameter_shapes(self.section, self.config), found)
        if difference:
            raise MamTraError(f"{self.source.path} does not fit its configuration: {difference}.")
        whole = [name for parameter, name in self.names.items() if not self.is_quantised(parameter)]
        odd = [name for name in whole if stored[name].dtype not in _FLOATS]
        if odd:
            raise MamTraError(
                f"{self.source.path} holds {odd[0]} as {stored[odd[0]].dtype}; "
                f"convert it to one of {', '.join(_FLOATS.values())}."
            )


def parameter_shapes(section: str, config: SpeechLMConfig | CausalLMConfig) -> dict[str, tuple[int, ...]]:
    """Shapes of all parameters of a language model, without making any."""
    with torch.device("meta"):
        module = PARTS[section].build(config)
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def own_names(source: TensorSource, unused: Iterable[str] = ()) -> dict[str, str]:
    """`StoredLM.names` for a source that has the names of this package already."""
    skipped = {*unused, *scales(source)}
    return {name: name for name in source.tensors if name not in skipped}


def scales(source: TensorSource) -> frozenset[str]:
    """Tensors that are the scales of int8 tensors."""
    tensors = source.tensors
    rows = (name for name, info in tensors.items() if info.dtype == torch.int8)
    return frozenset(name + SCALE for name in rows if name + SCALE in tensors)
