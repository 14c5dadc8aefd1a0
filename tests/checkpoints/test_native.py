import copy
import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import mamtra
from mamtra.checkpoints.find import built_in_models, find_model
from mamtra.checkpoints.generation_config import GenerationConfig
from mamtra.checkpoints.model_files import base_of, find_beside, name_base, read_config, read_generation
from mamtra.checkpoints.native import hash_weights, load_part, save_model, voice_space
from mamtra.checkpoints.open_lm import open_native
from mamtra.checkpoints.strict_loading import build_uninitialised, describe_difference
from mamtra.encoders.speech_tokenizer import SpeechTokenizer, SpeechTokenizerConfig
from mamtra.errors import MamTraError
from mamtra.synthesis.model import Model
from mamtra.tts import load
from mamtra.voices.library import VoiceLibrary
from tests.factories import tiny_model, tiny_parts


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.mark.parametrize("section", ["lm", "flow", "speech_tokenizer", "speaker_encoder"])
def test_weights_come_back_bit_for_bit(saved, section):
    original = tiny_parts()[section].state_dict()
    loaded = load_part(saved, section)
    assert not loaded.training and not any(p.requires_grad for p in loaded.parameters())
    state = loaded.state_dict()
    assert set(state) == set(original)
    assert all(torch.equal(state[name], original[name]) for name in original)


def test_vocoder_is_stored_without_weight_norm_and_sounds_the_same(saved):
    assert not any("parametrizations" in name for name in load_file(saved / "vocoder.safetensors"))
    original, loaded = tiny_parts()["vocoder"], load_part(saved, "vocoder")
    mel = torch.randn(1, 80, 12, generator=torch.Generator().manual_seed(0))
    plain = copy.deepcopy(original).remove_weight_norm()
    one = plain.inference(mel, generator=torch.Generator().manual_seed(3))
    two = loaded.inference(mel, generator=torch.Generator().manual_seed(3))
    assert (one - two).abs().max() < 1e-5
    assert any("parametrizations" in name for name in original.state_dict())


def test_int8_model_is_smaller_and_close(tmp_path, saved):
    small = tiny_model(tmp_path / "small", storage="int8")
    size = {d: (d / "model.safetensors").stat().st_size for d in (saved, small)}
    assert size[small] < 0.35 * size[saved]
    one, two = (load_part(d, "lm").speech_embedding.weight for d in (saved, small))
    assert 0 < (one - two).abs().max() < 0.005 * one.abs().max()


def test_storage_can_differ_by_part(tmp_path):
    parts = tiny_parts()
    save_model(tmp_path, {k: parts[k] for k in ("lm", "flow")}, storage={"lm": "bfloat16"})
    assert load_file(tmp_path / "model.safetensors")["speech_embedding.weight"].dtype == torch.bfloat16
    assert load_file(tmp_path / "flow.safetensors")["input_embedding.weight"].dtype == torch.float32


def test_dtype_on_loading(saved):
    assert load_part(saved, "lm", torch.bfloat16).llm_decoder.weight.dtype == torch.bfloat16


def test_a_loaded_part_does_not_depend_on_its_file(saved, tmp_path):
    copy = copy_of(saved, tmp_path)
    loaded, path = load_part(copy, "flow"), copy / "flow.safetensors"
    before = {name: tensor.clone() for name, tensor in loaded.state_dict().items()}
    if sys.platform == "linux":
        assert str(path) not in Path("/proc/self/maps").read_text()
    with path.open("r+b") as file:  # in place, as a copy over it would be
        file.write(b"\xff" * path.stat().st_size)
        file.truncate(100)
    assert all(torch.equal(tensor, before[name]) for name, tensor in loaded.state_dict().items())


def test_building_blank_draws_nothing_and_keeps_buffers():
    before = torch.get_rng_state()
    blank = build_uninitialised(lambda: SpeechTokenizer(SpeechTokenizerConfig(width=16, heads=2)))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(blank.powers, 3 ** torch.arange(8))


