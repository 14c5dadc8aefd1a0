"""Without torch, and what cannot be done without it; exported graphs; files that do not belong together."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import mamtra
from mamtra.checkpoints.find import find_model
from mamtra.errors import MamTraError
from mamtra.light import choice
from mamtra.light.cpu import has_dot_products
from mamtra.light.export import export_onnx, open_exported
from mamtra.light.graph import GraphBuilder
from mamtra.light.model import LightModel
from mamtra.light.vocoder import LightVocoderStream
from mamtra.light.weights import StoredWeights
from mamtra.voices.voice import Voice
from tests.factories import tiny_model

WITHOUT_TORCH = """
import sys
sys.modules["torch"] = sys.modules["yaml"] = None  # imports of them fail as where they are not installed
from mamtra.cli import main
sys.exit(main(sys.argv[1:]))
"""


def run(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", WITHOUT_TORCH, *words], capture_output=True, text=True)


def test_speaks_streams_and_lists_without_torch(tmp_path: Path) -> None:
    model = str(tiny_model(tmp_path / "m"))
    said = run("say", "hello there", "--model", model, "--runtime", "onnx", "-o", str(tmp_path / "a.wav"))
    assert said.returncode == 0, said.stderr
    assert (tmp_path / "a.wav").stat().st_size > 1000
    assert "tiny" in run("voices", "list", "--model", model).stdout
    told = run("doctor", "--model", model)
    assert told.returncode == 0 and "onnx ready" in told.stdout


def test_a_verb_that_needs_torch_says_so(tmp_path: Path) -> None:
    model = str(tiny_model(tmp_path / "m"))
    for words in (["convert", model, str(tmp_path / "c"), "--ratio", "1:1"], ["evaluate", model]):
        ended = run(*words)
        assert ended.returncode == 2 and ended.stderr.count("\n") == 1, ended.stderr
        assert "needs torch, which is not installed; pip install 'mamtra[torch]'." in ended.stderr


def test_no_module_of_the_light_runtime_imports_torch(tmp_path: Path) -> None:
    code = "import sys, mamtra.light.speaking, mamtra.light.export, mamtra.tts; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_voices_of_either_library(tmp_path: Path) -> None:
    tts = mamtra.load(tiny_model(tmp_path), runtime="onnx")
    voice = Voice.load(tmp_path / "voices/tiny.safetensors")
    assert np.array_equal(tts.say("hello", voice).samples, tts.say("hello", "tiny").samples)
    back = voice.to("numpy").to("torch")
    assert back.prompt_mel.equal(voice.prompt_mel) and voice.to("torch") is voice
    with pytest.raises(MamTraError, match="damaged or was made for another model"):
        tts.say(
            "hello",
            Voice(
                voice.info,
                voice.prompt_text + 999,
                *[getattr(voice, n) for n in ("prompt_speech", "prompt_mel", "embedding")],
            ),
        )


def test_the_runtime_of_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model(tmp_path)
    assert isinstance(mamtra.load(model, runtime="onnx").model, LightModel)
    assert choice.choose_runtime(model, None, asks_torch=False) == "torch"
    with pytest.raises(MamTraError, match="no runtime 'tpu'; use onnx or torch"):
        mamtra.load(model, runtime="tpu")
    with pytest.raises(MamTraError, match="Devices, types of weights and a flow's history belong to the runtime torch"):
        mamtra.load(model, runtime="onnx", device="cpu")
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "lm": {**config["lm"], "mamba_form": "discrete"}}))
    with pytest.raises(MamTraError, match="no Mamba layers of the form 'discrete'"):
        mamtra.load(model, runtime="onnx")
    monkeypatch.setattr(choice, "version", lambda name: "1.22.1")
    choice.installation_problem.cache_clear()
    with pytest.raises(MamTraError, match=r"onnxruntime 1.22.1 is too old; version 1.30 or later"):
        mamtra.load(model, runtime="onnx")
    monkeypatch.setattr(choice, "find_spec", lambda name: None)
    with pytest.raises(MamTraError, match=r"too old.*use the runtime torch: pip install 'mamtra\[torch\]'"):
        mamtra.load(model)
    choice.installation_problem.cache_clear()


def test_exported_graphs_compute_the_same(tmp_path: Path) -> None:
    made = export_onnx(tiny_model(tmp_path / "m", "int8"), tmp_path / "g")
    assert sum(path.stat().st_size for path in made.glob("*.onnx")) < 300_000
    pitch = open_exported(made)["pitch"]
    mel = np.random.default_rng(0).standard_normal((1, 80, 20)).astype(np.float32)
    expected = LightModel(made, threads=1).vocoder.f0(mel[0])
    assert np.array_equal(pitch.run(None, {"mel": mel})[0][0], expected)
    with pytest.raises(MamTraError, match="exists already"):
        export_onnx(tmp_path / "m", made)
    with pytest.raises(MamTraError, match="holds no exported graphs"):
        open_exported(tmp_path / "m")
    weights = made / "vocoder.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    with pytest.raises(MamTraError, match="does not belong to the graphs beside it; export the model again"):
        open_exported(made)


def test_graphs_of_the_embedded_voice_are_small() -> None:
    """The wheel holds no weights twice, and the graphs none at all."""
    from mamtra.light.export import GRAPHS

    model = LightModel(find_model())
    for name, (section, products, build) in GRAPHS.items():
        weights, config = model._stored(section)
        graph = GraphBuilder(name, weights, products)
        build(graph, config)
        assert len(graph.finish()) < 600_000


def test_damaged_weights(tmp_path: Path) -> None:
    model = tiny_model(tmp_path)
    path = model / "flow.safetensors"
    whole = path.read_bytes()
    for content in (b"", whole[:20], b"\xff" * 50, whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(MamTraError, match=r"flow.safetensors is damaged"):
            mamtra.load(model, runtime="onnx").say("hello")
    path.unlink()
    with pytest.raises(MamTraError, match="no flow in one file"):
        mamtra.load(model, runtime="onnx")
    with pytest.raises(MamTraError, match="has no weight nowhere; it does not fit"):
        StoredWeights(model / "vocoder.safetensors")["nowhere"]


def test_a_processor_without_dot_products_multiplies_in_float32(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("model", "choice"):
        monkeypatch.setattr(f"mamtra.light.{module}.has_dot_products", lambda: False)
    model = LightModel(tiny_model(tmp_path, "int8"), int8_lm=True)
    assert model.lm.products == model.flow.settings["products"] == "float"
    assert "no 8-bit dot products were found" in choice.describe_runtimes()["onnx"]


def test_dot_products_of_a_processor(tmp_path: Path) -> None:
    facts, ask = tmp_path / "cpuinfo", has_dot_products.__wrapped__
    facts.write_text("flags : fpu avx2 avx512f\n")
    assert ask("aarch64", facts) and not ask("x86_64", facts) and not ask("x86_64", tmp_path / "absent")
    facts.write_text("flags : fpu avx2 avx_vnni\n")
    assert ask("x86_64", facts)


def test_a_batch_without_torch(tmp_path: Path) -> None:
    """Each line is what `say` makes of it, a line that cannot be spoken stops no other, and what is finished is kept."""
    model, lines = str(tiny_model(tmp_path / "m")), tmp_path / "in.txt"
    lines.write_text("hello there\n...\nhello\nhello there hello\n")
    words = ("batch", str(lines), str(tmp_path / "out"), "--model", model, "--json", "-q")
    made = run(*words)
    assert made.returncode == 2 and "in.txt, line 2: " in made.stderr, made.stderr
    assert json.loads(made.stdout)["made"] == 3
    tts = mamtra.load(model, runtime="onnx")
    for number, text in ((1, "hello there"), (3, "hello")):
        assert (tmp_path / f"out/line000{number}.wav").read_bytes() == tts.say(text).to_bytes("wav")
    assert json.loads(run(*words).stdout)["kept"] == 3
    assert "--ray needs the runtime torch" in run(*words, "--ray", "auto").stderr


def test_a_batch_is_given_in_order_and_can_be_left(tmp_path: Path) -> None:
    tts = mamtra.load(tiny_model(tmp_path), runtime="onnx")
    found = list(tts.batch(["hello there hello there", "", "hello"]))
    assert [isinstance(each, MamTraError) for each in found] == [False, True, False]
    assert np.array_equal(found[2].samples, tts.say("hello").samples)
    some = tts.batch("hello" for _ in range(1000))
    next(some)
    some.close()


def test_fewer_flow_steps_and_an_int8_lm(tmp_path: Path) -> None:
    model = tiny_model(tmp_path, "int8")
    assert mamtra.load(model, runtime="torch", flow_steps=3).model.generation.flow_steps == 3
    plain, fast = (mamtra.load(model, runtime="onnx", flow_steps=steps, int8_lm=steps == 1) for steps in (2, 1))
    assert len(fast.model.flow.empty_state()) == len(plain.model.flow.empty_state()) - 1
    assert fast.model.lm.products == "blocks" and plain.model.lm.products == "float"
    assert mamtra.load(model, runtime="onnx").model.lm.products == "blocks"
    assert len(fast.say("hello there").samples)
    with pytest.raises(MamTraError, match="cannot take 0 steps"):
        mamtra.load(model, flow_steps=0)
    with pytest.raises(MamTraError, match="belongs to the runtime onnx"):
        mamtra.load(model, runtime="torch", int8_lm=True)


def test_the_faster_flow_is_the_default_and_a_number_of_steps_is_of_the_other() -> None:
    assert mamtra.load(runtime="onnx").model.name == "mini-fast"
    assert mamtra.load("mini", runtime="onnx").model.name == "mini"
    assert mamtra.load(runtime="onnx", flow_steps=5).model.name == "mini"
    assert mamtra.load(runtime="torch").model.name == "mini"


def test_long_runs_leave_no_memory_to_flow_and_vocoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given_back = []
    monkeypatch.setattr("mamtra.light.vocoder.give_back", lambda: given_back.append(1))
    model = LightModel(tiny_model(tmp_path / "m"))
    sessions = (model.flow._encoder, model.flow._step, model.vocoder._pitch, model.vocoder._wave)
    assert not any(session.get_session_options().enable_cpu_mem_arena for session in sessions)
    mel = np.zeros((80, 30), np.float32)
    assert len(model.vocoder.whole(mel, 0)) == 30 * model.vocoder.hop and given_back == [1]
    stream = LightVocoderStream(model.vocoder, 0)
    stream.push(mel)
    assert given_back == [1]
    stream.push(mel, final=True)
    assert given_back == [1, 1]


LENGTHS = """
import gc, os, sys
import numpy as np
from mamtra.light.model import LightModel
from mamtra.runtime.allocator import give_back

flow, nothing = LightModel(sys.argv[1]).flow, np.zeros(0, np.int64)
mel, embedding = np.zeros((0, 80), np.float32), np.zeros(16, np.float32)

def resident(lengths):
    for length in lengths:
        flow.whole(np.zeros(length, np.int64), nothing, mel, embedding)
    gc.collect()
    give_back()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

before = resident([300] * 20)
print(resident(range(150, 270)) - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="no /proc")
def test_nothing_is_kept_for_a_length_that_was_computed_once(tmp_path: Path) -> None:
    """Plans of memory, which ONNX Runtime keeps by default, would be 2.5 MiB."""
    done = subprocess.run(
        [sys.executable, "-c", LENGTHS, str(tiny_model(tmp_path / "m"))], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) < 1.5
