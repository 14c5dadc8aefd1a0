"""Whole directories: every tensor accounted for, nothing left behind when something goes wrong, little memory."""

import errno
import json
import math
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

import mamtra
from mamtra.checkpoints.model_files import read_config, read_generation
from mamtra.checkpoints.native import hash_weights, load_part, save_model
from mamtra.checkpoints.open_lm import open_language_model
from mamtra.checkpoints.tensor_files import TensorFiles, hash_tensors
from mamtra.checkpoints.tensor_writer import TensorWriter
from mamtra.conversion.job import Conversion
from mamtra.conversion.options import TransferOptions
from mamtra.conversion.transfer import convert_attention_to_mamba
from mamtra.errors import MamTraError
from mamtra.models.causal_lm import CausalLM
from mamtra.models.plan import LayerPlan
from mamtra.models.speech_lm import SpeechLM
from tests.factories import tiny_config, tiny_model
from tests.foreign import LAYERS, cosyvoice_directory, cosyvoice_state, huggingface_directory, huggingface_state

PLAN = LayerPlan.from_ratio(LAYERS, "1:1")


@pytest.fixture
def sources(tmp_path):
    """Makes a source of any format, all attention."""

    def make(kind):
        if kind == "cosyvoice2":
            return cosyvoice_directory(tmp_path / "src")
        if kind != "native":
            return huggingface_directory(tmp_path / "src", kind, shards=2)
        directory = tiny_model(tmp_path / "src")
        save_model(directory, {"lm": SpeechLM(tiny_config("a" * LAYERS), torch.Generator().manual_seed(1))})
        return directory

    return make


def read_json(path):
    return json.loads(path.read_text())


@pytest.mark.parametrize("kind", ["native", "qwen2", "llama", "cosyvoice2"])
@pytest.mark.parametrize("options", [{}, {"qkv_bias": "fold", "gate_init": "neutral", "form": "discrete"}])
def test_the_directory_holds_what_the_transfer_in_memory_makes(sources, tmp_path, kind, options):
    src = sources(kind)
    options = TransferOptions(**options)
    dst = mamtra.convert(src, tmp_path / "dst", PLAN, options, seed=7)
    section = "lm" if kind in ("native", "cosyvoice2") else "causal_lm"
    found = load_part(dst, section)
    teacher = open_language_model(src)
    whole = (SpeechLM if section == "lm" else CausalLM)(teacher.config)
    whole.load_state_dict({name: teacher.read(name) for name in teacher.names})
    expected, _ = convert_attention_to_mamba(whole, PLAN, options, generator=torch.Generator().manual_seed(7))
    assert found.config == expected.config
    state = found.state_dict()
    assert all(torch.equal(state[name], value) for name, value in expected.state_dict().items())


@pytest.mark.parametrize("kind", ["native", "qwen2", "llama", "cosyvoice2"])
@pytest.mark.parametrize("options", [{}, {"qkv_bias": "drop"}, {"init": "kaiming"}])
@pytest.mark.parametrize("storage", [None, "int8"])
def test_provenance(sources, tmp_path, kind, options, storage):
    src = sources(kind)
    dst = mamtra.convert(src, tmp_path / "dst", PLAN, TransferOptions(**options), storage=storage, seed=3)
    record = read_json(dst / "provenance.json")
    teacher, made = record["teacher"], record["conversion"]
    opened = open_language_model(src)
    assert teacher["sha256"] == hash_tensors(opened.source) and teacher["format"] == opened.kind
    section = opened.section
    assert record["sha256"][section] == hash_weights(dst / "model.safetensors")
    assert set(record["sha256"]) == {p for p in read_config(dst) if (dst / f"{p}.safetensors").is_file()} | {section}
    state = load_part(dst, section).state_dict()
    covered = dict.fromkeys(state, 0)
    for entry in made["tensors"]:
        rows = slice(*entry["rows"]) if "rows" in entry else slice(None)
        covered[entry["tensor"]] += state[entry["tensor"]][rows].numel()
        if entry["origin"] in ("copied", "transferred") and storage is None:
            assert torch.equal(state[entry["tensor"]][rows], opened.source.read(entry["source"]))
    assert covered == {name: value.numel() for name, value in state.items()}
    used = {entry["source"] for entry in made["tensors"] if "source" in entry}
    assert used.isdisjoint(made["unused"]) and used | set(made["unused"]) == set(opened.source.tensors)
    assert made["options"]["init"] == options.get("init", "transfer") and made["seed"] == 3
    assert made["storage"] == (storage or "float32")
    bits, equation = made["checks"]
    assert bits["passed"] and bits["tensors"] == sum(entry["origin"] == "copied" for entry in made["tensors"])
    assert equation["passed"] is (None if "init" in options else True)
    assert options.get("init") or 0 < equation["relative_error"] < 1e-5
    assert made["parameters"] == sum(map(torch.numel, state.values()))
    assert record["plan"]["plan"] == "AMAM block-beg 1:1"


