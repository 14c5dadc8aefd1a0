"""A Transformer language model on disk becomes a hybrid one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from mamtra.checkpoints.open_lm import open_language_model
from mamtra.checkpoints.tensor_writer import SHARD_BYTES
from mamtra.conversion.choose_plan import choose_plan
from mamtra.conversion.directory import write_directory
from mamtra.conversion.job import Conversion, Progress
from mamtra.conversion.options import TransferOptions
from mamtra.errors import MamTraError
from mamtra.models.plan import LayerPlan
from mamtra.runtime.arguments import checked


@checked
def convert(
    src: str | os.PathLike,
    dst: str | os.PathLike,
    plan: LayerPlan | None = None,
    options: TransferOptions | None = None,
    *,
    ratio: str | None = None,
    strategy: str | None = None,
    attention: Sequence[int] | None = None,
    ranking: str | os.PathLike | None = None,
    storage: str | None = None,
    seed: int = 0,
    shard_bytes: int = SHARD_BYTES,
    progress: Progress | None = None,
) -> Path:
    """Convert a Transformer language model to a hybrid, tensor by tensor.

        mamtra.convert("CosyVoice2-0.5B", "hybrid", ratio="1:3")

    Args:
        src: a model directory or name of this package, a Qwen2 or Llama directory of Hugging Face, or a CosyVoice 2
            directory.
        dst: directory to make; it appears only once it is complete.
        plan: which layers stay attention; ``1:0`` only changes the format. Instead of it:
        ratio: attention to Mamba layers, "T:M".
        strategy: with a ratio, see `LayerPlan.from_ratio`.
        attention: the layers that stay attention.
        ranking: with an importance strategy, the file of `mamtra rank`.
        options: initialisation of the new mixers.
        storage: "float32", "bfloat16", "float16" or "int8"; that of the source by default.
        seed: of the random initialisation.
        shard_bytes: weights beyond this size are split into files.
        progress: called with the bytes done and their total.

    Returns:
        The directory, with `provenance.json` and the readable `CONVERSION.md`.

    Raises:
        MamTraError: no plan, or two; see `open_language_model`, `student_config` and `write_directory`.
    """
    teacher = open_language_model(src)
    if plan is None:
        plan = choose_plan(teacher.config.num_hidden_layers, ratio, strategy, attention, ranking)
    elif (ratio, strategy, attention, ranking) != (None, None, None, None):
        raise MamTraError("The plan names the layers itself; leave out ratio, strategy, attention and ranking.")
    conversion = Conversion(teacher, plan, options, storage=storage, seed=seed, shard_bytes=shard_bytes)
    write_directory(conversion, dst, progress)
    return Path(dst)
