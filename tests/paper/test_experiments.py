"""Experiments on a tiny teacher that speaks: runs are made once, shared, resumed, and end as tables with intervals."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mamtra.audio.io import write_audio
from mamtra.cli import main
from mamtra.errors import MamTraError
from mamtra.evaluate.score_file import read_scores
from mamtra.paper import schedule, tables
from mamtra.paper import stages as make
from mamtra.paper.api import load_study, runs_of_studies
from mamtra.paper.results import Measured, Pair, rank_correlation, read_runs
from mamtra.paper.runs import Run, student_run, teacher_run
from mamtra.paper.schedule import run_all
from mamtra.paper.settings import EvaluationSettings, read_experiments
from mamtra.paper.utterances import columns_of, pair_of
from tests.distill.processes import SERVER
from tests.distill.runs import prepare

YAML = """
distill:
  teacher: {{model: {folder}/teacher}}
  data: {{train: {folder}/corpus, validation: 0.2}}
  batch: {{tokens: 200}}
  optimizer: {{lr: 3e-3}}
  run: {{steps: 3, precision: float32, device: cpu, validate_every: 1, save_every: 0}}
evaluation: null
fig4: {{strategies: [block-beg, back], ratios: ['1:1'], more_seeds: {{'block-beg 1:1': [1]}}}}
table4: {{seeds: [0]}}
table3: {{plans: [block-beg 1:1], fractions: [0.5, 0.5, 1.0], steps: [2, 3, 3]}}
variants:
  first: {{variants: {{faster: {{optimizer.lr: 1e-2}}, as wide: {{run.residual: float32}}}}}}
  longer: {{seeds: [0, 1], changes: {{run.steps: 4}}, variants: {{faster: {{optimizer.lr: 1e-2}}}}}}
control:
  as it is: {{seeds: [0, 1], plans: [block-beg 1:1, block-beg+1 1:1]}}
  noisy: {{plans: [block-beg 1:1], changes: {{batch.token_noise: 0.3}}}}
