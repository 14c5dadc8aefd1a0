"""Ranking tables: going on where a run stopped, refusing to mix runs, one-shot and iterative order."""

from __future__ import annotations

import json

import pytest

from mamtra.conversion.ranking_file import open_table, read_table
from mamtra.conversion.ranking_table import RankingHeader, RankingTable, Row, complete
from mamtra.errors import MamTraError
from mamtra.models.plan import LayerPlan
from mamtra.ranking import read_ranking

SCORES = [0.9, 0.1, 0.1, 0.5, 0.2]


def header(**changes) -> RankingHeader:
    values = {
        "model": {"lm": "abc"},
        "criterion": "kl",
        "num_layers": 5,
        "candidates": tuple(range(5)),
        "settings": {"seed": 0},
    }
    return RankingHeader(**{**values, **changes})


def plain(gone, wanted):
    yield from (Row(layer=i, score=SCORES[i]) for i in wanted)


def stand_ins(gone, wanted):
    """Layers 1 and 2 do the same: either can go, but not both."""
    for i in wanted:
        missed = {1, 2} <= {*gone, i}
        yield Row(layer=i, score=max(SCORES[i], 10.0 * missed if i in (1, 2) else 0.0))


@pytest.fixture(params=["table.jsonl", "table.csv"])
def path(request, tmp_path):
    return tmp_path / request.param


def test_the_highest_score_comes_first_and_earlier_layers_win_ties(path):
    table = open_table(path, header())
    assert [row.layer for row in complete(table, plain)] == [0, 1, 2, 3, 4]
    assert table.ranking() == read_ranking(path) == [0, 3, 4, 1, 2]
    assert read_table(path).header == header() and read_table(path).rows == table.rows
    plan = LayerPlan.from_ratio(5, "1:1", "importance-cosine", read_ranking(path))
    assert plan.attention_layers == (0, 3, 4)


def test_character_errors_decide_between_equal_word_error_rates():
    table = RankingTable(header(criterion="wer", num_layers=2, candidates=(0, 1)))
    table.add(Row(layer=None, score=0.0))
    table.add(Row(layer=0, score=5.0, word_errors=1, words=20, char_errors=2, chars=100))
    table.add(Row(layer=1, score=5.0, word_errors=1, words=20, char_errors=3, chars=100))
    assert table.ranking() == [1, 0] and table.unchanged.score == 0.0


def test_iterative_ranking_sees_what_layers_do_together(path):
    one_shot, iterative = RankingTable(header()), open_table(path, header(iterative=True))
    list(complete(one_shot, stand_ins))
    list(complete(iterative, stand_ins))
    assert set(one_shot.ranking()[-2:]) == {1, 2}
    assert iterative.ranking() == read_ranking(path) == [1, 0, 3, 4, 2]
    assert len(iterative.rows) == iterative.header.expected == 15


@pytest.mark.parametrize("iterative", [False, True])
@pytest.mark.parametrize("stop", [1, 3, 5, 7])
def test_a_run_goes_on_where_it_stopped(path, iterative, stop):
    whole = RankingTable(header(iterative=iterative))
    list(complete(whole, stand_ins))
    first = open_table(path, header(iterative=iterative))
    for _, _ in zip(range(stop), complete(first, stand_ins), strict=False):
        pass
    done = len(first.rows)
    with path.open("a") as file:
        file.write('{"step": 0, "lay' if path.suffix == ".jsonl" else "0,3,0.")  # cut off while it was written
    if done < whole.header.expected:
        with pytest.raises(MamTraError, match=f"not complete .{done} of {whole.header.expected} rows"):
            read_ranking(path)
    second = open_table(path, header(iterative=iterative, name="renamed"))
    assert len(list(complete(second, stand_ins))) == whole.header.expected - done
    assert read_ranking(path) == whole.ranking()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": {"lm": "xyz"}}, "another model"),
        ({"criterion": "cosine"}, "criterion is kl there and cosine here"),
        ({"settings": {"seed": 1}}, "seed is 0 there and 1 here"),
        ({"data": {"source": "a"}}, "source is None there and a here"),
        ({"iterative": True}, "iterative is False there and True here"),
    ],
)
def test_other_runs_are_not_mixed_in(path, changes, words):
    list(complete(open_table(path, header()), plain))
    before = path.read_bytes()
    with pytest.raises(MamTraError, match=words):
        open_table(path, header(**changes))
    assert path.read_bytes() == before
    assert open_table(path, header(**changes), overwrite=True).rows == []


def test_mamba_layers_come_last():
    table = RankingTable(header(candidates=(1, 3)))
    list(complete(table, plain))
    assert table.ranking() == [3, 1, 0, 2, 4]


def test_scores_must_be_numbers(path):
    table = open_table(path, header())
    with pytest.raises(MamTraError, match="Layer 0 gives a score that is not a number"):
        list(complete(table, lambda gone, wanted: iter([Row(layer=0, score=float("nan"))])))
    assert not path.exists()


def test_a_summary_is_a_ranking_file(tmp_path):
    table = RankingTable(header())
    list(complete(table, plain))
    (tmp_path / "ranking.json").write_text(json.dumps(table.summary()))
    assert read_ranking(tmp_path / "ranking.json") == table.ranking()


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("gone.json", None, "no ranking file"),
        ("a.json", "nonsense", "not a layer ranking"),
        ("a.json", "[2, 1, 0]", "not a layer ranking"),
        ("a.json", '{"layers": 3}', "not a layer ranking"),
        ("a.json", '{"ranking": [0, 2]}', "every layer once"),
        ("a.json", '{"ranking": [0, "1"]}', "every layer once"),
        ("a.json", '{"ranking": 3}', "every layer once"),
        ("a.jsonl", '{"text": "a", "speech": [1]}\n', "not a ranking table"),
        ("a.csv", "a,b\n1,2\n", "not a ranking table"),
        ("a.jsonl", "", "not a ranking table"),
    ],
)
def test_files_that_are_no_ranking(tmp_path, name, text, words):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(MamTraError, match=words):
        read_ranking(tmp_path / name)


def test_places_that_no_table_can_go_to(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    for name, words in (
        ("a.txt", "a .jsonl or a .csv"),
        ("gone/a.csv", "does not exist"),
        ("folder.csv", "is a folder"),
    ):
        with pytest.raises(MamTraError, match=words):
            open_table(tmp_path / name, header())


@pytest.mark.parametrize(
    "changes",
    [{"num_layers": 2**63 - 1}, {"num_layers": 0}, {"candidates": [0, 9]}, {"candidates": [1, 0]}, {"criterion": "x"}],
)
def test_impossible_headers_are_refused_at_once(tmp_path, changes):
    path = tmp_path / "ranking.jsonl"
    path.write_text(json.dumps({**json.loads(header().model_dump_json()), **changes}) + "\n")
    with pytest.raises(MamTraError, match="not a ranking table"):
        read_ranking(path)


@pytest.mark.parametrize("layer", [0, 99])
def test_damaged_lines_do_not_make_another_ranking(path, layer):
    list(complete(open_table(path, header()), plain))
    *rows, last = read_table(path).rows
    table = open_table(path, header(), overwrite=True)
    for row in (*rows, last.model_copy(update={"layer": layer})):
        table.add(row)
    with pytest.raises(MamTraError, match="is of a layer that has a line already, or is not to be measured"):
        read_table(path)
