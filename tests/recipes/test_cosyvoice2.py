"""The recipe for CosyVoice 2: its files are read, and its dry run holds at the published sizes, without any weights."""

import json
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from mamtra.cost.presets import cosyvoice2_config
from mamtra.data.corpus import tokenizer_hashes
from mamtra.data.token_shards import Utterance, write_corpus
from mamtra.distill.config import read_config
from mamtra.distill.dry_run import estimate
from mamtra.evaluate.sets import read_set
from mamtra.models.speech_lm import SpeechLM
from mamtra.paper.api import missing_inputs, runs_of_studies
from mamtra.paper.settings import read_experiments
from tests.foreign import cosyvoice_directory

RECIPE = Path(__file__).resolve().parents[2] / "recipes" / "cosyvoice2"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A directory of the published layout and sizes whose weights take no room, and shards of its tokenizers."""
    folder = tmp_path_factory.mktemp("recipe")
    directory = cosyvoice_directory(folder / "CosyVoice2-0.5B")
    sizes = cosyvoice2_config()
    with torch.device("meta"):
        lm = SpeechLM(sizes)
    state = {
        f"llm.model.{name}" if name.startswith("model.") else name: torch.zeros(1).expand(value.shape)
        for name, value in lm.state_dict().items()
    }
    torch.save(
        {**state, "llm.model.lm_head.weight": state["llm.model.model.embed_tokens.weight"]}, directory / "llm.pt"
    )
    config = json.loads((directory / "CosyVoice-BlankEN" / "config.json").read_text())
    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")
    config |= {name: getattr(sizes, name) for name in names} | {"vocab_size": sizes.text_vocab_size}
    (directory / "CosyVoice-BlankEN" / "config.json").write_text(json.dumps(config))
    speech, text = tokenizer_hashes(directory)
    rng = np.random.default_rng(0)
    for name, count in (("tokens", 4000), ("tokens_dev", 50)):
        rows = [
            Utterance(rng.integers(0, 1000, n // 8), rng.integers(0, 6561, n), i % 20, 0)
            for i, n in enumerate(rng.integers(30, 400, count))
        ]
        write_corpus(
            folder / name, rows, per_shard=2000, num_speech_tokens=6561, text_vocab_size=sizes.text_vocab_size,
            speakers=[str(i) for i in range(20)], sources=["LibriTTS"], speech_tokenizer=speech, text_tokenizer=text,
        )  # fmt: skip
    return folder


def test_the_dry_run_is_what_the_page_says(place, monkeypatch):
    monkeypatch.chdir(place)
    facts = estimate(read_config(RECIPE / "distill.yaml", ["run.device=cpu"]))
    page = (RECIPE / "README.md").read_text(encoding="utf-8")
    memory = facts["memory_bytes"]
    for name in ("weights", "gradients", "optimizer", "teacher", "activations", "total"):
        (written,) = re.findall(rf"^\| {name}.*\| ([\d.]+) \|$", page, re.M)
        assert float(written) == round(memory[name] / 1e9, 1), name
    assert (
        f"{facts['student_parameters']:,} parameters" in page and f"{facts['teacher_parameters']:,} parameters" in page
    )
    assert facts["mamba_layers"] == list(range(1, 24, 2))
    checkpoint = (memory["weights"] + memory["optimizer"]) / 1e9
    assert f"{checkpoint:.1f} GB" in page  # weights and moments
    control = estimate(read_config(RECIPE / "distill.yaml", ["run.device=cpu", "student.ratio='1:0'"]))
    assert control["mamba_layers"] == [] and control["student_parameters"] == facts["teacher_parameters"]


def test_experiments(place, monkeypatch):
    monkeypatch.chdir(place)
    settings = read_experiments(RECIPE / "experiments.yaml")
    runs = runs_of_studies(["table3", "table4", "fig4", "fig6", "variants"], settings)
    assert any(run.name.startswith("block-beg-1-0-") for run in runs)
    for run in runs:
        assert run.training(place / "runs").batch.tokens == 40_000
    assert missing_inputs(runs) == ["no ranking ranking-wer.jsonl; make it with `mamtra rank`"]


def test_commands_of_the_page_and_settings_agree():
    page = (RECIPE / "README.md").read_text(encoding="utf-8")
    settings = yaml.safe_load((RECIPE / "distill.yaml").read_text())
    for folder in (settings["data"]["train"], settings["data"]["validation"]):
        assert re.search(rf"mamtra prepare \S+ {folder} ", page)
    assert f'mamtra say "Good morning." --model {settings["out"]}/student' in page


def test_lists_are_drawn_with_a_seed(tmp_path, monkeypatch, capsys):
    for i in range(30):
        (tmp_path / "dev" / f"{i}").mkdir(parents=True)
        (tmp_path / "dev" / f"{i}" / f"{i}_0.normalized.txt").write_text(
            f"This is sentence number\n {i}." if i > 4 else "No."
        )

    def make(name, *more):
        monkeypatch.setattr(sys, "argv", ["make_lists.py", str(tmp_path / "dev"), str(tmp_path / name), *more])
        runpy.run_path(str(RECIPE / "make_lists.py"), run_name="__main__")
        return [line.text for line in read_set(str(tmp_path / name)).lines]

    first = make("a.tsv", "--count", "10")
    assert first == make("b.tsv", "--count", "10") != make("c.tsv", "--count", "10", "--seed", "1")
    assert len(set(first)) == 10 and all(text.startswith("This is sentence number") for text in first)
    with pytest.raises(SystemExit):
        make("d.tsv", "--count", "26")