def test_the_report_names_every_rule(sources, tmp_path):
    dst = mamtra.convert(sources("cosyvoice2"), tmp_path / "dst", PLAN)
    text = (dst / "CONVERSION.md").read_text()
    record = read_json(dst / "provenance.json")
    assert record["teacher"]["sha256"] in text and "`AMAM block-beg 1:1`" in text
    row = "| `model.layers.1, 3.mamba.in_proj.bias` | 48:64 | transferred | `llm.model.model.layers.i.self_attn.k_proj.bias` |"
    assert row in text
    assert "| `model.layers.0-3.mlp.up_proj.weight` |  | copied |" in text
    assert "`llm.model.lm_head.weight`" in text and "were converted\n\n`flow.pt`" in text
    assert "bit-identical after reading back" in text and "linear attention of Eq. 4: layer 1" in text
    assert str(tmp_path) not in text + (dst / "provenance.json").read_text()


def test_unused_tensors_of_dropped_biases(sources, tmp_path):
    dst = mamtra.convert(sources("qwen2"), tmp_path / "dst", PLAN, TransferOptions(qkv_bias="drop"))
    unused = read_json(dst / "provenance.json")["conversion"]["unused"]
    assert set(unused) == {f"model.layers.{i}.self_attn.{p}_proj.bias" for i in (1, 3) for p in "qkv"}
    assert "| `model.layers.i.self_attn.q_proj.bias` | 1, 3 | biases are dropped" in (dst / "CONVERSION.md").read_text()


def test_files_of_a_native_model_go_along(sources, tmp_path):
    src = sources("native")
    (src / "README.md").write_text("a card")
    (src / "provenance.json").write_text('{"data": "mine"}')
    dst = mamtra.convert(src, tmp_path / "dst", PLAN)
    mine, theirs = ({p.relative_to(d).as_posix() for p in d.rglob("*") if p.is_file()} for d in (dst, src))
    assert mine - theirs == {"CONVERSION.md"} and theirs - mine == {"README.md"}
    for name in mine - {"config.json", "provenance.json", "model.safetensors", "CONVERSION.md"}:
        assert (dst / name).read_bytes() == (src / name).read_bytes()
    assert read_json(dst / "provenance.json")["teacher"]["provenance"] == {"data": "mine"}
    assert read_generation(dst) == read_generation(src)
    before, after = read_json(src / "config.json"), read_json(dst / "config.json")
    assert after.pop("lm")["layer_types"] == list(PLAN.layer_types)
    before.pop("lm")
    assert after == before
    assert mamtra.load(dst).say("Hello.").seconds > 0


def test_a_variant_stays_completed_by_its_base(sources, tmp_path):
    src = sources("native")
    (tmp_path / "variant").mkdir()
    save_model(tmp_path / "variant", {"lm": load_part(src, "lm")}, base="../src")
    (tmp_path / "deep").mkdir()
    dst = mamtra.convert(tmp_path / "variant", tmp_path / "deep" / "dst", PLAN)
    assert read_json(dst / "config.json")["base"] == "../../src"
    assert not (dst / "flow.safetensors").exists() and mamtra.load(dst).say("Hello.").seconds > 0


