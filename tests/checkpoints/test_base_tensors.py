"""A part of a model that leaves tensors to its base."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

import mamtra
from mamtra.checkpoints.find import built_in_models
from mamtra.checkpoints.model_files import read_generation
from mamtra.checkpoints.native import PROVENANCE, hash_model, load_part, read_tensors, save_model, voice_space
from mamtra.checkpoints.open_lm import open_language_model
from mamtra.checkpoints.parts import LEFT
from mamtra.checkpoints.tensor_files import TensorFiles
from mamtra.distill.export import write_student
from mamtra.errors import MamTraError
from mamtra.light.export import export_onnx
from mamtra.light.model import LightModel
from mamtra.runtime.json_files import read_json
from mamtra.synthesis.fingerprint import hash_parts
from mamtra.synthesis.model import Model
from tests.factories import tiny_model, tiny_parts

NAMES = sorted(tiny_parts()["flow"].state_dict())
FLOW = "flow.safetensors"


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a model of each storage."""
    folder = tmp_path_factory.mktemp("bases")
    for storage in ("float32", "int8"):
        tiny_model(folder / storage, storage)
    return folder


def changed_flow(names: list[str]) -> torch.nn.Module:
    flow = copy.deepcopy(tiny_parts()["flow"])
    with torch.no_grad():
        for name in names:
            flow.state_dict()[name].add_(1)
    return flow


def save_both(bases: Path, storage: str, own: str, names: list[str]) -> tuple[Path, Path]:
    """A model with these tensors changed, stored as `own`: completed by a base, and by itself."""
    part, whole = bases / "part", bases / "whole"
    for place in (part, whole):
        shutil.rmtree(place, ignore_errors=True)
    generation = read_generation(bases / storage)
    save_model(part, {"flow": changed_flow(names)}, storage=own, base=f"../{storage}", generation=generation)
    shutil.copytree(bases / storage, whole)
    save_model(whole, {"flow": changed_flow(names)}, storage=own)
    return part, whole


@given(st.sampled_from(["float32", "int8"]), st.sampled_from(["float32", "int8"]), st.lists(st.sampled_from(NAMES)))
@settings(max_examples=6, deadline=None)
def test_a_part_that_leaves_tensors_to_its_base_is_the_whole_part(
    bases: Path, storage: str, own: str, names: list[str]
) -> None:
    part, whole = save_both(bases, storage, own, names)
    one, other = (load_part(place, "flow").state_dict() for place in (part, whole))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    mine, theirs = (LightModel(place).weights("flow") for place in (part, whole))
    assert set(mine) == set(theirs)
    assert all(
        mine[name].kind == theirs[name].kind and np.array_equal(mine[name].array, theirs[name].array) for name in mine
    )
    assert hash_model(part)["flow"] == hash_model(whole)["flow"] == hash_parts(Model(part))["flow"]
    if storage == own:
        assert (part / FLOW).stat().st_size < (whole / FLOW).stat().st_size
        named = {name.removesuffix(".scale") for name in load_file(part / FLOW)}
        assert named == set(names) == set(NAMES) - set(TensorFiles(part / FLOW).left)


def test_both_runtimes_and_an_exported_model_say_the_same(bases: Path, tmp_path: Path) -> None:
    part, whole = save_both(bases, "int8", "int8", ["encoder_proj.weight"])
    for runtime in ("torch", "onnx"):
        one, other = (mamtra.load(place, runtime=runtime) for place in (part, whole))
        assert np.array_equal(one.say("hello there").samples, other.say("hello there").samples)
    made = export_onnx(part, tmp_path / "made")
    assert "base" not in read_json(made / "config.json") and not TensorFiles(made / FLOW).left
    assert hash_model(made) == hash_model(whole)


def test_files_of_a_model_without_torch_are_those_that_decide_its_sound(bases: Path) -> None:
    part, _ = save_both(bases, "int8", "int8", NAMES[:1])
    before = hash_parts(LightModel(part))
    assert before["vocoder"] == hash_parts(LightModel(bases / "int8"))["vocoder"]
    base = shutil.copytree(bases / "int8", bases / "copy")
    config = part / "config.json"
    config.write_text(config.read_text().replace("../int8", "../copy"))
    assert hash_parts(LightModel(part)) == before
    save_model(base, {"flow": changed_flow(NAMES[1:2])}, storage="int8")
    assert hash_parts(LightModel(part))["flow"] != before["flow"]


