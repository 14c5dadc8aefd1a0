"""The comparison of the two runtimes: word error rates over common sentences, and the picture."""

from __future__ import annotations

import json

import runtime


def test_only_sentences_of_both_count(tmp_path):
    references = tmp_path / "set.tsv"
    references.write_text("id\tspoken\na\tthe dog sleeps here\nb\tgood morning\nc\tyes\n")
    said = {
        "torch": {"a": "the dog sleeps here", "b": "good morning"},
        "onnx": {"a": "the dog sleeps there now", "c": "yes"},
    }
    paths = {name: tmp_path / f"{name}.jsonl" for name in said}
    for name, path in paths.items():
        path.write_text("".join(json.dumps({"id": i, "text": text}) + "\n" for i, text in said[name].items()))
    found = runtime.understood(references, paths)
    assert found["sentences"] == 1
    assert found["wer"]["torch"][0] == 0 and found["wer"]["onnx"][0] == 50 == found["difference"][0]


def test_the_picture_shows_hundredths():
    parts = dict(zip(runtime.STAGES, (0.02, 0.031, 0.0), strict=True))
    assert runtime.bars({"onnx": parts}).splitlines()[1] == "onnx  ▓▓▒▒▒"
