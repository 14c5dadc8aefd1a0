import json
import os
import shutil
from itertools import chain

import adopt
import export
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from mamtra.checkpoints.model_files import read_config, read_generation
from mamtra.checkpoints.native import hash_weights, load_part, voice_space
from mamtra.conversion.transfer import convert_attention_to_mamba
from mamtra.models.plan import LayerPlan
from mamtra.models.speech_lm import SpeechLM
from mamtra.tts import load
from tests.factories import tiny_config, tiny_parts, tiny_text, tiny_voice

SEED = 5


def save_training(path, module, **about):
    """A file as the training runs of the recipe write it."""
    meta = {name: json.dumps(value) for name, value in {"config": module.config.model_dump(), **about}.items()}
    save_file({n: v.detach().clone().contiguous() for n, v in module.state_dict().items()}, path, metadata=meta)
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The files of a finished build with tiny networks; returns the arguments of export."""
    folder = tmp_path_factory.mktemp("build")
    parts = tiny_parts()
    teacher = SpeechLM(tiny_config("aa"), torch.Generator().manual_seed(1))
    plan = LayerPlan.from_ratio(2, "1:1", "block-beg")
    student, _ = convert_attention_to_mamba(teacher, plan, generator=torch.Generator().manual_seed(SEED))
    with torch.no_grad():
        student.llm_decoder.weight *= 1.5
    files = {
        "teacher": save_training(folder / "teacher.safetensors", teacher, measured={"kokoro": 2.5}),
        "student": save_training(
            folder / "student.safetensors", student, plan={"ratio": "1:1", "strategy": "block-beg"}
        ),
        "flow": save_training(folder / "flow.safetensors", parts["flow"], hours=1.5),
        "vocoder": save_training(folder / "vocoder.safetensors", parts["vocoder"]),
        "tokenizer": save_training(folder / "tokenizer.safetensors", parts["speech_tokenizer"]),
        "speaker": save_training(folder / "speaker.safetensors", parts["speaker_encoder"]),
    }
    (folder / "flow.log.jsonl").write_text('{"step": 0, "loss": 9.0}\n{"step": 200, "loss": 1.25}\n')
    (folder / "text").mkdir()
    tiny_text(folder / "text")
    (folder / "text" / "letter_to_sound.safetensors").write_bytes(b"")
    (folder / "mini.yaml").write_text(f"student: {{seed: {SEED}, minutes: 1}}\nflow: {{seed: 4}}\n")
    lengths = np.array([20, 30, 40, 50]), np.array([10, 10, 10, 10])
    np.savez(
        folder / "tokens.npz",
        speech=np.zeros(140, np.uint16), speech_len=lengths[0], text=np.ones(40, np.uint8), text_len=lengths[1],
        speaker=np.zeros(4, np.uint16), speakers=np.array(["a"]),
        source=np.array([0, 0, 0, 1]), sources=np.array(["books", "drills"]),
    )  # fmt: skip
    arguments = [word for name, path in files.items() for word in (f"--{name}", str(path))]
    return folder, [*arguments, "--text", str(folder / "text"), "--config", str(folder / "mini.yaml")]


@pytest.fixture(scope="module")
def exported(trained):
    folder, arguments = trained
    out, teacher = folder / "assets" / "mini", folder / "models" / "mini-teacher"
    export.main([*arguments, "--out", str(out), "--teacher-out", str(teacher), "--tokens", str(folder / "tokens.npz")])
    (out / "voices").mkdir()
    tiny_voice(space=voice_space(out)).save(out / "voices" / "tiny.safetensors")
    return out, teacher


def test_student_and_teacher_speak(exported):
    for directory in exported:
        tts = load(directory)
        audio = tts.say("Hello.")
        assert audio.seconds > 0 and audio.voice == "tiny"
    assert {path.name for path in exported[1].iterdir()} == {
        "config.json",
        "generation_config.json",
        "model.safetensors",
    }
    assert json.loads((exported[1] / "config.json").read_text())["base"] == os.path.join("..", "..", "assets", "mini")
    assert "linear_attention" not in load(exported[1]).model.config["lm"]["layer_types"]


def test_weights_are_packed_and_close(exported, trained):
    packed = load_file(exported[0] / "model.safetensors")["llm_decoder.weight"]
    assert packed.dtype == torch.int8
    before = load_file(trained[0] / "student.safetensors")["llm_decoder.weight"]
    after = load_part(exported[0], "lm").llm_decoder.weight
    assert 0 < (before - after).abs().max() <= before.abs().max() / 127
    assert torch.int8 in {tensor.dtype for tensor in load_file(exported[0] / "vocoder.safetensors").values()}


def test_lengths_are_limited_by_what_the_data_has(exported):
    found = read_generation(exported[0])
    assert found.min_ratio == pytest.approx(0.5 * np.percentile([2, 3, 4, 5], 1), abs=1e-3)
    assert found.max_ratio == pytest.approx(1.6 * np.percentile([2, 3, 4, 5], 99.9), abs=1e-3)


def test_provenance(exported, trained):
    record = json.loads((exported[0] / "provenance.json").read_text())
    assert record["teacher"] == {"name": "mini-teacher", "sha256": hash_weights(trained[0] / "teacher.safetensors")}
    assert record["plan"] == {
        "ratio": "1:1",
        "strategy": "block-beg",
        "layer_types": ["full_attention", "linear_attention"],
    }
    assert record["data"]["drills"] == {"utterances": 1, "hours": 0.0} and record["data"]["books"]["utterances"] == 3
    assert record["seeds"] == {"student": SEED, "flow": 4}
    assert record["stages"]["flow"]["hours"] == 1.5 and record["stages"]["flow"]["last_log_line"]["loss"] == 1.25
    assert record["stages"]["teacher"]["measured"] == {"kokoro": 2.5}
    assert record["sha256"]["lm"] == hash_weights(exported[0] / "model.safetensors")
    entries = record["student"]["tensors"]
    names = {entry["tensor"].replace("*", str(n)) for entry in entries for n in entry.get("layers", [0])}
    assert names == set(load_part(exported[0], "lm").state_dict())
    moved = {entry["tensor"]: entry.get("moved") for entry in entries}
    assert moved.pop("llm_decoder.weight") == 0.5
    assert moved.pop("model.layers.*.mamba.conv1d.bias") is None  # it began at zero
    assert set(chain.from_iterable(found if isinstance(found, list) else [found] for found in moved.values())) <= {
        0.0,
        None,
    }
    [projected] = [entry for entry in entries if entry["tensor"] == "model.layers.*.mamba.out_proj.weight"]
    assert projected["source"] == "model.layers.*.self_attn.o_proj.weight" and projected["layers"] == [1]
    [norms] = [entry for entry in entries if entry["tensor"] == "model.layers.*.input_layernorm.weight"]
    assert norms["layers"] == [0, 1] and norms["moved"] == [0.0, 0.0]


def test_the_card_names_every_source_with_its_licence(exported):
    card = (exported[0] / "README.md").read_text()
    for name in ("hibari", "Kokoro-82M", "Panayotov", "LJ Speech", "cathy", "LibriTTS", "CAM++", "misaki"):
        assert name in card
    assert "CC BY 4.0" in card and "CC0 1.0" in card and "public domain" in card and "Apache-2.0" in card
    assert "| teacher | measured kokoro | 2.5 |" in card


def test_sizes_are_printed(exported, capsys):
    print(export.size_table(exported[0]))
    lines = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines()[1:]}
    total = sum(path.stat().st_size for path in exported[0].rglob("*") if path.is_file()) / 2**20
    assert float(lines["together"][0]) == pytest.approx(total, abs=0.002)
    assert float(lines["wheel"][-1]) > float(lines["together"][1])


def test_exporting_onto_itself_keeps_text_and_default_voice(trained, tmp_path):
    folder, arguments = trained
    out = ["--out", str(folder / "text")]
    export.main([*arguments, *out, "--voice", "anna", "--storage", "float32", "lm=bfloat16"])
    export.main([*arguments, *out, "--storage", "float32", "lm=bfloat16"])
    assert read_generation(folder / "text").voice == "anna"
    assert read_generation(folder / "text").max_ratio == export.RATIOS["max_ratio"]
    assert load_part(folder / "text", "lm", torch.bfloat16).llm_decoder.weight.dtype == torch.bfloat16


def test_what_cannot_be_exported(trained, tmp_path):
    _, arguments = trained
    for choice in ("int4", "lm=int4", "flow=int3", "voice=int8"):
        with pytest.raises(SystemExit, match="--storage"):
            export.parse_storage([choice])
    with pytest.raises(SystemExit, match=r"has no text\.json"):
        export.main([*arguments, "--text", str(tmp_path), "--out", str(tmp_path / "out")])
    teacher = save_training(tmp_path / "other.safetensors", SpeechLM(tiny_config("aa", intermediate_size=32)))
    with pytest.raises(SystemExit, match="no conversion of this teacher"):
        export.main([*arguments, "--teacher", str(teacher), "--out", str(tmp_path / "out")])


@pytest.mark.parametrize("resumed", [True, False])
@pytest.mark.parametrize(
    ("part", "moved", "storage"),
    [
        ("flow", "spk_embed_affine_layer", "int8"),
        ("vocoder", "conv_post", "int8"),
        ("speech_tokenizer", "digits", "int4"),
    ],
)
def test_a_part_that_was_trained_again_is_installed_alone(exported, tmp_path, part, moved, storage, resumed):
    model, network = tmp_path / "mini", tiny_parts()[part]
    shutil.copytree(exported[0], model)
    with torch.no_grad():
        getattr(network, moved).bias.add_(1)
    again = save_training(tmp_path / "again.safetensors", network, steps=7, resumed=resumed)
    adopt.main([f"--{part.replace('_', '-')}", str(again), "--model", str(model), "--storage", storage])
    before, after = (json.loads((folder / "provenance.json").read_text()) for folder in (exported[0], model))
    assert after["stages"][part]["steps"] == 7 and after["storage"][part] == storage
    earlier = after["stages"][part].get("continues")
    assert earlier["sha256"] == before["stages"][part]["sha256"] if resumed else earlier is None
    assert {name for name in before["sha256"] if after["sha256"][name] != before["sha256"][name]} == {part}
    torch.testing.assert_close(getattr(load_part(model, part), moved).bias, getattr(network, moved).bias)
    spaces = [read_config(folder)["voice_space"] for folder in (exported[0], model)]
    assert (spaces[0] == spaces[1]) == (part != "speech_tokenizer")  # otherwise the voices fit


@pytest.mark.parametrize("part", ["--student", "--lm-teacher"])
def test_a_language_model_is_not_stored_as_int4(part, capsys):
    with pytest.raises(SystemExit) as stop:
        adopt.main([part, "anywhere", "--storage", "int4"])
    assert stop.value.code == 2 and "a language model is not stored as int4" in capsys.readouterr().err


def test_a_teacher_that_was_trained_again_is_installed_with_its_data(exported, trained, tmp_path):
    model, teacher = tmp_path / "assets" / "mini", tmp_path / "models" / "mini-teacher"
    for here, there in zip(exported, (model, teacher), strict=True):
        shutil.copytree(here, there)
    lm = SpeechLM(tiny_config("aa"), torch.Generator().manual_seed(2))
    weights = save_training(tmp_path / "again.safetensors", lm, steps=7, measured={"running": 2.0})
    places = ["--model", str(model), "--teacher", str(teacher)]
    adopt.main(["--lm-teacher", str(weights), *places, "--tokens", str(trained[0] / "tokens.npz")])
    before, after = (json.loads((folder / "provenance.json").read_text()) for folder in (exported[0], model))
    assert after["stages"]["teacher"]["continues"] == {"sha256": before["stages"]["teacher"]["sha256"]}
    assert after["teacher"]["sha256"] == hash_weights(weights) and after["data"] == before["data"]
    assert after["sha256"] == before["sha256"]  # the model itself holds no teacher
    torch.testing.assert_close(load_part(teacher, "lm").llm_decoder.weight, lm.llm_decoder.weight, atol=1e-3, rtol=0)
    assert "| teacher | measured running | 2.0 |" in (model / "README.md").read_text()


def test_a_student_that_goes_on_keeps_its_plan_and_its_origins(exported, tmp_path):
    model, student = tmp_path / "mini", tmp_path / "student"
    shutil.copytree(exported[0], model)
    shutil.copytree(exported[0], student)
    settings = {name: {} for name in ("losses", "batch", "optimizer", "alignment", "on_policy")}
    settings |= {"student": {"model": "mini"}, "run": {"seed": 3}, "data": {"fraction": 1.0}}
    done = dict.fromkeys(("epochs", "minutes", "utterances", "device", "processes"), 1) | {"steps": 9}
    record = {**done, "settings": settings, "validation": {"ce": 2.0, "teacher_ce": 1.9}}
    began = json.loads((exported[0] / "provenance.json").read_text())
    (student / "provenance.json").write_text(json.dumps({**began, "distillation": record}))
    places = ["--model", str(model), "--teacher", str(exported[1])]
    adopt.main(["--student", str(student), *places])
    after = json.loads((model / "provenance.json").read_text())
    assert after["plan"] == began["plan"] and after["student"] == began["student"] and after["seeds"]["student"] == 3
    assert after["stages"]["student"]["continues"] == {"sha256": began["stages"]["student"]["sha256"]}
    began["plan"]["layer_types"] = ["linear_attention"] * 2
    (model / "provenance.json").write_text(json.dumps(began))
    with pytest.raises(SystemExit, match="another one than the installed one"):
        adopt.main(["--student", str(student), *places])
