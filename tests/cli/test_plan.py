"""`mamtra plan`: JSON, strip, picture, models, and one sentence for every mistake."""

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

import mamtra
from mamtra.cli import main
from mamtra.errors import MamTraError
from mamtra.models.plan import LayerPlan

FIXED_KEYS = {
    "layer_types",
    "attention_layers",
    "mamba_layers",
    "params",
    "prefill_tflops",
    "decode_mflops",
    "cache_bytes",
    "state_bytes",
    "break_even_tokens",
}


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def facts(capsys):
    def run(*words):
        assert main(["plan", *words, "--json"]) == 0
        captured = capsys.readouterr()
        assert captured.err == ""
        return json.loads(captured.out)

    return run


def test_json_has_its_keys_and_right_figures(facts):
    found = facts("--layers", "24", "--ratio", "1:3", "--strategy", "block-beg")
    assert set(found) >= FIXED_KEYS
    assert found["attention_layers"] == [0, 4, 8, 12, 16, 20]
    assert found["layer_types"].count("linear_attention") == len(found["mamba_layers"]) == 18
    assert found["prefill_tflops"] == pytest.approx(1.6160, abs=5e-5)
    assert found["decode_mflops"] == pytest.approx(795.2, abs=0.05)
    assert found["cache_bytes"] == 6 * 512 * 2048 and found["cache_bytes_per_token"] == 6 * 512
    assert found["state_bytes"] == 18 * (14 * 64 * 64 * 4 + 3 * 1152 * 2)
    assert (found["break_even_tokens"], found["break_even_seconds"]) == (462, 18.48)
    assert found["streams_per_gib"] == 2**30 // (found["cache_bytes"] + found["state_bytes"])
    assert found["all_attention"]["cache_bytes"] == 4 * found["cache_bytes"]
    assert LayerPlan.parse(found["plan"]) == LayerPlan.from_ratio(24, "1:3")


def test_context_and_batch(facts):
    one, many = facts("--ratio", "1:1", "--context", "500"), facts("--ratio", "1:1", "--context", "500", "--batch", "8")
    for key in ("prefill_tflops", "decode_mflops", "cache_bytes", "state_bytes"):
        assert many[key] == pytest.approx(8 * one[key])
    for key in ("params", "streams_per_gib", "break_even_tokens", "cache_bytes_per_token"):
        assert many[key] == one[key]
    assert one["cache_bytes"] == 12 * 512 * 500


def test_conventions(facts):
    plain = facts("--ratio", "1:1")
    assert plain["convention"] == {"scores": "full", "head": "none", "scan": "none", "flops_per_mac": 2}
    assert facts("--ratio", "1:1", "--scores", "causal")["prefill_tflops"] < plain["prefill_tflops"]
    for words in (("--head", "last"), ("--head", "all"), ("--scan", "steps"), ("--scan", "chunks"), ("--scan", "9ldn")):
        assert facts("--ratio", "1:1", *words)["prefill_tflops"] > plain["prefill_tflops"]
    assert facts("--ratio", "1:1", "--state-dtype", "bfloat16")["break_even_tokens"] == 238
    assert facts("--ratio", "1:1", "--cache-dtype", "float32")["cache_bytes"] == 2 * plain["cache_bytes"]


def test_models(facts, model):
    assert facts()["mamba_layers"] == []
    assert facts("--model", model)["layer_types"] == ["full_attention", "linear_attention"]
    assert facts("--model", model, "--ratio", "0:1")["attention_layers"] == []
    assert facts("--model", "zonos-v0.1")["ratio"] == "1:3"
    assert len(facts("--model", "llasa-1b", "--layers", "20")["attention_layers"]) == 20
    assert facts("--model", "llasa-1b", "--ratio", "1:1")["break_even_seconds"] == pytest.approx(
        facts("--model", "llasa-1b", "--ratio", "1:1")["break_even_tokens"] / 50
    )
    assert facts("--ratio", "1:1", "--rate", "12.5")["break_even_seconds"] == 462 / 12.5


def test_hugging_face_directories_need_no_transformers(tmp_path):
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 6, "num_attention_heads": 4}
    config = {"model_type": "qwen2", "num_key_value_heads": 2, "vocab_size": 100} | sizes
    (tmp_path / "config.json").write_text(json.dumps(config))
    words = ["plan", "--model", str(tmp_path), "--ratio", "1:2", "--json"]
    code = f"import sys; sys.modules['transformers'] = None; from mamtra.cli import main; sys.exit(main({words!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["attention_layers"] == [0, 3]