def test_the_tokenizer_of_a_hugging_face_model_goes_along(sources, tmp_path):
    dst = mamtra.convert(sources("llama"), tmp_path / "dst", PLAN)
    assert {p.name for p in dst.iterdir()} == {
        "config.json", "model.safetensors", "tokenizer.json", "LICENSE", "provenance.json", "CONVERSION.md",
    }  # fmt: skip
    config = read_json(dst / "config.json")
    assert config["model_type"] == "mamtra" and config["architectures"] == ["MamTraForCausalLM"]
    assert config["causal_lm"]["eos_ids"] == [3, 5]


@pytest.mark.parametrize("storage", ["float32", "bfloat16", "float16", "int8"])
def test_storage(sources, tmp_path, storage):
    dst = mamtra.convert(sources("native"), tmp_path / "dst", PLAN, storage=storage)
    stored = load_file(dst / "model.safetensors")
    expected = torch.int8 if storage == "int8" else getattr(torch, storage)
    assert stored["model.embed_tokens.weight"].dtype == stored["model.layers.1.mlp.up_proj.weight"].dtype or storage
    assert stored["speech_embedding.weight"].dtype == expected and stored["model.norm.weight"].dtype == torch.float32
    # and on from there, as it is stored
    again = mamtra.convert(dst, tmp_path / "again", LayerPlan.explicit(LAYERS, [0]))
    more = load_file(again / "model.safetensors")
    assert more["speech_embedding.weight"].dtype == expected
    kept = [name for name in stored if name in more]
    assert all(torch.equal(stored[name], more[name]) for name in kept) and len(kept) > 20
    record = read_json(again / "provenance.json")["conversion"]
    assert record["storage"] == storage and record["checks"][1]["layer"] == 2


def test_bfloat16_of_hugging_face_stays(tmp_path):
    src = huggingface_directory(tmp_path / "src", dtype=torch.bfloat16)
    dst = mamtra.convert(src, tmp_path / "dst", PLAN)
    stored = load_file(dst / "model.safetensors")
    assert stored["model.norm.weight"].dtype == stored["lm_head.weight"].dtype == torch.bfloat16
    q = load_file(src / "model.safetensors")["model.layers.1.self_attn.q_proj.bias"]
    assert torch.equal(stored["model.layers.1.mamba.in_proj.bias"][64:96], q.float())


def test_large_models_are_sharded(sources, tmp_path):
    whole = mamtra.convert(sources("qwen2"), tmp_path / "whole", PLAN)
    dst = mamtra.convert(tmp_path / "src", tmp_path / "dst", PLAN, shard_bytes=20_000)
    files = sorted(dst.glob("model-*.safetensors"))
    assert len(files) > 3 and not (dst / "model.safetensors").exists()
    assert read_json(dst / "provenance.json")["conversion"]["files"] == [f.name for f in files]
    one, other = (load_part(directory, "causal_lm").state_dict() for directory in (whole, dst))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert read_json(dst / "provenance.json")["sha256"] == read_json(whole / "provenance.json")["sha256"]
    again = mamtra.convert(dst, tmp_path / "again", LayerPlan.explicit(LAYERS, []))
    assert not list(again.glob("model-*"))


def test_equal_words_make_equal_directories(sources, tmp_path):
    src = sources("qwen2")
    one, two, other = (mamtra.convert(src, tmp_path / str(i), PLAN, seed=seed) for i, seed in enumerate((1, 1, 2)))
    for path in one.iterdir():
        assert path.read_bytes() == (two / path.name).read_bytes(), path.name
    assert hash_weights(one / "model.safetensors") != hash_weights(other / "model.safetensors")