def copy_of(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "copy")


def test_differences_are_named(saved, tmp_path):
    model = copy_of(saved, tmp_path)
    tensors = load_file(model / "model.safetensors")
    tensors["stranger"] = torch.zeros(1)
    tensors["llm_decoder.bias"] = torch.zeros(7)
    del tensors["model.norm.weight"]
    save_file(tensors, model / "model.safetensors")
    with pytest.raises(MamTraError) as caught:
        load_part(model, "lm")
    message = str(caught.value)
    assert "1 missing (model.norm.weight)" in message and "1 unknown (stranger)" in message
    assert "llm_decoder.bias is (7,) and should be (6564,)" in message


def test_long_differences_are_cut_short():
    text = describe_difference({f"w{i}": (1,) for i in range(9)}, {})
    assert text == "9 missing (w0, w1, w2, ...)"


def test_missing_and_damaged_files(saved, tmp_path):
    model = copy_of(saved, tmp_path)
    (model / "model.safetensors").unlink()
    with pytest.raises(MamTraError, match=r"model\.safetensors is missing"):
        load_part(model, "lm")
    (model / "flow.safetensors").write_bytes(b"garbage")
    with pytest.raises(MamTraError, match="damaged"):
        load_part(model, "flow")
    (model / "config.json").write_text("{")
    with pytest.raises(MamTraError, match="damaged"):
        load_part(model, "vocoder")
    (model / "config.json").unlink()
    with pytest.raises(MamTraError, match="is not a model directory"):
        load_part(model, "vocoder")
    with pytest.raises(MamTraError, match="no model directory"):
        load_part(tmp_path / "nowhere", "lm")


def test_bad_configs(saved, tmp_path):
    model = copy_of(saved, tmp_path)
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "lm": {**config["lm"], "sise": 3}}))
    with pytest.raises(MamTraError, match="section 'lm': sise"):
        load_part(model, "lm")
    old = {"speech_codes" if key == "num_speech_tokens" else key: value for key, value in config["lm"].items()}
    (model / "config.json").write_text(json.dumps({**config, "lm": old}))
    for read in (lambda: load_part(model, "lm"), lambda: mamtra.plan(model), lambda: open_native(model)):
        with pytest.raises(MamTraError, match="'speech_codes' is called 'num_speech_tokens' now; rename it"):
            read()
    (model / "config.json").write_text(json.dumps({k: v for k, v in config.items() if k != "flow"}))
    with pytest.raises(MamTraError, match="has no flow, which turns speech tokens into a spectrogram"):
        load_part(model, "flow")
    (model / "config.json").write_text(json.dumps({**config, "format": 2}))
    with pytest.raises(MamTraError, match="format 2"):
        load_part(model, "lm")
    (model / "generation_config.json").write_text('{"top_p": "much"}')
    with pytest.raises(MamTraError, match="top_p"):
        read_generation(model)


def test_generation_defaults_round_trip(tmp_path):
    save_model(tmp_path, {}, generation=GenerationConfig(top_k=7))
    assert read_generation(tmp_path).top_k == 7
    save_model(tmp_path, {})
    assert read_generation(tmp_path).top_k == 7


def test_hash_ignores_order_and_metadata_but_not_values(tmp_path):
    tensors = {"a": torch.ones(2), "b": torch.zeros(3, dtype=torch.int8)}
    save_file(tensors, tmp_path / "one")
    save_file(dict(reversed(tensors.items())), tmp_path / "two", metadata={"x": "y"})
    save_file({**tensors, "a": torch.tensor([1.0, 1.5])}, tmp_path / "three")
    assert hash_weights(tmp_path / "one") == hash_weights(tmp_path / "two") != hash_weights(tmp_path / "three")


