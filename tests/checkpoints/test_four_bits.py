"""Weights of 4 bits: rounding, files, both runtimes, an exported model."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

import mamtra
from mamtra.checkpoints.four_bits import GROUP, pack_groups, unpack_groups
from mamtra.checkpoints.model_files import read_generation
from mamtra.checkpoints.native import hash_model, load_part, save_model
from mamtra.checkpoints.parts import LEFT, PARTS
from mamtra.checkpoints.storage import pack, unpack
from mamtra.checkpoints.tensor_files import TensorFiles
from mamtra.errors import MamTraError
from mamtra.light.export import export_onnx, open_exported
from mamtra.light.model import LightModel
from mamtra.light.weights import StoredWeights
from mamtra.synthesis.model import Model
from tests.factories import speech_like, tiny_model, tiny_parts

STORAGE = dict.fromkeys(tiny_parts(), "int4") | {"lm": "int8"}
TOKENIZER = "speech_tokenizer"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model with all parts but the language model in 4 bits."""
    return tiny_model(tmp_path_factory.mktemp("models") / "int4", STORAGE)


def grouped(rows: np.ndarray) -> np.ndarray:
    return np.pad(rows, ((0, 0), (0, -rows.shape[1] % GROUP))).reshape(len(rows), -1, GROUP)


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=3),
    st.integers(0, 2**32 - 1),
    st.floats(-9, 4),
    st.sampled_from([1, 7, 31, 32, 33, 64, 95]),
)
@settings(max_examples=60, deadline=None)
def test_errors_and_sizes(shape: list[int], seed: int, size: float, inner: int) -> None:
    generator = np.random.default_rng(seed)
    weight = generator.standard_normal((*shape, inner)).astype(np.float32) * np.float32(10**size)
    weight[0] *= generator.integers(0, 2)
    values, scales = pack_groups(weight)
    rows = weight.reshape(len(weight), -1)
    count = rows.shape[1]
    assert values.dtype == np.uint8 and values.shape == (len(rows), -(-count // 2))
    assert scales.dtype == np.float16 and scales.shape == (len(rows), -(-count // GROUP))
    back = unpack_groups("w", values, scales, np.array(weight.shape))
    assert back.dtype == np.float32 and back.shape == weight.shape
    groups, error, steps = grouped(rows), grouped(back.reshape(rows.shape)) - grouped(rows), scales.astype(np.float64)
    assert (np.abs(error) <= steps[..., None] / 2 * 1.000001).all()
    largest = np.abs(groups).max(axis=-1)
    assert (steps <= np.maximum(largest / 7, 2**-24) * (1 + 2**-10) + 2**-24)[largest > 0].all()
    assert (scales[largest == 0] == 1).all() and not back[weight == 0].any()
    again = unpack_groups("w", *pack_groups(back), np.array(weight.shape))
    exact = scales >= np.finfo(np.float16).tiny  # those below are coarse
    assert np.array_equal(grouped(again.reshape(rows.shape))[exact], grouped(back.reshape(rows.shape))[exact])


def test_the_first_value_is_in_the_low_half() -> None:
    values, scales = pack_groups(np.array([[7, -7, 1]], np.float32))
    assert values.tolist() == [[15 | 1 << 4, 9 | 8 << 4]] and scales.tolist() == [[1]]


@pytest.mark.parametrize("size", [1e-7, 1e6])
def test_weights_that_float16_cannot_scale_are_int8(size: float) -> None:
    weight = torch.randn(40, 64, generator=torch.Generator().manual_seed(0)) * size
    packed = pack({"w": weight}, "int4")
    assert packed["w"].dtype == torch.int8 and packed.keys() == {"w", "w.scale"}
    assert (unpack(packed)["w"] - weight).abs().max() < 0.02 * size


def test_only_large_matrices_are_compressed_and_come_back() -> None:
    tensors = {
        "kernel": torch.randn(17, 21, 5),
        "kernel.bias": torch.randn(17),
        "small": torch.randn(4, 4),
        "norm": torch.randn(3),
        "norm.scale": torch.randn(3),
        "norm.shape": torch.randn(3),
        "count": torch.tensor(3),
        "zeros": torch.zeros(40, 64),
    }
    packed = pack(tensors, "int4")
    assert packed.keys() - tensors.keys() == {"kernel.scale", "kernel.shape", "zeros.scale", "zeros.shape"}
    assert packed["kernel"].shape == (17, 53) and packed["kernel.shape"].tolist() == [17, 21, 5]
    back = unpack(packed)
    assert list(back) == list(tensors)
    assert all(torch.equal(back[name], tensor) for name, tensor in tensors.items() if name != "kernel")
    assert (back["kernel"] - tensors["kernel"]).abs().max() < 0.5
    assert unpack(packed, torch.bfloat16)["kernel"].dtype == torch.bfloat16


@pytest.mark.parametrize("section", sorted(STORAGE.keys() - {"lm"}))
def test_both_runtimes_read_what_was_packed(model: Path, section: str) -> None:
    file = model / PARTS[section].file
    entries = load_file(file)
    assert any(entry.dtype == torch.uint8 for entry in entries.values())
    expected, loaded, light = (
        unpack(entries),
        load_part(model, section).state_dict(),
        LightModel(model).weights(section),
    )
    assert loaded.keys() == expected.keys() == set(light)
    for name, tensor in expected.items():
        assert torch.equal(loaded[name], tensor)
        if entries[name].dtype == torch.uint8:
            assert np.array_equal(light[name].array, tensor.numpy())
            assert np.array_equal(light.values(name), tensor.numpy())


def test_both_runtimes_and_an_exported_model_say_and_hear_the_same(model: Path, tmp_path: Path) -> None:
    wave = speech_like(2.0)
    made = export_onnx(model, tmp_path / "made")
    light, exported = LightModel(model, threads=1), LightModel(made, threads=1)
    heard = light.hearing.tokenize(wave)
    assert np.array_equal(heard, Model(model).hearing.tokenize(wave))
    assert np.array_equal(heard, exported.hearing.tokenize(wave))
    one, other = (mamtra.load(place, runtime="onnx") for place in (model, made))
    assert np.array_equal(one.say("hello there").samples, other.say("hello there").samples)
    entries = load_file(made / PARTS[TOKENIZER].file)
    assert entries.keys() == unpack(load_file(model / PARTS[TOKENIZER].file)).keys()
    assert {entry.dtype for entry in entries.values()} == {torch.float32}
    mel = (
        np.random.default_rng(0)
        .standard_normal((1, 128, 80))
        .astype(np.float32)[:, : light.config[TOKENIZER]["num_mels"]]
    )
    graph = open_exported(made)["tokenizer"]
    assert np.array_equal(graph.run(None, {"mel": mel})[0], light.hearing._tokenizer.run(None, {"mel": mel})[0])
    assert mamtra.load(model).say("hello there").samples.size


def test_a_part_leaves_tensors_with_all_their_entries_to_its_base(model: Path, tmp_path: Path) -> None:
    parts = tiny_parts()
    kernels = [name for name, entry in load_file(model / PARTS[TOKENIZER].file).items() if entry.dtype == torch.uint8]
    with torch.no_grad():
        parts[TOKENIZER].state_dict()[kernels[0]].mul_(1.5)
    changed = {TOKENIZER: parts[TOKENIZER]}
    part = save_model(tmp_path / "part", changed, storage="int4", base=str(model), generation=read_generation(model))
    whole = shutil.copytree(model, tmp_path / "whole")
    save_model(whole, changed, storage="int4")
    file = PARTS[TOKENIZER].file
    assert load_file(part / file).keys() <= {kernels[0] + ending for ending in ("", ".scale", ".shape")}
    assert set(kernels[1:]) < set(TensorFiles(part / file).left)
    assert hash_model(part)[TOKENIZER] == hash_model(whole)[TOKENIZER]
    mine, theirs = (LightModel(place).weights(TOKENIZER) for place in (part, whole))
    assert set(mine) == set(theirs)
    assert all(np.array_equal(mine[name].array, theirs[name].array) for name in mine)
    mine.save(tmp_path / "saved.safetensors")
    assert load_file(tmp_path / "saved.safetensors").keys() == set(mine)
    metadata = StoredWeights(tmp_path / "saved.safetensors").metadata
    assert LEFT not in metadata and metadata["storage"] == "float32"


def test_a_language_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        MamTraError, match=r"^Storage 'int4' is unknown for a language model; choose one of float32, .*, int8\.$"
    ):
        tiny_model(tmp_path / "m", "int4")
    assert not list((tmp_path / "m").glob("*.safetensors"))


def test_damaged_entries(model: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(model, tmp_path / "m")
    file = broken / PARTS[TOKENIZER].file
    entries = load_file(file)
    name = next(name for name, entry in entries.items() if entry.dtype == torch.uint8)
    save_file(entries | {name + ".shape": entries[name + ".shape"] + 40}, file)
    for read in (lambda: load_part(broken, TOKENIZER), lambda: LightModel(broken).weights(TOKENIZER)[name]):
        with pytest.raises(MamTraError, match=f"The weight {name} is damaged"):
            read()
    save_file({key: entry for key, entry in entries.items() if key != name + ".shape"}, file)
    with pytest.raises(MamTraError, match=r"does not fit its config.json: 1 unknown"):
        load_part(broken, TOKENIZER)
