"""The command line of all benchmarks, and the pages of the repository."""

import importlib
import json
from pathlib import Path

import pytest
from record import benchmark, show_spread, spread

RESULTS = Path(__file__).parents[2] / "docs" / "results"
PAGES = {
    "memory_growth": "memory_growth", "../parity": "parity", "readers": "readers",
    "faults": "faults", "soak": "soak", "serve": "mamtra.bench.serve_page",
    "cloning": "cloning", "engine_memory": "engine_memory", "engine_step": "engine_step", "lists": "lists",
    "list_durations": "list_durations",
    "conversion": "conversion",
    "distill_scaling": "distill_scaling", "distill_speed": "distill_speed", "librispeech_pc": "score_table",
    "cosyvoice3_parity": "cosyvoice3_parity",
    "runtime": "runtime", "streaming_work": "streaming_work", "text": "text_readings", "token2wav": "token2wav",
    "weight_types": "weight_types", "weight_words": "weight_words", "guards": "guards",
    "decode": "mamtra.bench.decode_page", "bench_memory": "mamtra.bench.memory_page", "bench_latency": "mamtra.bench.latency_page",
    "voice_stages": "voice_stages", "voice_choice": "voice_choice", "vocoders": "vocoders", "versions": "versions",
    "colocation": "colocation", "serve_gpu": "serve_gpu",
    "layout": "layout", "word_times": "word_times", "flow_steps": "flow_steps",
    "web": "web",
    "flow_window": "flow_window", "runtime_quality": "runtime_quality",
    "hop_sound": "hop_sound", "watermark": "watermark",
}  # fmt: skip


@pytest.mark.parametrize("name", PAGES)
def test_the_pages_of_the_repository_are_made_from_their_json(name):
    render = importlib.import_module(PAGES[name]).render
    page = (RESULTS / f"{name}.md").read_text(encoding="utf-8")
    assert render(json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))) == page


def test_results_are_written_as_they_come_and_rendered_again(tmp_path, capsys):
    out = tmp_path / "new" / "x.json"

    def measure(args):
        yield {"rows": [args.rows]}
        assert json.loads(out.read_text())["rows"] == [2]
        yield {"rows": [args.rows, 3]}

    def run(*words):
        benchmark("x", "about", measure, lambda result: f"{result['rows']}\n", options, [*words, "--out", str(out)])

    def options(parser):
        parser.add_argument("--rows", type=int)

    run("--rows", "2")
    page = out.with_suffix(".md")
    assert page.read_text() == "[2, 3]\n" and capsys.readouterr().out == f"{page}\n"
    found = json.loads(out.read_text())
    assert found["benchmark"] == "x" and found["hardware"]["threads"]
    page.unlink()
    run("--render")
    assert page.read_text() == "[2, 3]\n"


def test_spread():
    found = spread([3.0, 1.0, 2.0])
    assert found == {"median": 2.0, "min": 1.0, "max": 3.0, "runs": 3}
    assert show_spread(found, 1, 10) == "20.0 (10.0 to 30.0)"