def test_tensors_that_neither_has_are_missing(bases: Path, tmp_path: Path) -> None:
    base = shutil.copytree(bases / "float32", tmp_path / "base")
    model = save_model(tmp_path / "model", {"flow": changed_flow(["encoder_proj.bias"])}, base="../base")
    tensors = load_file(base / FLOW)
    del tensors["encoder_proj.weight"]
    save_file(tensors | {"stranger": torch.zeros(1)}, base / FLOW)
    with pytest.raises(
        MamTraError, match=r"model/flow\.safetensors does not fit .*: 1 missing \(encoder_proj.weight\)\.$"
    ):
        load_part(model, "flow")
    with pytest.raises(
        MamTraError, match=r"model/flow\.safetensors has no weight encoder_proj.weight; it does not fit"
    ):
        mamtra.load(model, runtime="onnx").say("hello")
    (base / FLOW).unlink()
    for runtime in ("torch", "onnx"):
        with pytest.raises(MamTraError, match=r"base/flow\.safetensors is missing"):
            mamtra.load(model, runtime=runtime).say("hello")
    with pytest.raises(MamTraError, match="not there; get it as well"):
        save_model(tmp_path / "other", {"flow": changed_flow([])}, base="../nowhere")


def test_tensors_that_are_not_named_are_not_taken_from_the_base(bases: Path, tmp_path: Path) -> None:
    model = save_model(tmp_path / "model", {"flow": changed_flow(NAMES)}, base=str(bases / "float32"))
    tensors = load_file(model / FLOW)
    del tensors["encoder_proj.weight"]
    save_file(tensors, model / FLOW)
    with pytest.raises(MamTraError, match=r"1 missing \(encoder_proj.weight\)"):
        load_part(model, "flow")


def test_language_model_and_speech_tokenizer(bases: Path, tmp_path: Path) -> None:
    parts, model = tiny_parts(), tmp_path / "model"
    with torch.no_grad():
        parts["lm"].llm_decoder.bias.add_(1)
    save_model(model, {name: parts[name] for name in ("lm", "speech_tokenizer")}, base=str(bases / "float32"))
    assert list(load_file(model / "model.safetensors")) == ["llm_decoder.bias"]
    assert voice_space(model) == voice_space(bases / "float32") == read_json(model / "config.json")["voice_space"]
    stored = open_language_model(model)
    assert stored.names.keys() == parts["lm"].state_dict().keys()
    assert torch.equal(stored.read("llm_decoder.bias"), parts["lm"].llm_decoder.bias)
    found = read_tensors(TensorFiles(model / "model.safetensors", bases / "float32" / "model.safetensors"))
    assert all(torch.equal(found[name], tensor) for name, tensor in parts["lm"].state_dict().items())


def test_a_trained_model_of_a_base_leaves_tensors_to_it(bases: Path, tmp_path: Path) -> None:
    began = save_model(tmp_path / "began", {"flow": changed_flow(NAMES[:3])}, storage="int8", base=str(bases / "int8"))
    (tmp_path / "run").mkdir()
    student = write_student(tmp_path / "run", began, "flow", changed_flow(NAMES[:1]), {}, generation={}, storage="int8")
    assert set(TensorFiles(student / FLOW).left) == set(NAMES[1:])
    assert read_json(student / PROVENANCE)["sha256"] == hash_model(student)
    (tmp_path / "alone").mkdir()
    alone = write_student(tmp_path / "alone", bases / "int8", "flow", changed_flow(NAMES[:1]), {}, generation={})
    assert load_file(alone / FLOW).keys() == changed_flow([]).state_dict().keys()


@pytest.mark.parametrize("name", sorted(built_in_models()))
def test_built_in_weights_are_those_of_the_record(name: str) -> None:
    """A part that leaves tensors to `mini` has to be made anew when that part of `mini` is."""
    model = built_in_models()[name]
    assert read_json(model / PROVENANCE)["sha256"] == hash_model(model)


def test_the_flow_of_the_fast_voice_is_its_estimator_alone() -> None:
    models = built_in_models()
    own = TensorFiles(models["mini-fast"] / FLOW)
    assert own.tensors and all(name.startswith("decoder.estimator.") for name in own.tensors)
    assert LEFT in LightModel(models["mini-fast"]).weights("flow").metadata
