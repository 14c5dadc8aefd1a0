"""What a conversion will do: tensors to copy, tensors to make, and their sizes."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from math import prod
from typing import Any

import torch

from mamtra.checkpoints.cosyvoice.files import VOICE_SPACES
from mamtra.checkpoints.parts import PARTS
from mamtra.checkpoints.storage import SCALE, check_lm_storage, choose_storage, pack
from mamtra.checkpoints.stored_lm import StoredLM, parameter_shapes
from mamtra.checkpoints.tensor_files import TensorInfo
from mamtra.checkpoints.tensor_writer import SHARD_BYTES
from mamtra.conversion.options import TransferOptions, new_mamba_layers, student_config
from mamtra.conversion.transfer import attention_prefix
from mamtra.models.plan import LayerPlan

Progress = Callable[[int, int], None]
"""Called with the bytes done and their total."""


class Conversion:
    """A planned conversion; no weights have been read yet.

    Args: see `convert`.

    Attributes:
        config: sizes of the hybrid.
        storage: of new tensors, see `mamtra.checkpoints.storage`.
        repacks: copied tensors are stored in another type than in the source.
        new_layers: layers that become Mamba.
        copied: parameters that are copied.
        tensors: types and shapes of the weights of the hybrid, in model order.

    Raises:
        MamTraError: plan or options do not fit the teacher.
    """

    def __init__(
        self,
        teacher: StoredLM,
        plan: LayerPlan,
        options: TransferOptions | None = None,
        *,
        storage: str | None = None,
        seed: int = 0,
        shard_bytes: int = SHARD_BYTES,
    ) -> None:
        if storage is not None:
            check_lm_storage(storage)
        self.teacher, self.plan, self.seed, self.shard_bytes = teacher, plan, seed, shard_bytes
        self.options = options or TransferOptions()
        self.config = student_config(teacher.config, plan, self.options)
        self.storage = storage or teacher.storage
        self.repacks = self.storage != teacher.storage
        self.new_layers = new_mamba_layers(teacher.config, plan)
        replaced = tuple(map(attention_prefix, self.new_layers))
        self.copied = {name for name in teacher.names if not name.startswith(replaced)}
        shapes = parameter_shapes(teacher.section, self.config)
        self.parameters = sum(map(prod, shapes.values()))
        self.tensors: dict[str, TensorInfo] = {}
        for name, shape in shapes.items():
            if name in self.copied and not self.repacks:
                stored = teacher.stored_names(name)
                self.tensors |= {mine: teacher.source.tensors[theirs] for mine, theirs in stored.items()}
            else:
                self.tensors |= packed_infos(name, shape, self.storage)

    @property
    def file(self) -> str:
        """Name of the weights file in the directory."""
        return PARTS[self.teacher.section].file

    @cached_property
    def bytes(self) -> int:
        """Size of the weights of the hybrid."""
        return sum(info.bytes for info in self.tensors.values())

    def stored_form(self, parameter: str) -> dict[str, torch.Tensor]:
        """A copied parameter as the hybrid stores it.

        Raises:
            MamTraError: the source is damaged.
        """
        teacher = self.teacher
        if self.repacks:
            return pack({parameter: teacher.read(parameter)}, self.storage)
        return {mine: teacher.source.read(theirs) for mine, theirs in teacher.stored_names(parameter).items()}

    def facts(self) -> dict[str, Any]:
        """Plan, sizes and options, for JSON."""
        from mamtra.conversion.cosyvoice import converted_files

        plan, teacher = self.plan, self.teacher
        other_files = converted_files(teacher.directory) if teacher.kind in VOICE_SPACES else ()
        return {
            "source": {"name": teacher.name, "format": teacher.kind, **_architecture(teacher)},
            "plan": str(plan),
            "layer_types": list(plan.layer_types),
            "attention_layers": list(plan.attention_layers),
            "mamba_layers": list(plan.mamba_layers),
            "new_mamba_layers": self.new_layers,
            "parameters": {"before": teacher.parameters, "after": self.parameters},
            "bytes": {"before": teacher.bytes, "after": self.bytes},
            "storage": self.storage,
            "seed": self.seed,
            "options": self.options.model_dump(),
            "copied_files": sorted(teacher.companions),
            "left_files": [name for name in teacher.not_copied if name not in other_files],
            "converted_files": list(other_files),
        }


def packed_infos(name: str, shape: tuple[int, ...], storage: str) -> dict[str, TensorInfo]:
    """Types and shapes that `pack` gives a float tensor of a shape."""
    kind = choose_storage(torch.empty(shape, device="meta"), storage)
    if kind == "int8":
        return {name: TensorInfo(torch.int8, shape), name + SCALE: TensorInfo(torch.float32, shape[:1])}
    return {name: TensorInfo(getattr(torch, kind), shape)}


def _architecture(teacher: StoredLM) -> dict[str, str]:
    return {"architecture": teacher.source_info["architecture"]} if "architecture" in teacher.source_info else {}
