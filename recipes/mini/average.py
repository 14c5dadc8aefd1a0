"""The mean of the weights of two vocoders, the second trained on from the first: between what each of them does better.

    python average.py --first FILE --second FILE --out vocoder.safetensors

FILE is one that train_vocoder.py wrote or a model directory's; the second one has its settings. Where the two have different sizes
(the pitch predictor), the second one's weights are taken.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor
from train_vocoder import with_weight_norm
from trained import read_metadata

from mamtra.acoustic.source_filter import SourceFilter, SourceFilterConfig
from mamtra.checkpoints.storage import unpack

NORM = ".parametrizations.weight.original"


def folded(path: Path) -> dict[str, Tensor]:
    """The weights of a file without weight norm."""
    state = unpack(load_file(path))
    for name in [name for name in state if name.endswith(NORM + "0")]:
        layer = name.removesuffix(NORM + "0")
        norm, direction = state.pop(name), state.pop(layer + NORM + "1")
        state[f"{layer}.weight"] = direction * (norm / direction.flatten(1).norm(dim=1).view_as(norm))
    return state


def mean(first: dict[str, Tensor], second: dict[str, Tensor]) -> dict[str, Tensor]:
    """Of two state dicts."""
    return {
        name: (weight + first[name]) / 2 if first[name].shape == weight.shape else weight
        for name, weight in second.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("first", "second", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    args = parser.parse_args()
    about = read_metadata(args.second)
    names = SourceFilter(SourceFilterConfig(**about["config"])).state_dict()
    state = with_weight_norm(mean(folded(args.first), folded(args.second)), names)
    metadata = {name: json.dumps(value) for name, value in about.items()}
    save_file({name: value.contiguous() for name, value in state.items()}, args.out, metadata=metadata)


if __name__ == "__main__":
    main()
