"""The graphs of a model as files, for other programs: a directory that any ONNX Runtime of `OLDEST` or later can compute with.

    lm.onnx flow_encoder.onnx flow_step.onnx pitch.onnx wave.onnx tokenizer.onnx speaker.onnx
                     without weights, less than 1 MB together; the last two, which listen, where the model has them
    *.safetensors    the model's files, to which the graphs point, with the tensors that they leave to a base, and
                     float32 in place of 4 bits
    onnx.json        inputs and outputs, settings, and hashes of all files

Text files, voices and configuration are beside them, so the directory is a model directory too.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import onnxruntime as ort

from mamtra.checkpoints.find import find_model
from mamtra.checkpoints.model_files import CONFIG, GENERATION, find_beside, part_files, read_config, read_generation
from mamtra.checkpoints.parts import PARTS
from mamtra.errors import MamTraError
from mamtra.light.choice import OLDEST, installation_problem, obstacle
from mamtra.light.encoder_graph import build_speaker, build_tokenizer
from mamtra.light.flow_graph import build_encoder, build_step
from mamtra.light.graph import GraphBuilder, Products
from mamtra.light.lm_graph import build_lm
from mamtra.light.model import HEARING
from mamtra.light.sessions import session_options
from mamtra.light.vocoder import build_samples
from mamtra.light.vocoder_graph import build_pitch
from mamtra.light.weights import StoredWeights
from mamtra.runtime.files import atomic_directory, hash_files
from mamtra.runtime.json_files import write_json
from mamtra.runtime.strict_models import ClosedModel, parse_json
from mamtra.synthesis.coverage import usable_head

MANIFEST = "onnx.json"
FORMAT = 1
GRAPHS: Mapping[str, tuple[str, Products, Callable[..., None]]] = {
    "lm": ("lm", "float", build_lm),
    "flow_encoder": ("flow", "rows", build_encoder),
    "flow_step": ("flow", "rows", build_step),
    "pitch": ("vocoder", "float", build_pitch),
    "wave": ("vocoder", "float", build_samples),
    "tokenizer": ("speech_tokenizer", "float", build_tokenizer),
    "speaker": ("speaker_encoder", "float", build_speaker),
}
"""For each graph the part whose weights it takes, how it multiplies with int8 weights, and what writes it."""
_TEXT_FILES = ("text.json", "tokenizer.json", "lexicon.txt.xz", "letter_to_sound.safetensors")


def export_onnx(model: str | os.PathLike | None, target: str | os.PathLike, *, listens: bool = True) -> Path:
    """Write a model's graphs into a new directory, with the files that they need.

    Args:
        model: directory or name.
        target: directory to make.
        listens: with the parts that listen, where the model has them.

    Raises:
        MamTraError: ONNX Runtime cannot run the model, or the target exists or cannot be written.
    """
    directory, target = find_model(model), Path(target)
    if problem := obstacle(directory):
        raise MamTraError(f"{problem}; the model cannot be exported.")
    if target.exists():
        raise MamTraError(f"{target} exists already; name another directory, or remove it first.")
    config, generation = read_config(directory), read_generation(directory)
    if not listens:
        config = {name: value for name, value in config.items() if name not in HEARING}
    head = usable_head(generation.alignment_head, config["lm"]["layer_types"])
    with atomic_directory(target) as made:
        _copy_files(directory, made, config)
        about = {}
        for name, (section, products, build) in GRAPHS.items():
            if section not in config:
                continue
            graph = GraphBuilder(name, StoredWeights(made / PARTS[section].file), products)
            build(graph, config[section], **({"head": head} if name == "lm" else {}))
            (made / f"{name}.onnx").write_bytes(graph.finish({"weights": PARTS[section].file}))
            about[name] = _describe(made / f"{name}.onnx")
        files = [path for path in sorted(made.iterdir()) if path.suffix in (".onnx", ".safetensors")]
        hashes = {path.name: hash_files(path) for path in files}
        oldest = ".".join(map(str, OLDEST))
        manifest = {
            "format": FORMAT,
            "onnxruntime": oldest,
            "graphs": about,
            "generation": generation.model_dump(mode="json"),
            "sha256": hashes,
        }
        write_json(made / MANIFEST, manifest)
    return target


def _copy_files(directory: Path, made: Path, config: Mapping[str, Any]) -> None:
    for section, part in PARTS.items():
        if section in config:
            StoredWeights(*part_files(directory, section)).save(made / part.file)
    for name in (*_TEXT_FILES, GENERATION):
        path = find_beside(directory, name)
        if path.is_file():
            shutil.copyfile(path, made / name)
    write_json(made / CONFIG, {key: value for key, value in config.items() if key != "base"})
    voices = find_beside(directory, "voices")
    if voices.is_dir():
        shutil.copytree(voices, made / "voices")


def _describe(path: Path) -> dict[str, Any]:
    """Inputs and outputs of a graph that ONNX Runtime has accepted."""
    session = _open(path)

    def values(found: list[Any]) -> dict[str, Any]:
        return {value.name: {"type": value.type, "shape": value.shape} for value in found}

    return {"inputs": values(session.get_inputs()), "outputs": values(session.get_outputs())}


class _Manifest(ClosedModel):
    format: int
    onnxruntime: str
    graphs: dict[str, dict[str, Any]]
    generation: dict[str, Any]
    sha256: dict[str, str]


def open_exported(directory: str | os.PathLike) -> dict[str, ort.InferenceSession]:
    """Sessions of the graphs of an exported directory, by name.

    Raises:
        MamTraError: a file is missing or is not the one that was exported, or onnxruntime is too old.
    """
    directory = Path(directory)
    if problem := installation_problem():
        raise MamTraError(f"{problem}.")
    path = directory / MANIFEST
    if not path.is_file():
        raise MamTraError(f"{directory} holds no exported graphs; make it with `mamtra export MODEL DIR --onnx`.")
    manifest = parse_json(_Manifest, path.read_bytes(), str(path))
    for name, expected in manifest.sha256.items():
        path = directory / Path(name).name
        if not path.is_file():
            raise MamTraError(f"{path} is missing; export the model again.")
        if hash_files(path) != expected:
            raise MamTraError(f"{path} does not belong to the graphs beside it; export the model again.")
    return {name: _open(directory / f"{name}.onnx") for name in manifest.graphs if name in GRAPHS}


def _open(path: Path) -> ort.InferenceSession:
    return ort.InferenceSession(str(path), session_options(1), providers=["CPUExecutionProvider"])
