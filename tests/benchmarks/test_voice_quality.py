import json
import sys
from pathlib import Path

import pytest
import scoring
import voice_quality
from quality_report import is_truncated, loops, render
from speaking import fingerprint, read_made, read_set

from mamtra.tts import load
from tests.factories import reference, tiny_model, tiny_voice

BENCHMARKS = Path(voice_quality.__file__).parent
LIST = (
    "id\tcategory\ttext\tspoken\n"
    "p1\tplain\tHello there.\thello there\n"
    "p2\tplain\tGood morning.\tgood morning\n"
    "n1\tnumbers\t7 words\tseven words\n"
)
JUDGE = """#!{python}
import sys
from pathlib import Path
sys.path[:0] = [{benchmarks!r}]
from scoring import score
from mamtra.evaluate.scorer import Scorer
from mamtra.evaluate.sets import read_set
from mamtra.evaluate.systems import Sounds
class StandIn:
    about = {{"asr": "stub"}}
    def __call__(self, samples, rate):
        return self.now.reference if self.now.id != "p2" else ""
class Rates:
    about = "stub"
    def __call__(self, samples, rate):
        return 3.0
class Knows(Sounds):
    def __call__(self, line):
        StandIn.now = line
        return super().__call__(line)
rows, sounds, out = Path(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[sys.argv.index("--out") + 1])
for done in score(rows, sounds, out, Scorer(Knows(sounds), StandIn(), rater=Rates())):
    print(done)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a model, a list, some recordings and a judge that transcribes all but p2."""
    folder = tmp_path_factory.mktemp("quality")
    tiny_model(folder / "tiny")
    (folder / "list.tsv").write_text(LIST)
    (folder / "source").mkdir()
    for name in ("p1", "p2"):
        reference(folder / "source" / f"{name}.wav", 1.0)
    judge = folder / "judge"
    judge.write_text(JUDGE.format(python=sys.executable, benchmarks=str(BENCHMARKS)))
    judge.chmod(0o755)
    return folder


def run(place, *more):
    out = place / "results" / "quality.json"
    common = ["--set", "list.tsv", "--run", "run", "--judge-python", "judge", "--threads", "1", "--out", out, *more]
    voice_quality.main([str(place / word) if word in ("list.tsv", "run", "judge") else str(word) for word in common])
    return json.loads(out.read_text()), out.with_suffix(".md").read_text()


@pytest.fixture(scope="module")
def measured(place):
    source = place / "source"
    return run(place, "--wavs", f"engine={source}", "--resynth", f"floor={source}", "--model", f"mini={place / 'tiny'}")


def test_every_system_has_its_row(measured):
    results, page = measured
    rows = {row["name"]: row for row in results["systems"]}
    assert list(rows) == ["engine", "floor", "mini, tiny"]
    assert [row["kind"] for row in rows.values()] == ["recording", "resynthesis", "model"]
    # of six words "good morning" is never transcribed, and two systems have no sound for "seven words"
    assert rows["mini, tiny"]["wer"] == pytest.approx(100 * 2 / 6) and rows["mini, tiny"]["missing"] == 0
    assert rows["mini, tiny"]["guards"]["empty"] == ["p2"]
    assert rows["mini, tiny"]["categories"]["numbers"] == {"utterances": 1, "wer": 0.0, "wer_ci95": [0.0, 0.0]}
    assert rows["mini, tiny"]["worst"] == [{"id": "p2", "reference": "good morning", "hypothesis": ""}]
    assert rows["mini, tiny"]["rtf"] > 0 and rows["mini, tiny"]["attention_layers"] == 1
    for name in ("engine", "floor"):
        assert rows[name]["missing"] == 1 and rows[name]["distillmos"] == 3.0 and "rtf" not in rows[name]
    assert "wer_against_first" not in rows["engine"] and "wer_against_first" in rows["floor"]
    assert all(f"| {name} |" in page for name in rows)


def test_the_record_says_how_it_was_made(measured, place):
    results, page = measured
    assert results["judge"]["asr"] == "stub" and results["seed"] == 0 and results["set"]["utterances"] == 3
    assert results["hardware"]["threads"] == 1 and results["versions"]["torch"]
    assert str(place) not in json.dumps(results) + page


def test_the_page_comes_from_the_record_alone(measured):
    results, page = measured
    assert render(json.loads(json.dumps(results))) == page


def test_a_second_run_speaks_and_judges_nothing_again(measured, place, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("it was spoken already")

    monkeypatch.setattr("mamtra.tts.TTS.say", refuse)
    before = (place / "run" / "mini--tiny" / "made.jsonl").read_text()
    results, _ = run(place, "--model", f"mini={place / 'tiny'}", "--limit", "2")
    assert results["systems"][0]["utterances"] == 2
    assert (place / "run" / "mini--tiny" / "made.jsonl").read_text() == before
    with pytest.raises(AssertionError):
        run(place, "--model", f"mini={place / 'tiny'}", "--seed", "1")


def test_sentences_that_cannot_be_spoken_count_as_missing(place):
    (place / "list.tsv").write_text(LIST + "x1\tplain\t***\tnothing\n")
    try:
        results, _ = run(place, "--model", f"other={place / 'tiny'}", "--ids", "x1", "p1")
    finally:
        (place / "list.tsv").write_text(LIST)
    assert results["systems"][0]["missing"] == 1
    assert "say" in read_made(place / "run" / "other--tiny")["x1"]["error"]


def test_the_fingerprint_sees_weights_and_prompts(place, tmp_path):
    one = load(place / "tiny")
    two = load(tiny_model(tmp_path / "tiny", seed=1))
    voice, other = one.voice(), tiny_voice(tokens=11)
    assert len({fingerprint(one, voice), fingerprint(two, voice), fingerprint(one, other)}) == 3


def test_lists_and_names_are_checked(place, tmp_path):
    assert [s.id for s in read_set(place / "list.tsv", limit=2)] == ["p1", "p2"]
    assert [s.id for s in read_set(place / "list.tsv", ids=["n1"])] == ["n1"]
    with pytest.raises(SystemExit, match="no line zz"):
        read_set(place / "list.tsv", ids=["zz"])
    (tmp_path / "bad.tsv").write_text("id\ttext\n1\thi\n")
    with pytest.raises(SystemExit, match="no column category, spoken"):
        read_set(tmp_path / "bad.tsv")
    with pytest.raises(SystemExit, match="nothing to judge"):
        run(place)
    with pytest.raises(SystemExit, match="two rows"):
        run(place, "--wavs", f"a={place / 'source'}", f"a={place / 'source'}")
    with pytest.raises(SystemExit, match="needs a --model"):
        run(place, "--resynth", f"a={place / 'source'}")


def test_loops_are_found_unless_the_text_has_them():
    song = "row row row your boat " * 3
    assert loops("and then he said " * 3, "and then he said so")
    assert not loops("and then he said " * 2, "and then he said so")
    assert not loops(song, song)
    assert loops(song * 2, song)


def test_what_is_cut_off():
    assert is_truncated("one two", "one two", "length")
    assert is_truncated("one", "one two three", "eos")
    assert not is_truncated("one two", "one two three four", "eos")
    assert not is_truncated("", "one two", None)


def test_the_judge_wants_a_whisper(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("MAMTRA_WHISPER", raising=False)
    with pytest.raises(SystemExit):
        scoring.main([str(tmp_path / "list.tsv"), str(tmp_path), "--out", str(tmp_path / "s.jsonl")])
    assert "CTranslate2 Whisper" in capsys.readouterr().err
