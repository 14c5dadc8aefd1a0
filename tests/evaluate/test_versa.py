"""VERSA's files, both ways."""

import json

import pytest

from mamtra.cli import main
from mamtra.errors import MamTraError
from mamtra.evaluate.reading import load_scores
from mamtra.evaluate.score_file import ScoreFile
from mamtra.evaluate.summary import summarise
from mamtra.evaluate.versa import read_config, versa_lines, write_versa
from mamtra.evaluate.versa_run import means


@pytest.fixture
def scores(tmp_path):
    rows = {
        "a": {"id": "a", "reference": "The old, red hat!", "hypothesis": "the old bed hat", "mos": 4.0},
        "b": {
            "id": "b",
            "reference": "Good night.",
            "hypothesis": "good good night",
            "mos": 3.0,
            "similarity_to_ground_truth": 0.5,
        },
        "c": {"id": "c", "reference": "Farewell.", "error": "there is no sound"},
    }
    return ScoreFile(tmp_path / "s.jsonl", {"system": "x"}, rows)


def test_lines_have_versas_names_and_counts(scores):
    first, second, third = versa_lines(scores)
    assert (
        first["key"] == "a"
        and first["ref_text"] == "the old red hat"
        and first["whisper_hyp_text"] == "the old bed hat"
        and first["distillmos"] == 4.0
    )
    assert [first[f"whisper_wer_{k}"] for k in ("equal", "replace", "delete", "insert")] == [3, 1, 0, 0]
    assert second["whisper_wer_insert"] == 1 and second["spk_similarity"] == 0.5
    assert third["whisper_wer_delete"] == 1 and third["whisper_cer_delete"] == len("farewell")
    rate = means([*versa_lines(scores)])["whisper_wer"]
    assert rate == pytest.approx(summarise(scores)["figures"]["wer_basic"]["value"])


def test_what_is_written_is_read_again(scores, tmp_path, capsys):
    write_versa(scores, tmp_path / "v.jsonl")
    again = load_scores(tmp_path / "v.jsonl")
    ours, theirs = summarise(scores)["figures"], summarise(again)["figures"]
    assert theirs["wer_basic"] == ours["wer_basic"] and theirs["mos"] == ours["mos"]
    assert main(["compare", str(tmp_path / "v.jsonl"), str(tmp_path / "v.jsonl"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["figures"]["wer_basic"]["difference"] == 0.0


def test_lines_without_a_text_are_refused(tmp_path):
    (tmp_path / "v.jsonl").write_text('{"key": "a", "utmos": 4.1}\n', encoding="utf-8")
    with pytest.raises(MamTraError, match="line 1: ref_text: field required"):
        load_scores(tmp_path / "v.jsonl")


def test_configurations(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("- {name: whisper_wer, beam_size: 5}\n- {name: speaker, model_tag: default}\n", encoding="utf-8")
    assert read_config(path) == {"words", "similarity"}
    path.write_text("- {name: speaker}\n- {name: pesq}\n", encoding="utf-8")
    assert read_config(path, any_metric=True) == {"similarity"}
    for text, message in (
        ("- {name: pesq}\n", "asks for pesq; the metrics known here are whisper_wer"),
        ("name: pesq\n", "must be a list"),
        ("- [", "cannot be read as a VERSA configuration"),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(MamTraError, match=message):
            read_config(path)
