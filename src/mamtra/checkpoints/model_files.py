"""What a model directory says about itself: its configuration, its base, and where its files are. No weights are read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mamtra.checkpoints.find import built_in_models
from mamtra.checkpoints.generation_config import GenerationConfig
from mamtra.checkpoints.parts import PARTS
from mamtra.errors import MamTraError
from mamtra.runtime.json_files import read_json
from mamtra.runtime.strict_models import first_problem

FORMAT = 1
CONFIG = "config.json"
GENERATION = "generation_config.json"


def is_native(directory: str | os.PathLike) -> bool:
    """Whether a directory is one of this package's own format, or says so."""
    path = Path(directory) / CONFIG
    return path.is_file() and "format" in read_json(path)


def read_config(directory: str | os.PathLike) -> dict[str, Any]:
    """config.json of a model directory, completed by that of its base where it names one.

    Raises:
        MamTraError: no such directory, no config, a format of a later version, or a base that is not there.
    """
    config, base = read_own_config(directory), base_of(directory)
    return config if base is None else {**read_own_config(base), **config}


def read_own_config(directory: str | os.PathLike) -> dict[str, Any]:
    """`read_config` without the base."""
    directory = Path(directory)
    if not directory.is_dir():
        raise MamTraError(f"There is no model directory {directory}.")
    config = read_json(directory / CONFIG)
    found = config.get("format")
    if found is None:
        raise MamTraError(f"{directory} is not a model directory of this package: its {CONFIG} names no format.")
    if found != FORMAT:
        raise MamTraError(f"{directory / CONFIG} has format {found!r}, this version reads {FORMAT}; update mamtra.")
    return config


def base_of(directory: str | os.PathLike) -> Path | None:
    """Directory of the model that this one completes itself from; None where it stands alone.

    Raises:
        MamTraError: the base is not there, or names a base of its own.
    """
    directory = Path(directory)
    if not (directory / CONFIG).is_file():
        return None
    return find_base(directory, read_json(directory / CONFIG).get("base"))


def find_base(directory: Path, name: object) -> Path | None:
    """`base_of` for a directory whose config.json has `name` as its base.

    Raises:
        MamTraError: see `base_of`.
    """
    if name is None:
        return None
    base = built_in_models().get(name) or directory / name if isinstance(name, str) else directory
    if not (base / CONFIG).is_file():
        raise MamTraError(
            f"The model {directory} is completed by the model {base}, which is not there; get it as well."
        )
    if "base" in read_json(base / CONFIG):
        raise MamTraError(f"The base of {directory} has a base itself; name a complete model in its config.json.")
    return base.resolve()


def name_base(base: Path, directory: Path) -> str:
    """What a model in `directory` calls its base: the name of a built-in model, which serves wherever the model is moved, else the
    way from the one directory to the other."""
    names = [name for name, place in built_in_models().items() if place.resolve() == base.resolve()]
    return names[0] if names else Path(os.path.relpath(base.resolve(), directory.resolve())).as_posix()


def find_beside(directory: str | os.PathLike, name: str) -> Path:
    """Path of a file or folder of a model: its own where it exists, else that of its base."""
    own = Path(directory) / name
    base = None if own.exists() else base_of(directory)
    return own if base is None else base / name


def part_files(directory: str | os.PathLike, section: str) -> tuple[Path, Path | None]:
    """The file with the weights of a part, and that of the base with the tensors which the former leaves to it, None where there is
    no such; of a part that only the base has, the base's file alone."""
    directory, base, name = Path(directory), base_of(directory), PARTS[section].file
    if base is None:
        return directory / name, None
    return (directory / name, base / name) if section in read_own_config(directory) else (base / name, None)


def read_generation(directory: str | os.PathLike) -> GenerationConfig:
    """generation_config.json of a model directory, or the defaults where it has none."""
    path = Path(directory) / GENERATION
    if not path.exists():
        return GenerationConfig()
    try:
        return GenerationConfig.model_validate(read_json(path))
    except ValidationError as error:
        raise MamTraError(f"{path}: {first_problem(error)}.") from error