def test_a_plan_by_its_ratio(sources, tmp_path):
    src = sources("qwen2")
    with_plan = mamtra.convert(src, tmp_path / "one", LayerPlan.from_ratio(LAYERS, "1:3"))
    by_ratio = mamtra.convert(src, tmp_path / "two", ratio="1:3", strategy="block-beg")
    assert (with_plan / "CONVERSION.md").read_bytes() == (by_ratio / "CONVERSION.md").read_bytes()
    with pytest.raises(MamTraError, match="leave out ratio"):
        mamtra.convert(src, tmp_path / "three", PLAN, ratio="1:3")
    with pytest.raises(MamTraError, match="Say which layers stay attention"):
        mamtra.convert(src, tmp_path / "three")
    assert not (tmp_path / "three").exists()


def test_facts_before_anything_is_read(sources, tmp_path):
    src = sources("cosyvoice2")
    conversion = Conversion(open_language_model(src), PLAN, storage="int8")
    facts = conversion.facts()
    mamtra.convert(src, tmp_path / "dst", PLAN, storage="int8")
    stored = load_file(tmp_path / "dst" / "model.safetensors")
    assert facts["bytes"]["after"] == sum(tensor.nbytes for tensor in stored.values())
    module = load_part(tmp_path / "dst", "lm")
    assert facts["parameters"]["after"] == sum(p.numel() for p in module.parameters())
    head = cosyvoice_state()["llm.model.lm_head.weight"].numel()
    total = sum(value.numel() for value in cosyvoice_state().values() if isinstance(value, torch.Tensor))
    assert facts["parameters"]["before"] == total - head
    assert facts["mamba_layers"] == [1, 3] and facts["attention_layers"] == [0, 2]
    json.dumps(facts)


def untouched(tmp_path):
    assert not (tmp_path / "dst").exists()
    assert not list(tmp_path.glob("dst*")) and not list(tmp_path.glob("*partial*"))


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "disk is full: .* needs .* GB; nothing was left behind"),
        (OSError(errno.EIO, "Input/output error"), "cannot be written: input/output error"),
        (KeyboardInterrupt(), None),
        (RuntimeError("bug"), None),
    ],
)
@pytest.mark.parametrize("after", [0, 5, 40])
def test_nothing_half_written_stays(sources, tmp_path, monkeypatch, error, message, after):
    src, write, done = sources("qwen2"), TensorWriter.write, []

    def failing(self, name, tensor):
        if len(done) == after:
            raise error
        done.append(name)
        write(self, name, tensor)

    monkeypatch.setattr(TensorWriter, "write", failing)
    with pytest.raises(MamTraError if message else type(error), match=message):
        mamtra.convert(src, tmp_path / "dst", PLAN)
    assert len(done) == after
    untouched(tmp_path)


def test_a_full_disk_is_noticed_before_the_work(sources, tmp_path, monkeypatch):
    src = sources("qwen2")
    monkeypatch.setattr("shutil.disk_usage", lambda _: os.statvfs_result((0,) * 10) and type("U", (), {"free": 1000}))
    with pytest.raises(MamTraError, match=r"but the disk has 0\.00 GB left"):
        mamtra.convert(src, tmp_path / "dst", PLAN)
    untouched(tmp_path)


def test_damage_on_the_way_to_the_disk_is_noticed(sources, tmp_path, monkeypatch):
    write = TensorWriter.write

    def flipping(self, name, tensor):
        write(self, name, tensor.neg() if name == "model.norm.weight" else tensor)

    monkeypatch.setattr(TensorWriter, "write", flipping)
    with pytest.raises(MamTraError, match=r"model\.norm\.weight was damaged"):
        mamtra.convert(sources("qwen2"), tmp_path / "dst", PLAN)
    untouched(tmp_path)


def test_a_wrong_transfer_is_noticed(sources, tmp_path, monkeypatch):
    write = TensorWriter.write

    def scaling(self, name, tensor):
        write(self, name, tensor * 1.001 if name.endswith("1.mamba.out_proj.weight") else tensor)

    monkeypatch.setattr(TensorWriter, "write", scaling)
    with pytest.raises(MamTraError, match=r"Layer 1 differs from the linear attention of its source by 1.0e-03"):
        mamtra.convert(sources("qwen2"), tmp_path / "dst", PLAN)
    untouched(tmp_path)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("name", ["model.norm.weight", "model.layers.1.self_attn.q_proj.weight", "lm_head.weight"])
