"""Open the language model of a directory of any supported format."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import ValidationError

from mamtra.checkpoints.cosyvoice.files import is_cosyvoice
from mamtra.checkpoints.cosyvoice.lm import open_cosyvoice
from mamtra.checkpoints.find import find_model
from mamtra.checkpoints.huggingface import open_huggingface
from mamtra.checkpoints.model_files import CONFIG, part_files, read_config
from mamtra.checkpoints.native import LANGUAGE_MODELS, PROVENANCE
from mamtra.checkpoints.parts import PARTS
from mamtra.checkpoints.stored_lm import StoredLM, own_names
from mamtra.checkpoints.tensor_files import INDEX, TensorFiles
from mamtra.errors import MamTraError
from mamtra.runtime.json_files import read_json
from mamtra.runtime.strict_models import first_problem

REPORT = "CONVERSION.md"
_ABOUT_OTHER_WEIGHTS = ("README.md", PROVENANCE, REPORT)


def open_language_model(model: str | os.PathLike) -> StoredLM:
    """Open the language model of a directory and check that names and shapes fit its sizes; no weights are read yet.

    Args:
        model: a directory of this package, a Qwen2 or Llama directory of Hugging Face, or a CosyVoice 2 directory; or a
            name that `find_model` knows.

    Raises:
        MamTraError: there is no such model, it has another format or architecture, or files are missing or damaged.
    """
    directory = find_model(model)
    config = read_json(directory / CONFIG) if (directory / CONFIG).is_file() else {}
    if "format" in config:
        found = open_native(directory)
    elif "model_type" in config:
        found = open_huggingface(directory)
    elif is_cosyvoice(directory):
        found = open_cosyvoice(directory)
    else:
        raise MamTraError(
            f"{directory} holds no language model; give a model directory of mamtra, a Qwen2 or Llama directory of "
            "Hugging Face, or a CosyVoice 2 directory."
        )
    found.check()
    return found


def open_native(directory: Path) -> StoredLM:
    """Open the language model of a directory of this package.

    Raises:
        MamTraError: it has none, or files are missing or damaged.
    """
    config = read_config(directory)
    section = next((name for name in LANGUAGE_MODELS if name in config), None)
    if section is None:
        raise MamTraError(f"The model {directory} has no language model to convert; use a complete model.")
    own = read_json(directory / CONFIG)
    file, base = part_files(directory, section)
    try:
        sizes = PARTS[section].parse(config[section])
    except ValidationError as error:
        raise MamTraError(f"{file.with_name(CONFIG)}, section {section!r}: {first_problem(error)}.") from error
    source = TensorFiles(file, base)
    weights = {file.name, file.name + INDEX}
    weights |= {path.name for path in source.files if path.parent == directory}
    companions, left = {}, []
    for path in sorted(directory.rglob("*")):
        place = path.relative_to(directory).as_posix()
        if not path.is_file() or place.startswith(".") or place in weights or place == CONFIG:
            continue
        if place in _ABOUT_OTHER_WEIGHTS:
            left.append(place)
        else:
            companions[place] = path
    provenance = file.with_name(PROVENANCE)
    return StoredLM(
        directory,
        "native",
        section,
        sizes,
        source,
        own_names(source),
        settings={name: value for name, value in own.items() if name not in LANGUAGE_MODELS},
        companions=companions,
        not_copied=tuple(left),
        source_info={"provenance": read_json(provenance)} if provenance.is_file() else {},
    )