def test_explicit_lists_and_rankings(facts):
    assert facts("--layers", "12", "--attention", "0, 4,8")["attention_layers"] == [0, 4, 8]
    Path("ranking.json").write_text(json.dumps({"ranking": [3, 1, 0, 2]}))
    for strategy in ("importance-cosine", "importance-wer", "importance-kl"):
        words = ("--layers", "4", "--ratio", "1:1", "--strategy", strategy, "--ranking", "ranking.json")
        assert facts(*words)["attention_layers"] == [1, 3]


def test_for_people(capsys):
    assert main(["plan", "--layers", "24", "--ratio", "1:3"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "A  M  M  M  A" in out and "6 attention, 18 Mamba (block-beg 1:3)" in out
    text = " ".join(out.split())
    assert "520.6 M" in text and "1.616 TFLOP" in text and "795.2 MFLOP" in text and "3,072 B" in text
    assert "from 462 tokens on (18.5 s at 25 Hz)" in text and "streams a GiB at 2,048 tokens 101 42" in text
    assert "full scores and no scan" in text
    assert main(["plan"]) == 0
    out = capsys.readouterr().out
    assert "(all attention)" in out and "no Mamba layers" in out


def test_picture(capsys):
    assert main(["plan", "--ratio", "1:11", "--svg", "plan.svg"]) == 0
    assert "plan.svg" in capsys.readouterr().err
    root = ElementTree.parse("plan.svg").getroot()
    letters = [use.get("href")[1:] for use in root.iter("{http://www.w3.org/2000/svg}use")]
    assert "".join(letters) == LayerPlan.from_ratio(24, "1:11").letters


@pytest.mark.parametrize(
    "words, expected",
    [
        (["--layers", "0"], "--layers"),
        (["--layers", "4", "--ratio", "1:11"], "at least 12 layers, but there are 4"),
        (["--ratio", "1:3", "--strategy", "importance-kl"], "`mamtra rank` makes one"),
        (["--ratio", "1:3", "--strategy", "importance-kl", "--ranking", "gone.json"], "gone.json"),
        (["--ratio", "1:3", "--ranking", "gone.json"], "goes with a strategy of importance-cosine"),
        (["--strategy", "front"], "need a ratio"),
        (["--attention", "0,24"], "0..23"),
        (["--attention", "0,-1"], "between commas"),
        (["--attention", "first"], "between commas"),
        (["--attention", "0", "--ratio", "1:1"], "leave out ratio"),
        (["--context", "0"], "--context"),
        (["--batch", "0"], "--batch"),
        (["--rate", "nan"], "rate is the number of tokens in a second"),
        (["--scores", "half"], "scores 'half' is unknown; choose one of full, causal"),
        (["--state-dtype", "int8"], "choose one of float32"),
        (["--model", "zonos-v0.1", "--head", "all"], "do not include its head"),
        (["--svg", "a.png"], "a .svg file"),
        (["--svg", "gone/a.svg"], "does not exist; create it first"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(words, expected, refused):
    before = sorted(os.listdir())
    assert expected in refused(["plan", *words])
    assert sorted(os.listdir()) == before


def test_python_gives_the_figures_of_the_command(facts, tmp_path):
    cost = mamtra.plan("cosyvoice2", "1:3", layers=24, context=500, batch=2)
    assert json.loads(json.dumps(cost.to_dict())) == facts("--ratio", "1:3", "--context", "500", "--batch", "2")
    assert cost.plan == LayerPlan.from_ratio(24, "1:3") and cost.summary.cache_bytes < cost.all_attention.cache_bytes
    assert mamtra.plan(attention=[0, 4], layers=12).plan.attention_layers == (0, 4)
    cost.save_svg(tmp_path / "plan.svg")
    assert main(["plan", "--ratio", "1:3", "--svg", str(tmp_path / "other.svg")]) == 0
    assert (tmp_path / "plan.svg").read_bytes() == (tmp_path / "other.svg").read_bytes()
    with pytest.raises(MamTraError, match="scores 'half' is unknown"):
        mamtra.plan(scores="half")