def test_weights_that_are_not_numbers(tmp_path, value, name):
    src = huggingface_directory(tmp_path / "src")
    state = huggingface_state()
    state[name].view(-1)[-1] = value
    save_file(state, src / "model.safetensors")
    with pytest.raises(MamTraError, match=f"The weight {name} in .* is not finite"):
        mamtra.convert(src, tmp_path / "dst", PLAN)
    untouched(tmp_path)


def test_places_that_are_refused(sources, tmp_path):
    src = sources("qwen2")
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "x").write_text("")
    for dst, problem in (
        (taken, "is not empty"),
        (taken / "x", "is a file"),
        (tmp_path / "no" / "dst", "does not exist"),
        (src, "is not empty"),
        (src / "dst", "lies in the directory"),
    ):
        with pytest.raises(MamTraError, match=problem):
            mamtra.convert(src, dst, PLAN)
    assert not (src / "dst").exists()
    (tmp_path / "empty").mkdir()
    assert (mamtra.convert(src, tmp_path / "empty", PLAN) / "config.json").is_file()


def test_unknown_storage_and_plans_of_another_model(sources, tmp_path):
    src = sources("qwen2")
    with pytest.raises(MamTraError, match="Storage 'int4' is unknown"):
        mamtra.convert(src, tmp_path / "dst", PLAN, storage="int4")
    with pytest.raises(MamTraError, match="24 layers but the model 4"):
        mamtra.convert(src, tmp_path / "dst", LayerPlan.from_ratio(24, "1:1"))
    untouched(tmp_path)


def test_progress_reaches_the_end(sources, tmp_path):
    seen = []
    mamtra.convert(sources("qwen2"), tmp_path / "dst", PLAN, progress=lambda *at: seen.append(at))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen) and seen[-1][0] == seen[-1][1]


def test_parity_vectors_directory(golden, tmp_path, agree):
    from mamtra.models.layout import IGNORE

    src, layers = golden.directory, golden.index["config"]["lm"]["layers"]
    lm = load_part(mamtra.convert(src, tmp_path / "same", LayerPlan.from_ratio(layers, "1:0")), "lm")
    g = golden["lm_train_unistream"]
    with torch.no_grad():
        logits = lm.logits(lm(lm.embed(g["input_kind"], g["input_id"])))
    agree("logits", logits[g["target"] != IGNORE], g["logits"], 1e-4)
    mamtra.convert(src, tmp_path / "hybrid", LayerPlan.from_ratio(layers, "1:1"))
    assert read_json(tmp_path / "hybrid" / "provenance.json")["conversion"]["checks"][1]["relative_error"] < 1e-5


MEMORY = """
import resource, sys
from pathlib import Path
import torch
import mamtra, mamtra.conversion.directory
from mamtra.models.plan import LayerPlan
src, dst, convert = sys.argv[1:]
torch.set_num_threads(1)
if convert == "yes":
    mamtra.convert(src, dst, LayerPlan.from_ratio(4, "1:1"), shard_bytes=2**25)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs the resource module")
def test_memory_stays_far_below_the_model(tmp_path):
    src = huggingface_directory(tmp_path / "src", vocab_size=50)
    config = read_json(src / "config.json") | {"hidden_size": 256, "intermediate_size": 20480, "head_dim": 64}
    (src / "config.json").write_text(json.dumps(config))
    from mamtra.checkpoints.huggingface import causal_lm_config

    lm = CausalLM(causal_lm_config(src / "config.json", config))
    save_file(lm.state_dict(), src / "model.safetensors")
    size = (src / "model.safetensors").stat().st_size
    del lm
    peaks = []
    for what in ("no", "yes"):
        words = [sys.executable, "-c", MEMORY, str(src), str(tmp_path / "dst"), what]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout.split()[-1]))
    largest = max(info.bytes for info in TensorFiles(src / "model.safetensors").tensors.values())
    assert size > 240e6 and largest < 22e6
    assert peaks[1] - peaks[0] < 4 * largest
