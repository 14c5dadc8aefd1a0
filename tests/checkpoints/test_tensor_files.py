"""Tensors one by one, read and written: what safetensors writes is read, and what is written safetensors reads."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from mamtra.checkpoints.native import hash_weights, load_part, save_model
from mamtra.checkpoints.tensor_files import TensorFiles, TensorInfo
from mamtra.checkpoints.tensor_writer import TensorWriter
from mamtra.errors import MamTraError
from tests.factories import tiny_parts

TENSORS = {
    "b": torch.arange(7, dtype=torch.int8),
    "a.weight": torch.arange(15.0).view(3, 5),
    "a.bias": torch.tensor([1.0, -2.0, 3.5], dtype=torch.bfloat16),
    "scalar": torch.tensor(4.0),
    "none": torch.zeros(0, 3),
    "half": torch.ones(2, 2, dtype=torch.float16),
}
INFOS = {name: TensorInfo(tensor.dtype, tuple(tensor.shape)) for name, tensor in TENSORS.items()}


def write(path, tensors=TENSORS, **options):
    with TensorWriter(path, {n: TensorInfo(t.dtype, tuple(t.shape)) for n, t in tensors.items()}, **options) as writer:
        for name in reversed(tensors):
            writer.write(name, tensors[name])
    return writer.files


def same(found, expected):
    return found.keys() == expected.keys() and all(
        found[n].dtype == t.dtype and torch.equal(found[n], t) for n, t in expected.items()
    )


def test_what_is_written_safetensors_reads(tmp_path):
    assert write(tmp_path / "x.safetensors", metadata={"format": "pt"}) == [tmp_path / "x.safetensors"]
    assert same(load_file(tmp_path / "x.safetensors"), TENSORS)
    save_file(TENSORS, tmp_path / "y.safetensors", metadata={"format": "pt"})
    assert hash_weights(tmp_path / "x.safetensors") == hash_weights(tmp_path / "y.safetensors")
    found = TensorFiles(tmp_path / "y.safetensors")
    assert found.tensors == INFOS and list(found.tensors) == sorted(TENSORS)
    assert same({name: found.read(name) for name in found.tensors}, TENSORS) and same(found.load(), TENSORS)


def test_shards_and_their_index(tmp_path):
    files = write(tmp_path / "m.safetensors", shard_bytes=20)
    assert [f.name for f in files] == [f"m-0000{i}-of-00003.safetensors" for i in (1, 2, 3)]
    index = json.loads((tmp_path / "m.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == sum(info.bytes for info in INFOS.values())
    for file in files:
        inside = load_file(file)
        assert {name for name, home in index["weight_map"].items() if home == file.name} == set(inside)
        assert len(inside) == 1 or sum(INFOS[name].bytes for name in inside) <= 20
    found = TensorFiles(tmp_path / "m.safetensors")
    assert found.files == tuple(files) and same(found.load(), TENSORS)
    save_file(TENSORS, tmp_path / "whole.safetensors")
    assert hash_weights(tmp_path / "m.safetensors") == hash_weights(tmp_path / "whole.safetensors")


def test_a_writer_insists_on_what_was_said(tmp_path):
    with (
        pytest.raises(ValueError, match="5 tensors have not been written"),
        TensorWriter(tmp_path / "x", INFOS) as writer,
    ):
        writer.write("b", TENSORS["b"])
        with pytest.raises(ValueError, match="scalar is"):
            writer.write("scalar", torch.tensor(1, dtype=torch.int64))


@pytest.fixture
def shards(tmp_path):
    write(tmp_path / "m.safetensors", shard_bytes=20)
    return tmp_path


def test_a_file_that_may_not_be_read_is_not_called_damaged(shards, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: "00002" not in str(path))
    with pytest.raises(MamTraError, match=r"m-00002-of-00003\.safetensors cannot be read: permission denied\."):
        TensorFiles(shards / "m.safetensors")


def test_missing_and_truncated_shards(shards):
    second = shards / "m-00002-of-00003.safetensors"
    data = second.read_bytes()
    second.write_bytes(data[:-3])
    with pytest.raises(MamTraError, match=r"m-00002-of-00003\.safetensors is damaged"):
        TensorFiles(shards / "m.safetensors")
    second.unlink()
    with pytest.raises(MamTraError, match=r"m-00002-of-00003\.safetensors is missing"):
        TensorFiles(shards / "m.safetensors")
    shutil.copy(shards / "m-00001-of-00003.safetensors", second)
    with pytest.raises(
        MamTraError, match=r"m-00002-of-00003\.safetensors lacks .*, which m\.safetensors\.index\.json says"
    ):
        TensorFiles(shards / "m.safetensors")


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"weight_map": {"a": "../a"}}', '{"weight_map": {"a": 3}}'])
def test_damaged_index(tmp_path, text):
    (tmp_path / "m.safetensors.index.json").write_text(text)
    with pytest.raises(MamTraError, match=r"damaged|should hold"):
        TensorFiles(tmp_path / "m.safetensors")


def test_unsupported_types_are_named(tmp_path):
    save_file({"a": torch.zeros(2).to(torch.float8_e4m3fn)}, tmp_path / "m.safetensors")
    with pytest.raises(MamTraError, match="stores a as F8_E4M3"):
        TensorFiles(tmp_path / "m.safetensors")


@pytest.mark.parametrize("storage", ["float32", "int8"])
def test_parts_of_a_model_may_be_sharded(tmp_path, storage):
    lm = tiny_parts()["lm"]
    whole = save_model(tmp_path / "whole", {"lm": lm}, storage=storage)
    shards = shutil.copytree(whole, tmp_path / "shards")
    (shards / "model.safetensors").unlink()
    write(shards / "model.safetensors", load_file(whole / "model.safetensors"), shard_bytes=100_000)
    assert len(list(shards.glob("model-*.safetensors"))) > 2
    one, other = (load_part(directory, "lm").state_dict() for directory in (whole, shards))
    assert all(torch.equal(one[name], other[name]) for name in one)
    save_model(shards, {"lm": lm}, storage=storage)
    assert not (shards / "model.safetensors.index.json").exists()


def test_a_language_model_says_its_name_to_transformers(tmp_path):
    parts = tiny_parts()
    config = json.loads((save_model(tmp_path / "a", {"lm": parts["lm"]}) / "config.json").read_text())
    assert (config["model_type"], config["architectures"]) == ("mamtra", ["MamTraForCausalLM"])
    config = json.loads((save_model(tmp_path / "b", {"flow": parts["flow"]}) / "config.json").read_text())
    assert "model_type" not in config
