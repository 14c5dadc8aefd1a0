"""The windows of the flow on a tiny model with stand-ins for the judges: the same tokens for all, and a run that is continued."""

import json

import flow_window
import paired_scores

from mamtra.evaluate.sets import Line
from tests.factories import tiny_model


def test_the_whole_benchmark(tmp_path, monkeypatch, judges):
    monkeypatch.setattr(flow_window, "LONG_WORDS", 10)
    monkeypatch.setattr(paired_scores, "REFERENCE", "Good morning.")
    monkeypatch.setattr(
        paired_scores.TokenCache, "__call__", lambda cache, line: list(range(20 * len(line.text.split())))
    )
    monkeypatch.setattr(flow_window, "VARIANTS", {"all": (0, 0), "100": (100, 0), "50+50": (50, 50)})
    for name in ("dev", "test", "long"):
        (tmp_path / f"{name}.txt").write_text(
            "This is a sentence of seven words.\nGood morning.\n" * (1 + (name == "long"))
        )
    out = tmp_path / "results" / "flow_window.json"
    command = ["--model", str(tiny_model(tmp_path / "tiny")), "--run", str(tmp_path / "run"), "--whisper", "w"]
    command += ["--development", str(tmp_path / "dev.txt"), "--held-out", str(tmp_path / "test.txt")]
    command += ["--long", str(tmp_path / "long.txt"), "--threads", "1", "--out", str(out)]
    flow_window.main(command)
    found = json.loads(out.read_text())
    assert {name: part["utterances"] for name, part in found["results"].items()} == {
        "all lines": 4, "development": 2, "held out": 2, "long segments": 1,
    }  # fmt: skip
    variants = found["results"]["all lines"]["variants"]
    assert {name: row["changed"] for name, row in variants.items()} == {"all": 0, "100": 2, "50+50": 2}
    assert variants["100"]["figures"]["wer_english"]["difference"] == 0
    sound = found["results"]["development"]["sound"]
    assert sound["all"]["rms"] == 0 < sound["100"]["rms"] and sound["100"]["jump_ratio"] > 0
    assert (
        sound["50+50"]["most_private_bytes"] == sound["100"]["most_private_bytes"] < sound["all"]["most_private_bytes"]
    )
    calls = judges["DistilMOS"].calls
    assert calls == 2 * (3 + 1) + 3  # the short line sounds the same
    page = out.with_suffix(".md").read_text()
    assert flow_window.render(found) == page and str(tmp_path) not in page
    flow_window.main(command)
    assert judges["DistilMOS"].calls == calls
    assert json.loads(out.read_text())["results"] == found["results"]


def test_tokens_are_spoken_once_and_one_pass_is_all_hops(tmp_path, monkeypatch):
    import mamtra

    tts, path = mamtra.load(tiny_model(tmp_path / "tiny"), device="cpu"), tmp_path / "tokens.jsonl"
    line = Line("a", "This is a sentence. Good morning.", "")
    tokens = paired_scores.TokenCache(path, tts, tts.voice())(line)
    assert tokens and paired_scores.read_rows(path) == [{"id": "a", "tokens": tokens}]
    monkeypatch.setattr(paired_scores, "best_run", None)
    assert paired_scores.TokenCache(path, tts, tts.voice())(line) == tokens
    monkeypatch.setattr(flow_window, "VARIANTS", {"all": (0, 0), "50": (50, 0)})
    streams, tokens = flow_window.Streams(tts.model, tts.voice()), list(range(90))
    for name in flow_window.VARIANTS:
        mel, seams, _ = streams.mel(name, tokens)
        assert seams and (streams.at_once(name, tokens) - mel).abs().max() < 1e-4


def test_what_is_done_after_any_time_is_a_part_of_every_set():
    sets = {name: [Line(f"{name}{i}", "", "") for i in range(n)] for name, n in (("a", 6), ("b", 3), ("c", 0))}
    turns = [line.id for row in zip(*flow_window.spread_out(sets), strict=True) for line in row if line]
    assert turns == ["a0", "b0", "a1", "a2", "b1", "a3", "a4", "b2", "a5"]


def test_a_window_is_as_good_only_by_the_whole_interval():
    def row(**ends):
        ends = {"wer_english": (-0.1, 0.2), "mos": (-0.04, 0.1), "similarity_to_prompt": (-0.009, 0.0), **ends}
        return {"figures": {name: {"difference_ci95": pair} for name, pair in ends.items()}}

    variants = {"all": {}, "200": row(), "100": row(mos=(-0.06, 0.0)), "50": row(wer_english=(-1, 0.31))}
    found = {"s": {"utterances": 1, "variants": variants}, "t": {"utterances": 0, "variants": {}}}
    assert flow_window.as_good(found) == {"s": {"200": True, "100": False, "50": False}}
