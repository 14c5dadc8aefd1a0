"""`mamtra distill-flow`: the student, its training, and the model that comes out of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import mamtra
from mamtra.acoustic.dit_flow import DiTFlow, DiTFlowConfig
from mamtra.acoustic.flow import Flow, FlowConfig
from mamtra.checkpoints.native import load_part
from mamtra.cli import main
from mamtra.distill.flow_batches import FlowBatches, VoiceTable, open_voices
from mamtra.distill.flow_settings import parse_flow_config
from mamtra.distill.flow_step import FlowStep, make_few_step_flow
from mamtra.distill.flow_trainer import distill_flow
from mamtra.distill.optimiser import Optimiser
from mamtra.errors import MamTraError
from tests.distill.corpora import make_corpus
from tests.factories import TINY_FLOW, tiny_model

TINY_DIT = {
    "spk_embed_dim": 16, "lookahead_channels": 16, "dit_width": 16, "dit_depth": 1, "dit_heads": 2, "dit_head_dim": 8,
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("flow")
    tiny_model(made / "model")
    make_corpus(made / "corpus", 40)
    return made


def settings(folder: Path, out: str = "run", **changes):
    content = {
        "model": str(folder / "model"), "out": str(folder / out), "data": str(folder / "corpus"), "flow_steps": [1, 2],
        "teacher_steps": 4, "batch": {"tokens": 64, "lengths": [16, 32]}, "optimizer": {"lr": 3e-3, "average": 0.5},
        "run": {"steps": 6, "precision": "float32", "device": "cpu", "log_every": 2, "save_every": 3},
    }  # fmt: skip
    for name, value in changes.items():
        content[name] = content[name] | value if isinstance(value, dict) else value
    return parse_flow_config(content)


def make_step(folder: Path, teacher, **changes):
    config = settings(folder, **changes)
    voices = open_voices(config, folder / "model/voices", "", 16)
    student = make_few_step_flow(teacher, config.flow_steps)
    optimiser = Optimiser(student.decoder.estimator, config.optimizer)
    corpus = make_corpus(folder / "other", 20)
    table = VoiceTable(voices, torch.device("cpu"))
    return (
        student,
        FlowStep(config, teacher, student, table, optimiser),
        FlowBatches(config, corpus, voices, 2),
        optimiser,
    )


@pytest.mark.parametrize("kind", ["unet", "dit"])
def test_an_untrained_student_is_the_teacher_without_guidance(kind: str) -> None:
    torch.manual_seed(0)
    teacher = (Flow(FlowConfig(**TINY_FLOW)) if kind == "unet" else DiTFlow(DiTFlowConfig(**TINY_DIT))).eval()
    student = make_few_step_flow(teacher, (2, 4)).eval()
    given = (torch.tensor([[5, 6, 7, 8]]), torch.tensor([[1, 2]]), torch.randn(1, 4, 80), torch.randn(1, 16))
    for streaming in (False, True):
        expected = teacher.inference(*given, steps=4, guidance=0.0, streaming=streaming)
        assert torch.equal(student.inference(*given, steps=4, streaming=streaming), expected)
    with pytest.raises(MamTraError, match="trained for 2 or 4 steps and cannot take 3"):
        student.inference(*given, steps=3)
    with pytest.raises(MamTraError, match="leave guidance out"):
        student.inference(*given, steps=2, guidance=0.7)
    assert "trained_steps" not in teacher.config.model_dump()
    assert type(student.config).model_validate_json(student.config.model_dump_json()) == student.config


def test_a_few_step_flow_has_no_guidance() -> None:
    with pytest.raises(ValueError, match="inference_cfg_rate must be 0"):
        FlowConfig(**TINY_FLOW, trained_steps=(2,))


@pytest.mark.parametrize("chunked", [False, True])
def test_the_target_is_the_mean_velocity_of_the_guided_teacher(folder: Path, chunked: bool) -> None:
    """The error of an untrained student, by the definition, from `inference` of both."""
    torch.manual_seed(0)
    teacher = Flow(FlowConfig(**TINY_FLOW)).eval()
    batch = {"fixed_noise": 1.0, "tokens": 64, "lengths": [64]}
    student, step, batches, optimiser = make_step(folder, teacher, batch=batch)
    student.eval()
    made = batches(0)
    step._add[chunked](**made)
    voice = open_voices(settings(folder), folder / "model/voices", "", 16)[int(made["voice"])]
    prompt = torch.zeros(1, 128, 80)
    count = int(made["prompt"])
    prompt[0, :count] = torch.from_numpy(voice.prompt_mel[:count])

    def run(flow, steps, path):
        mu = flow.encode(flow.input_embedding(made["token"]), chunk=flow.config.chunk_size * chunked)
        spks = flow.speaker(torch.from_numpy(voice.embedding)[None])
        chunk = 2 * flow.config.chunk_size * chunked
        return flow.decoder.sample(mu, None, spks, prompt.transpose(1, 2), steps=steps, chunk=chunk, path=path)

    with torch.no_grad():
        teachers, ones, twos = [], [], []
        last, one, two = run(teacher, 4, teachers), run(student, 1, ones), run(student, 2, twos)
        middle = 1 - np.cos(np.pi / 4)
        errors = [
            (one - last).square().mean(),
            (twos[0] - teachers[1]).square().mean() / middle**2,
            (two - last).square().mean() / (1 - middle) ** 2,
        ]
    expected = [(errors[0] + (errors[1] + errors[2]) / 2) / 2, errors[0], (two - last).square().mean()]
    torch.testing.assert_close(step.sums, torch.stack(expected), rtol=1e-4, atol=1e-5)
    assert float(optimiser.gradient.abs().sum()) > 0


@pytest.mark.parametrize("kind", ["unet", "dit"])
def test_the_error_falls(folder: Path, kind: str) -> None:
    torch.manual_seed(0)
    teacher = (Flow(FlowConfig(**TINY_FLOW)) if kind == "unet" else DiTFlow(DiTFlowConfig(**TINY_DIT))).eval()
    _, step, batches, optimiser = make_step(folder, teacher, optimizer={"lr": 3e-3})
    found = []
    for number in range(15):
        optimiser.set_rate(3e-3)
        step(batches(number), chunked=number % 2 == 1)
        if number % 5 == 4:
            found.append(step.means()["mel_1"])
    assert found[2] < 0.8 * found[0]


def test_a_trained_model_speaks_in_both_runtimes_and_refuses_other_steps(folder: Path, capsys) -> None:
    words = [str(folder / "model"), str(folder / "told"), "--data", str(folder / "corpus"), "flow_steps=[1,2]"]
    words += ["teacher_steps=4", "batch.tokens=64", "batch.lengths=[16,32]", "run.steps=2", "run.device=cpu"]
    assert main(["distill-flow", *words, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    student = Path(facts["student"])
    assert facts["steps"] == 2 and facts["train"]["mel_1"] > 0 and "velocity" in Path(facts["report"]).read_text()
    torch_, onnx = (mamtra.load(student, runtime=runtime) for runtime in ("torch", "onnx"))
    assert torch_.model.generation.flow_steps == 2
    assert abs(torch_.say("hello there").samples - onnx.say("hello there").samples).max() < 0.01
    for runtime in ("torch", "onnx"):
        with pytest.raises(MamTraError, match="trained for 1 or 2 steps and cannot take 10"):
            mamtra.load(student, runtime=runtime, flow_steps=10)
    assert main(["distill-flow", str(student), *words[1:]]) == 2
    assert "holds a training already" in capsys.readouterr().err
    assert main(["distill-flow", str(student), str(folder / "again"), *words[2:]]) == 2
    assert "takes few steps already" in capsys.readouterr().err


def test_resumed_weights_are_those_of_an_uninterrupted_training(folder: Path) -> None:
    whole = distill_flow(settings(folder, "whole"))
    halted = settings(folder, "halves")

    def stop(done: int, total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        distill_flow(halted, ticker=stop)
    again = distill_flow(halted, resume=True)
    one, other = (load_file(found.student / "flow.safetensors") for found in (whole, again))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    assert load_part(again.student, "flow").config.trained_steps == (1, 2)
    with pytest.raises(MamTraError, match=r"has optimizer\.lr"):
        distill_flow(halted, "optimizer.lr=1e-4", resume=True)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("flow_steps=[3]", "teacher_steps must be a multiple of each of flow_steps"),
        ("flow_steps=[0]", "greater than or equal to 1"),
        ("speed=1", "speed"),
        ("data=nowhere", "no token shards"),
        ("voices=nowhere", "holds no voices"),
        ("model=nobody", "no model 'nobody'"),
        ("batch.tokens=20", "at least the greatest of batch.lengths"),
        ("run.device=cuda:9", "not available"),
        ("optimizer.train=mamba", "must be all"),
    ],
)
def test_mistakes_are_one_sentence(folder: Path, change: str, what: str) -> None:
    with pytest.raises(MamTraError, match=what.replace("(", r"\(")) as found:
        distill_flow(settings(folder, "wrong"), change)
    assert "\n" not in str(found.value)


def test_a_voice_or_a_corpus_of_another_model_is_refused(folder: Path, tmp_path: Path) -> None:
    make_corpus(tmp_path / "corpus", 10, speech_tokenizer="another")
    with pytest.raises(MamTraError, match="another speech tokenizer"):
        distill_flow(settings(folder, "wrong", data=str(tmp_path / "corpus")))
    (tmp_path / "voices").mkdir()
    voice = mamtra.load(folder / "model").voice("tiny").renamed("odd", voice_space="another")
    voice.save(tmp_path / "voices/odd.safetensors")
    with pytest.raises(MamTraError, match=r"odd .* was made for another model"):
        distill_flow(settings(folder, "wrong", voices=str(tmp_path / "voices")))


def test_it_goes_on_from_a_few_step_flow_of_an_earlier_flow(folder: Path, tmp_path) -> None:
    earlier = distill_flow(settings(folder, str(tmp_path / "earlier"))).student
    tiny_model(tmp_path / "model", seed=7)
    changes = {"model": str(tmp_path / "model"), "start": str(earlier)}
    still = {"optimizer": {"lr": 1e-9}, "run": {"steps": 1}}
    made = load_part(distill_flow(settings(folder, str(tmp_path / "still"), **changes, **still)).student, "flow")
    wanted, teacher = load_part(earlier, "flow"), load_part(tmp_path / "model", "flow")
    for name, value in wanted.decoder.estimator.state_dict().items():
        torch.testing.assert_close(made.decoder.estimator.state_dict()[name], value, rtol=0, atol=1e-7)
    assert torch.equal(made.encoder_proj.weight, teacher.encoder_proj.weight)
    assert not torch.equal(made.encoder_proj.weight, wanted.encoder_proj.weight)
    for start, steps in ((str(earlier), [2, 4]), (changes["model"], [1, 2])):
        with pytest.raises(MamTraError, match=r"cannot go on from the flow of .*(1 or 2|any number of) steps"):
            distill_flow(
                settings(folder, str(tmp_path / "other"), model=changes["model"], start=start, flow_steps=steps)
            )