"""


@pytest.fixture
def folder(tmp_path):
    prepare(tmp_path)
    (tmp_path / "e.yaml").write_text(YAML.format(folder=tmp_path))
    return tmp_path


def test_cells_are_shared_and_made_once(folder, monkeypatch):
    settings = read_experiments(folder / "e.yaml")
    assert student_run(settings, "block-beg", "1:1").name == tables.table4_rows(settings)["all three"][0].name
    assert student_run(settings, "block-beg", "1:1", seed=1).name != student_run(settings, "block-beg", "1:1").name
    runs = load_study("fig4").runs(settings)
    assert len(runs) == 4
    work = folder / "runs"
    events = list(run_all(runs, work))
    assert [event.what for event in events] == ["trained"] * 4
    assert not list(work.glob("*/training/student"))
    monkeypatch.setitem(schedule._DO, "train", lambda *a, **k: pytest.fail("made twice"))
    assert list(run_all(runs, work)) == []


def test_tables_and_figures(folder, capsys):
    command = [
        "reproduce",
        "fig4",
        "fig6",
        "table4",
        "table3",
        "--config",
        str(folder / "e.yaml"),
        "-o",
        str(folder / "out"),
    ]
    assert main([*command, "--dry-run"]) == 0
    assert capsys.readouterr().out.count("to do") == len(_runs(folder))
    assert main(command) == 0
    found = json.loads((folder / "out" / "fig4.json").read_text())
    beg = next(run for run in found["runs"] if run["strategy"] == "block-beg")
    assert len(beg["ce"]["seeds"]) == 2 and beg["ce"]["ci95"][0] < beg["ce"]["value"] < beg["ce"]["ci95"][1]
    assert [row["row"] for row in json.loads((folder / "out" / "table4.json").read_text())["rows"]] == [
        "all three", "without ce", "without logits", "without emb",
    ]  # fmt: skip
    three = json.loads((folder / "out" / "table3.json").read_text())["rows"]
    assert [row["steps"] for row in three] == [0, 2, 3, 3] and three[0]["ce_difference"] == 0
    assert [row["row"] for row in three[1:]] == [
        "1:1 block-beg, 50%", "1:1 block-beg, 50%, 3 steps", "1:1 block-beg, 100%",
    ]  # fmt: skip
    assert three[0]["attention layers"] == 2 and three[1]["attention layers"] == 1
    curves = json.loads((folder / "out" / "fig6.json").read_text())["curves"]
    assert [step for step, _ in curves["kaiming"]] == [0, 1, 2, 3]
    assert (folder / "out" / "fig6.svg").stat().st_size > 1000


def test_a_dry_run_names_what_is_missing(folder, capsys):
    command = ["reproduce", "fig4", "--config", str(folder / "e.yaml"), "-o", str(folder / "out"), "--dry-run"]
    assert main([*command, "--set", f"distill.data.train={folder / 'nowhere'}"]) != 0
    found = capsys.readouterr()
    assert "to do" in found.out and f"no token shards in {folder / 'nowhere'} (data.train)" in found.err
    assert found.err.count("mamtra prepare") == 1
    more = ["--set", "fig4.strategies=[importance-wer]", "--set", "rankings={importance-wer: gone.jsonl}"]
    assert main([*command, *more]) != 0
    assert "no ranking gone.jsonl; make it with `mamtra rank`" in capsys.readouterr().err


def test_variants_are_compared_within_their_study(folder):
    command = ["reproduce", "variants", "--config", str(folder / "e.yaml"), "-o", str(folder / "out")]
    assert main(command) == 0
    rows = json.loads((folder / "out" / "variants.json").read_text())["rows"]
    assert [(row["study"], row["row"], row["steps"], row["ce_seeds"]) for row in rows] == [
        ("first", "teacher", 0, 1),
        ("first", "baseline", 3, 1),
        ("first", "faster", 3, 1),
        ("first", "as wide", 3, 1),
        ("longer", "teacher", 0, 2),
        ("longer", "baseline", 4, 2),
        ("longer", "faster", 4, 2),
    ]
    assert all(row["ce_difference"] == 0 for row in rows if row["row"] in ("baseline", "as wide"))
    for teacher, base, faster in (rows[:3], rows[4:]):
        assert faster["ce_difference"] == pytest.approx(faster["ce"] - base["ce"]) != 0
        assert faster["ce_difference_teacher"] == pytest.approx(faster["ce"] - teacher["ce"]) != 0
    page = (folder / "out" / "variants.md").read_text()
    assert "## first (block-beg)" in page and "## longer (block-beg)" in page


@pytest.fixture(scope="module")
def controlled(tmp_path_factory):
    """A folder with the results of `control`."""
    folder = prepare(tmp_path_factory.mktemp("control"))
    (folder / "e.yaml").write_text(YAML.format(folder=folder))
    assert main(["reproduce", "control", "--config", str(folder / "e.yaml"), "-o", str(folder / "out")]) == 0
    return folder


def test_the_control_is_trained_like_the_plans_that_are_compared_with_it(controlled):
    settings = read_experiments(controlled / "e.yaml")
    wanted = load_study("control").groups(settings)
    assert list(wanted) == [
        ("as it is", "teacher"), ("as it is", "1:0"), ("as it is", "1:1 block-beg"), ("as it is", "1:1 block-beg+1"),
        ("noisy", "teacher"), ("noisy", "1:0"), ("noisy", "1:1 block-beg"),
    ]  # fmt: skip
    for training in ("as it is", "noisy"):
        control, plan = (wanted[training, row][0].config for row in ("1:0", "1:1 block-beg"))
        assert control["student"].pop("ratio") == "1:0" and plan["student"].pop("ratio") == "1:1"
        assert control == plan
    found = json.loads((controlled / "out" / "control.json").read_text())
    rows = {(row["training"], row["row"]): row for row in found["scored"]}
    assert list(rows) == list(wanted)
    assert [row["attention layers"] for row in rows.values()] == [2, 2, 1, 1, 2, 2, 1]
    assert rows["as it is", "1:0"]["ce"] != rows["noisy", "1:0"]["ce"] != rows["noisy", "teacher"]["ce"]
    for (training, _), row in rows.items():
        assert row["ce_difference"] == pytest.approx(row["ce"] - rows[training, "1:0"]["ce"], abs=1e-7)
        assert row["ce_difference_teacher"] == pytest.approx(row["ce"] - rows[training, "teacher"]["ce"], abs=1e-7)
    page = (controlled / "out" / "control.md").read_text()
    assert "## as it is\n" in page and "## noisy\n" in page and "cross entropy minus 1:0" in page
    ends = {(row["training"], row["row"], row["seed"]): row for row in found["rows"]}
    assert len(ends) == 8 and all(row["steps"] == 3 for row in ends.values())
    for training, row in rows:
        if row != "teacher":
            values = [end["ce"] for (name, title, _), end in ends.items() if (name, title) == (training, row)]
            assert np.mean(values) == pytest.approx(rows[training, row]["ce"], abs=0.05)


def test_controls_that_are_not_finished(folder):
    """A training that has ended is shown before it is scored, one that has not is left out."""
    settings, study = read_experiments(folder / "e.yaml"), load_study("control")
    wanted, work = study.groups(settings), folder / "runs"
    with pytest.raises(MamTraError, match="no finished training"):
        study.find(settings, work)
    list(run_all([*wanted["as it is", "1:0"], wanted["as it is", "1:1 block-beg"][1]], work))
    for run in wanted["as it is", "1:0"]:
        (work / run.name / make.VALIDATION).unlink()
    found = study.find(settings, work)
    assert [(row["row"], row["seed"]) for row in found["rows"]] == [("1:0", 0), ("1:0", 1), ("1:1 block-beg", 1)]
    assert found["scored"] == [] and found["utterances"] == {}
    last, page = found["rows"][2], study.page(found)
    figures = (last["GFLOPs"], last["train_ce"], last["ce"], last["ce"] - found["rows"][1]["ce"])
    assert "| 1:1 block-beg | 1 | {} | 3 | 1 | {:.3f} | {:.3f} | {:.3f} |".format(*figures) in page
    assert "## as it is" in page and "## noisy" not in page and "WER" not in page


def test_a_gpu_without_a_number_is_the_current_one(monkeypatch):
    """torch refuses to make a device without a number the current one."""
    made = []
    monkeypatch.setattr(make, "pick_device", torch.device)
    monkeypatch.setattr(make.torch.cuda, "set_device", made.append)
    for name in ("cuda", "cuda:1", "cpu"):
        assert make._take_device(SimpleNamespace(run=SimpleNamespace(device=name))) == torch.device(name)
    assert made == [torch.device("cuda:1")]


def test_intervals_can_be_computed_again_from_the_kept_scores(controlled):
    """From the JSON file alone."""
    found = json.loads((controlled / "out" / "control.json").read_text())
    kept = found["utterances"]["as it is"]["ce"]
    for row in (row for row in found["scored"] if row["training"] == "as it is"):
        pair = pair_of(kept, row["row"])
        again = Measured({"ce": pair}, 0, 0, (), {}).figure("ce")
        assert len(again.seeds) == 2 and again.count == row["ce_of"]
        assert (again.value, again.low, again.high) == pytest.approx(
            (row["ce"], row["ce_low"], row["ce_high"]), abs=2e-3
        )


def test_utterances_without_a_score_are_marked(tmp_path):
    pairs = {"a": ["x", "y", "z"], "b": ["x", "z"]}
    measured = {
        row: Measured(
            {"wer": Pair(names, np.arange(2.0 * len(names)).reshape(2, -1), np.full((2, len(names)), 7.0))},
            0,
            0,
            (),
            {},
        )
        for row, names in pairs.items()
    }
    kept = columns_of("wer", measured)
    assert kept == {"names": "x y z", "wholes": "7 7 7", "parts": {"a": ["0 1 2", "3 4 5"], "b": ["0 - 1", "2 - 3"]}}
    for row, pair in measured.items():
        again = pair_of(kept, row)
        assert again.names == pairs[row] and np.array_equal(again.parts, pair.pairs["wer"].parts)
        assert np.array_equal(again.wholes, pair.pairs["wer"].wholes)


def test_settings_that_decide_a_training_part_its_cells(folder):
    """What gives other weights, be it by rounding alone, is never taken for the same training."""
    settings = read_experiments(folder / "e.yaml")
    names = {
        student_run(settings, "block-beg", "1:1", changes={**change, "run.precision": "bf16"}).name
        for change in ({}, {"run.residual": "bf16"}, {"run.steps": 4}, {"optimizer.lr": 1e-2}, {"data.fraction": 0.5})
    }
    assert len(names) == 5


def _runs(folder: Path) -> list[Run]:
    return runs_of_studies(("fig4", "fig6", "table3", "table4"), read_experiments(folder / "e.yaml"))


def test_side_by_side_gives_the_same_figures(folder, monkeypatch):
    monkeypatch.setattr(schedule, "get_context", lambda _: SERVER)  # new processes that need not import torch
    settings = read_experiments(folder / "e.yaml")
    runs = [teacher_run(settings), student_run(settings, "block-beg", "1:1")]
    list(run_all(runs, folder / "one"))
    list(run_all(runs, folder / "two", side_by_side=2))
    one, two = (read_runs([runs[1]], folder / name).figure("ce") for name in ("one", "two"))
    assert one.value == pytest.approx(two.value, rel=1e-5)


def test_a_cell_that_fails_stops_no_other(folder, capsys):
    (folder / "e.yaml").write_text((folder / "e.yaml").read_text().replace("'1:1'", "'1:1', '1:3'"))
    out = ["-o", str(folder / "out")]
    assert main(["reproduce", "fig4", "--config", str(folder / "e.yaml"), *out]) == 2
    error = capsys.readouterr().err
    assert "training runs failed" in error and error.count(" trained") == 4


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fig4"], "--config"),
        (["fig4", "--config", "none.yaml"], "There is no configuration none.yaml"),
        (["fig4", "--config", "e.yaml", "--set", "fig4.ratio=1"], "fig4.ratio"),
        (["fig4", "--config", "e.yaml", "--set", "distill.run.stepps=1"], "stepps"),
        (["fig4", "--config", "e.yaml", "--set", "fig4.strategies=[importance-wer]"], "needs a ranking"),
        (["table3", "--config", "e.yaml", "--set", "table3.steps=[1]"], "equally many"),
        (["fig4", "--config", "e.yaml", "--set", "fig4.strategies=['../../../x']"], "no strategy '../../../x'"),
        (["fig4", "--config", "e.yaml", "--set", "listen={}"], "The setting listen is called evaluation now"),
        (["variants", "--config", "e.yaml", "--set", "variants={}"], "name no variants"),
        (["variants", "--config", "e.yaml", "--set", "variants.first.seeds=[]", "--finished"], "not finished"),
    ],
)
def test_mistakes_are_one_sentence(folder, monkeypatch, refused, arguments, said):
    monkeypatch.chdir(folder)
    assert said in refused(["reproduce", *arguments])


def test_rank_correlation():
    assert rank_correlation([1, 2, 3, 4, 5], [1, 4, 9, 16, 25])[0] == pytest.approx(1)
    assert rank_correlation([1, 2, 3, 4], [4, 3, 2, 1])[0] == pytest.approx(-1)
    assert rank_correlation([1, 2, 2, 3], [1, 2, 2, 3])[0] == pytest.approx(1)


@pytest.mark.parametrize(("asr", "device"), [({"device": "cuda:3"}, "cuda:3"), ({}, "cpu")])
def test_judges_follow_the_transcriber_to_its_device(monkeypatch, asr, device):
    """One of transformers takes the device of the training, and the other judges with it; CTranslate2's stays on the CPU."""
    asked = {}
    monkeypatch.setattr(make, "open_transcriber", lambda name, threads, place: SimpleNamespace(asked=place, **asr))
    monkeypatch.setattr(make, "open_speaker_encoder", lambda name, place: asked.setdefault(name, place))
    monkeypatch.setattr(make, "DistilMOS", lambda place: asked.setdefault("mos", place))
    evaluation = EvaluationSettings(similarity=True, encoder="resemblyzer", mos=True, whisper=f"hf:{device}")
    transcriber, *_ = make._judges(evaluation, "cuda:3")
    assert transcriber.asked == "cuda:3" and asked == {"resemblyzer": device, "mos": device}


def test_a_cell_is_judged_in_batches_from_its_folder(tmp_path, monkeypatch):
    class Ears:
        about, batch_size, sizes = {"asr": "stand-in"}, 20, []

        def many(self, sounds):
            self.sizes.append(len(sounds))
            return ["good night"] * len(sounds)

    evaluation = EvaluationSettings(set="plain", utterances=24)
    run = SimpleNamespace(
        name="x-1", evaluation=evaluation, training=lambda folder: SimpleNamespace(run=SimpleNamespace(device=None))
    )
    (tmp_path / make.SPEECH).mkdir()
    for line in make.lines_of(evaluation).lines:
        write_audio(tmp_path / make.SPEECH / f"{line.id}.wav", np.full(1600, 0.1, np.float32), 16000)
    monkeypatch.setattr(make, "_judges", lambda evaluation, device: (Ears(), None, None, {}))
    make.score_speech(run, tmp_path)
    scores = read_scores(tmp_path / make.SCORES)
    assert len(scores.rows) == 24 and scores.fingerprint["system"] == "x-1" and Ears.sizes == [20, 4]
