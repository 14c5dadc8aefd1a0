"""A CosyVoice 2 directory as it was published is a model for plan and doctor, as for say, evaluate and rank."""

import json
from pathlib import Path

import pytest
import torch

from mamtra.cli import main
from tests.foreign import cosyvoice_directory


@pytest.fixture
def cosyvoice(tmp_path):
    return str(cosyvoice_directory(tmp_path / "cosy"))


def test_plan(cosyvoice, capsys):
    assert main(["plan", "--model", cosyvoice, "--ratio", "1:1", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    state = torch.load(f"{cosyvoice}/llm.pt", weights_only=True)
    unused = ("llm.model.lm_head.weight",)
    weights = sum(value.numel() for name, value in state.items() if torch.is_tensor(value) and name not in unused)
    assert facts["all_attention"]["params"] == weights
    assert facts["attention_layers"] == [0, 2] and facts["mamba_layers"] == [1, 3]


def test_doctor(cosyvoice, capsys):
    Path(cosyvoice, "speech_tokenizer_v2.onnx").unlink()
    assert main(["doctor", "--model", cosyvoice, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["model"]
    assert found["speaks"] and found["voices"] and not found["clones"]
    assert found["parts"]["lm"] and found["parts"]["flow"] and not found["parts"]["speech_tokenizer"]
    assert main(["doctor", "--model", cosyvoice]) == 0
    assert "lm yes  flow yes  vocoder yes  speech_tokenizer no" in capsys.readouterr().out


@pytest.mark.parametrize("verb", [["plan", "--ratio", "1:1", "--model"], ["doctor", "--model"]])
def test_a_directory_of_no_known_kind(verb, tmp_path, capsys):
    main([*verb, str(tmp_path)])
    found = capsys.readouterr()
    assert "holds no language model" in found.err + found.out or "is not a model directory" in found.err + found.out
