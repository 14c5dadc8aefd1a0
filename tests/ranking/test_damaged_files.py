"""Ranking tables and calibration files, damaged in many ways: each is read, or refused in one sentence."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import pytest

from mamtra.conversion.ranking_file import open_table, read_ranking, read_table
from mamtra.conversion.ranking_table import RankingHeader, Row, complete
from mamtra.errors import MamTraError
from mamtra.models.config import SpeechLMConfig
from mamtra.ranking.calibration import read_utterances
from tests.factories import tiny_parts

HEADER = RankingHeader(model={"lm": "abc"}, criterion="kl", num_layers=3, candidates=(0, 1, 2))


@pytest.fixture(params=["table.jsonl", "table.csv"])
def table(request, tmp_path):
    stored = open_table(tmp_path / request.param, HEADER)
    list(complete(stored, lambda gone, wanted: (Row(layer=i, score=0.5 + i) for i in wanted)))
    return stored.path


def test_a_changed_line_is_named(table):
    text = table.read_text()
    assert read_ranking(table) == [2, 1, 0] and text.count("0.5") == 1
    table.write_text(text.replace("0.5", "9.5"))
    number = 2 if table.suffix == ".jsonl" else 3
    with pytest.raises(MamTraError, match=f"is damaged: line {number} was changed"):
        read_ranking(table)


def test_tables_of_other_layers_are_refused(table):
    lines = table.read_text().splitlines(keepends=True)
    for changed in ([*lines, lines[-1]], [lines[0].replace("[0,1,2]", "[0,1]"), *lines[1:]]):
        table.write_text("".join(changed))
        with pytest.raises(MamTraError, match="not a ranking table"):
            read_table(table)


def test_an_iterative_table_of_the_wrong_rows_is_refused(tmp_path):
    """As many rows as there should be, but not of the layers that were left."""
    header = HEADER.model_copy(update={"iterative": True})
    for steps in ((0, 0, 0, 1, 1, 1), (0, 0, 0, 2, 2, 2), (0, 1, 1, 1, 2, 2)):
        layers = [steps[:i].count(step) for i, step in enumerate(steps)]
        rows = [{"step": step, "layer": layer, "score": 1.0 + layer} for step, layer in zip(steps, layers, strict=True)]
        lines = [header.model_dump(mode="json"), *rows]
        (tmp_path / "t.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        with pytest.raises(MamTraError, match="is damaged: its rows"):
            read_ranking(tmp_path / "t.jsonl")


def token_set(**arrays):
    file = io.BytesIO()
    good = {"text": [3, 4, 5], "text_len": [1, 2], "speech": [1, 2, 3, 4], "speech_len": [3, 1]}
    np.savez_compressed(file, **{name: np.asarray(value, np.int32) for name, value in good.items()} | arrays)
    return file.getvalue()


def declared(shape):
    """A token set whose array `speech` declares another shape than it has."""
    file, source = io.BytesIO(), zipfile.ZipFile(io.BytesIO(token_set()))
    with zipfile.ZipFile(file, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name == "speech.npy":
                out = io.BytesIO()
                np.lib.format.write_array_header_1_0(out, {"descr": "<i4", "fortran_order": False, "shape": shape})
                content = out.getvalue() + content[-16:]
            target.writestr(name, content)
    return file.getvalue()


@pytest.fixture
def config() -> SpeechLMConfig:
    return tiny_parts()["lm"].config


@pytest.mark.parametrize(
    "content",
    [
        declared((10**10,)), declared((2**62,)), declared(()), declared((2, 2)), declared((5,)),
        token_set(speech=np.full(4, np.nan)), token_set(text_len=np.array([-1, 4])), token_set(text_len=np.array(2)),
        token_set(speech_len=np.array([2**62, 2**62])), token_set(text=np.array(["a"])), b"PK", b"",
    ],
)  # fmt: skip
def test_token_sets_that_declare_more_than_they_hold(tmp_path, config, content):
    (tmp_path / "t.npz").write_bytes(content)
    with pytest.raises(MamTraError):
        read_utterances(tmp_path / "t.npz", config, list, count=5)