def test_saving_writes_hashes_and_keeps_other_parts(saved, tmp_path):
    model = copy_of(saved, tmp_path)
    before = json.loads((model / "config.json").read_text())
    save_model(model, {"lm": tiny_parts(seed=5)["lm"]}, provenance={"data": "none"})
    provenance = json.loads((model / "provenance.json").read_text())
    assert provenance["data"] == "none"
    assert (
        provenance["sha256"]["lm"]
        == hash_weights(model / "model.safetensors")
        != hash_weights(saved / "model.safetensors")
    )
    assert json.loads((model / "config.json").read_text()) == before
    assert voice_space(model) == before["voice_space"] != ""


def test_parts_are_loaded_when_asked_for(saved):
    model = Model(saved)
    assert model.loaded == ()
    assert model.lm is model.lm
    assert model.loaded == ("lm",)
    assert model.sample_rate == 24000 and model.name == "tiny"


def test_find_model(saved, tmp_path):
    assert find_model(saved) == saved
    for name in ("no-such-model", "../nowhere/model", str(tmp_path / "nowhere")):
        with pytest.raises(MamTraError, match="no model"):
            find_model(name)


@pytest.fixture
def variant(saved, tmp_path):
    """A model of an LM alone, completed by `saved`."""
    base = shutil.copytree(saved, tmp_path / "base")
    save_model(tmp_path / "variant", {"lm": tiny_parts(seed=5)["lm"]}, base="../base")
    return tmp_path / "variant", base


def test_a_model_is_completed_by_its_base(variant):
    model, base = variant
    assert {path.name for path in model.iterdir()} == {"config.json", "generation_config.json", "model.safetensors"}
    assert torch.equal(load_part(model, "lm").llm_decoder.weight, tiny_parts(seed=5)["lm"].llm_decoder.weight)
    assert torch.equal(load_part(model, "flow").input_embedding.weight, load_part(base, "flow").input_embedding.weight)
    assert Model(model).voice_space == Model(base).voice_space != ""
    assert Model(model).text.encode("Hello.") == Model(base).text.encode("Hello.")
    assert list(VoiceLibrary(model, home=model / "none").paths()) == ["tiny"]
    assert load(model).say("Hello.").voice == "tiny"


def test_own_weights_are_never_replaced_by_those_of_the_base(variant):
    (variant[0] / "model.safetensors").unlink()
    with pytest.raises(MamTraError, match=r"variant/model\.safetensors is missing"):
        load_part(variant[0], "lm")


def test_a_base_must_be_there_and_complete(variant, tmp_path):
    model, base = variant
    save_model(tmp_path / "third", {}, base="../variant")
    with pytest.raises(MamTraError, match="has a base itself"):
        load_part(tmp_path / "third", "lm")
    shutil.rmtree(base)
    with pytest.raises(MamTraError, match="get it as well"):
        Model(model)


def test_a_model_completed_by_a_built_in_one_may_be_moved(tmp_path):
    """Its base is a name, not a place."""
    lm = {"lm": tiny_parts(seed=5)["lm"]}
    save_model(tmp_path / "here", lm, base=name_base(built_in_models()["mini"], tmp_path / "here"))
    shutil.move(tmp_path / "here", tmp_path / "far" / "away")
    assert base_of(tmp_path / "far" / "away") == built_in_models()["mini"].resolve()
    assert find_beside(tmp_path / "far" / "away", "flow.safetensors").is_file()


def test_a_base_elsewhere_is_named_by_the_shortest_way(tmp_path):
    (tmp_path / "base").mkdir()
    (tmp_path / "out").mkdir()
    assert name_base(tmp_path / "out" / ".." / "base", tmp_path / "out" / "." / "student") == "../../base"


def test_a_directory_of_another_kind_is_not_told_to_update(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "qwen2"}')
    with pytest.raises(
        MamTraError, match=r"is not a model directory of this package: its config\.json names no format"
    ):
        read_config(tmp_path)
