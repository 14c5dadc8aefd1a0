"""Listening tests: pages, what a browser does with them, and statistics that simulated listeners check."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from scipy.stats import t

from mamtra.audio.io import write_audio
from mamtra.cli import main
from mamtra.errors import MamTraError
from mamtra.evaluate.listening.analysis import analyse, crossed
from mamtra.evaluate.listening.answers import Answer, read_answers
from mamtra.evaluate.listening.clips import RATE, loudness_normalised, low_anchor, noise_anchor
from mamtra.evaluate.listening.key import Key, read_key
from mamtra.evaluate.score_file import ScoreFile

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture
def runs(tmp_path):
    """Score files of two systems and of the ground truth over three utterances with sound; a fourth has none."""
    found = {}
    for number, name in enumerate(("one", "two", "ground_truth")):
        scores = ScoreFile(tmp_path / f"{name}.jsonl", {"system": name})
        for key in "abcd":
            row = {"id": key, "text": f"Text </script> {key}", "reference": key, "hypothesis": key}
            if key != "d":
                sound = tmp_path / name / f"{key}.wav"
                sound.parent.mkdir(exist_ok=True)
                time = np.arange(6000) / 16000
                write_audio(sound, (0.1 + 0.2 * number) * np.sin(2000 * (number + 1) * time).astype(np.float32), 16000)
                row["sound"] = str(sound)
            scores.add(row)
        found[name] = str(scores.path)
    return found


def make(runs, kind, place, *more):
    reference = ["--reference", runs["ground_truth"]] if kind == "mushra" else []
    out = place / f"{kind}.html"
    assert main(["listen", "make", runs["one"], runs["two"], "--test", kind, *reference, "-o", str(out), *more]) == 0
    data = re.search(r'type="application/json">(.*?)</script>', out.read_text(encoding="utf-8"), re.DOTALL)[1]
    read_key(out)
    return out, json.loads(data), json.loads(out.with_suffix(".key.json").read_text(encoding="utf-8"))


def as_key(content):
    return Key.model_validate_json(json.dumps(content))


def simulate(key, listener, rate):
    """A file of answers; rate(owner) is what the listener thinks of a clip."""
    answers = []
    for order, (trial, known) in enumerate(key["trials"].items()):
        clips = known["clips"]
        item = {"trial": trial, "order": order, "scores": {}, "choice": None}
        if key["listening_test"] == "ab":
            a, b = clips
            x, y = rate(clips[a]), rate(clips[b])
            item["choice"] = "same" if x == y else a if x > y else b
        else:
            item["scores"] = {clip: rate(owner) for clip, owner in clips.items()}
        answers.append(item)
    return {"listener": listener, "digest": key["digest"], "finished": "2026-01-01", "answers": answers}


def save(place, session):
    path = place / f"{session['listener']}.json"
    path.write_text(json.dumps(session), encoding="utf-8")
    return str(path)


def test_clips_are_equally_loud_and_anchors_are_degraded():
    rng = np.random.default_rng(0)
    voice = rng.standard_normal(RATE).astype(np.float32) / 10
    quiet = np.concatenate([voice / 5, np.zeros(RATE, np.float32)])
    one, two = loudness_normalised(voice), loudness_normalised(quiet)
    assert np.sqrt(np.square(one).mean()) == pytest.approx(10 ** (-26 / 20), rel=0.01)
    assert np.sqrt(np.square(two[:RATE]).mean()) == pytest.approx(10 ** (-26 / 20), rel=0.01)
    spectrum = np.abs(np.fft.rfft(low_anchor(voice)))
    assert spectrum[3600:].max() < 1e-3 * spectrum[:3400].mean()
    assert abs(np.corrcoef(noise_anchor(voice, 0), voice)[0, 1]) < 0.6
    assert np.array_equal(loudness_normalised(np.zeros(100, np.float32)), np.zeros(100, np.float32))


@pytest.mark.parametrize(("kind", "trials", "clips"), [("mos", 6, 1), ("ab", 3, 2), ("mushra", 3, 4)])
def test_pages_hold_everything_and_tell_nothing(runs, tmp_path, kind, trials, clips):
    page, data, key = make(runs, kind, tmp_path, "--catch", "2", "--show-text")
    asked = [trial for trial in data["trials"] if not trial["always"]]
    assert len(asked) == trials and len(data["trials"]) == trials + 2
    assert {len(trial["clips"]) for trial in asked} == {clips}
    assert {clip for trial in data["trials"] for clip in trial["clips"]} <= {*data["clips"]}
    text = page.read_text(encoding="utf-8")
    assert "http" not in text.replace(data["title"], "") and text.count("</script>") == 2
    for secret in ("one", "two", "low anchor", "catch"):
        assert secret not in json.dumps({**data, "clips": [], "question": "", "trials": [
            {**trial, "text": ""} for trial in data["trials"]]})  # fmt: skip
    assert {owner for trial in key["trials"].values() for owner in trial["clips"].values()} >= {"one", "two"}
    _, same, _ = make(runs, kind, tmp_path, "--catch", "2", "--show-text")
    assert same == data and make(runs, kind, tmp_path, "--seed", "1")[1]["digest"] != data["digest"]


def test_a_draw_of_utterances(runs, tmp_path):
    _, _, key = make(runs, "mos", tmp_path, "--utterances", "2", "--catch", "0")
    chosen = {trial["utterance"] for trial in key["trials"].values()}
    assert len(chosen) == 2 and len(key["trials"]) == 4 and "d" not in chosen


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize("kind", ["mos", "ab", "mushra"])
def test_a_browser_runs_the_page_by_keyboard(runs, tmp_path, kind):
    page, data, key = make(runs, kind, tmp_path, "--catch", "1", "--show-text")
    first = drive(page, tmp_path, "anna")
    assert first["listener"] == "anna" and first["finished"] and first["listening_test"] == kind
    assert {answer["trial"] for answer in first["answers"]} == {*key["trials"]}
    assert all(min(answer["plays"].values()) >= 1 for answer in first["answers"])
    again, other = drive(page, tmp_path, "anna", "elsewhere"), drive(page, tmp_path, "bo")
    orders = [[(answer["trial"], answer["shown"]) for answer in one["answers"]] for one in (first, again, other)]
    assert orders[0] == orders[1] != orders[2]
    answers, remarks = read_answers([tmp_path / "anna.json"], as_key(key))
    assert len(answers) == len(data["trials"]) and remarks == []
    if kind == "mos":
        assert {value for answer in answers for value in answer.scores.values()} == {2.0}
    if kind == "ab":
        assert all(answer.choice == key["trials"][sent["trial"]]["clips"][sent["shown"][0]]
                   for answer, sent in zip(answers, first["answers"], strict=True))  # fmt: skip
    if kind == "mushra":
        assert {value for answer in answers for value in answer.scores.values()} == {70.0}


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_a_part_of_the_trials_in_two_visits(runs, tmp_path):
    page, _, key = make(runs, "mos", tmp_path, "--per-listener", "3", "--catch", "1")
    assert drive(page, tmp_path, "anna", stop=2) is None
    session = drive(page, tmp_path, "anna")
    asked = [key["trials"][answer["trial"]] for answer in session["answers"]]
    assert len(asked) == 4 and sum(trial["catch"] for trial in asked) == 1
    whole = drive(page, tmp_path, "anna", "elsewhere")
    assert [a["trial"] for a in whole["answers"]] == [a["trial"] for a in session["answers"]]
    assert session["started"] < session["finished"] < whole["started"]


def drive(page, place, listener, profile="browser", stop=99):
    """The answers of a visitor that only types; sound ends as soon as it starts. None where it stops before the end."""
    steps = {
        "mos": 'press(" ");press("2")',
        "ab": 'press("ArrowLeft");press("1");press("2");press("ArrowLeft")',
        "mushra": 'press("0");document.querySelectorAll("input[type=range]").forEach((slider,i)=>'
        "{press(String(i+1));if(document.activeElement!==slider)throw Error('focus');slider.value=70;slider.oninput()})",
    }[page.stem]
    script = f"""<script>HTMLMediaElement.prototype.play=function(){{this.onended();return Promise.resolve()}};
const press=key=>document.dispatchEvent(new KeyboardEvent("keydown",{{key,bubbles:true,cancelable:true}}));
document.getElementById("listener").value="{listener}";document.getElementById("start").click();
const before=session.answers.length;press("Enter");if(session.answers.length>before)throw Error("no answer");
for(let i=0;i<{stop}&&!document.getElementById("answers");i++){{{steps};press("Enter")}}</script></body>"""
    visited = place / f"{page.stem}-{listener}.html"
    visited.write_text(page.read_text(encoding="utf-8").replace("</body>", script), encoding="utf-8")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
               "--disable-background-networking", "--disable-component-update", "--disable-sync",
               f"--user-data-dir={place / profile}", "--dump-dom", visited.as_uri()]  # fmt: skip
    for patience in (40, 80):  # a busy machine starts a browser late, or never
        try:
            shown = subprocess.run(command, capture_output=True, text=True, timeout=patience, check=True).stdout
            break
        except subprocess.TimeoutExpired:
            shown = ""
    found = re.search(r'<pre id="answers">(.*?)</pre>', shown, re.DOTALL)
    if stop < 99:
        assert not found and f"{stop + 1} of" in shown
        return None
    assert found, shown[-3000:]
    session = json.loads(found[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
    save(place, session)
    return session


def test_means_and_listeners_who_are_left_out(runs, tmp_path, capsys):
    _, _, key = make(runs, "mos", tmp_path, "--catch", "1")
    rates = {"one": 4.0, "two": 3.0, "noise anchor": 1.0}
    good = save(tmp_path, simulate(key, "ann", rates.__getitem__))
    careless = save(tmp_path, simulate(key, "cy", lambda owner: 5.0))
    half = simulate(key, "di", rates.__getitem__)
    half["answers"], half["finished"] = half["answers"][:3], None
    capsys.readouterr()
    assert main(["listen", "read", str(tmp_path / "mos.html"), good, careless, save(tmp_path, half), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["left_out"] == {"cy": "failed 1 of 1 catch trials"} and found["remarks"] == ["di did not finish"]
    assert found["listeners"] == 2 and found["systems"]["one"]["mean"] == 4.0
    assert found["systems"]["two"]["mean"] == 3.0 and found["systems"]["two"]["half_width"] == 0.0
    assert main(["listen", "read", str(tmp_path / "mos.key.json"), good, careless, "--allow", "1"]) == 0
    assert "2 listeners" in capsys.readouterr().out


def test_mushra_leaves_out_who_does_not_find_the_reference(runs, tmp_path):
    _, _, key = make(runs, "mushra", tmp_path)
    rates = {"one": 60.0, "two": 40.0, "reference": 100.0, "low anchor": 20.0, "noise anchor": 5.0}
    sessions = [
        simulate(key, "ann", rates.__getitem__),
        simulate(key, "bob", {**rates, "reference": 80.0}.__getitem__),
        simulate(key, "cy", {**rates, "low anchor": 95.0}.__getitem__),
    ]
    answers, _ = read_answers([tmp_path / save(tmp_path, s) for s in sessions], as_key(key))
    found = analyse(answers, as_key(key))
    assert "hidden reference under 90 in 3 of 3" in found["left_out"]["bob"]
    assert "low anchor over 90" in found["left_out"]["cy"]
    assert [row["mean"] for row in found["systems"].values()] == [100.0, 60.0, 40.0, 20.0]


def test_preferences(runs, tmp_path):
    _, _, key = make(runs, "ab", tmp_path)
    rates = {"one": 1, "two": 2, "reference": 9, "noise anchor": 0}
    sessions = [simulate(key, name, rates.__getitem__) for name in ("ann", "bob")]
    sessions.append(simulate(key, "cy", {**rates, "one": 2}.__getitem__))
    answers, _ = read_answers([tmp_path / save(tmp_path, s) for s in sessions], as_key(key))
    (pair,) = analyse(answers, as_key(key))["pairs"]
    assert (pair["first_better"], pair["no_difference"], pair["other_better"], pair["votes"]) == (0, 3, 6, 9)
    assert pair["p_sign"] == pytest.approx(2 / 2**6) and pair["p_sign_listeners"] == pytest.approx(2 / 2**2)
    assert pair["net_preference"] == pytest.approx(6 / 9)


def test_half_width_is_students(runs, tmp_path):
    """Of the ratings 1 to 5: t(4) = 2.776, standard deviation 1.581."""
    answers = [Answer(f"l{value}", "a", False, {"x": float(value)}) for value in range(1, 6)]
    key = {"listening_test": "mos", "digest": "0", "seed": 0, "systems": ["x"], "trials": {}}
    row = analyse(answers, as_key(key))["systems"]["x"]
    assert row["mean"] == 3 and row["half_width"] == pytest.approx(2.776 * 1.5811 / 5**0.5, rel=1e-3)


def test_one_rating_has_a_mean_without_a_spread(runs, tmp_path, capsys):
    _, _, key = make(runs, "mos", tmp_path)
    session = simulate(key, "ann", {"one": 4.0, "two": 3.0, "noise anchor": 1.0}.__getitem__)
    session["answers"] = session["answers"][:1]
    files = ["listen", "read", str(tmp_path / "mos.key.json"), save(tmp_path, session)]
    capsys.readouterr()
    assert main([*files, "--json"]) == 0
    (row,) = (row for row in json.loads(capsys.readouterr().out)["systems"].values() if row["ratings"])
    assert row["half_width"] is None
    assert main(files) == 0
    assert "nan" not in capsys.readouterr().out


def test_intervals_over_listeners_and_utterances_cover_the_mean():
    """Listeners and utterances that differ: the crossed interval covers, the one for independent ratings does not."""
    rng = np.random.default_rng(0)
    people, texts, hits, naive = 15, 20, 0, 0
    who, what = np.divmod(np.arange(people * texts), texts)
    for _ in range(60):
        values = 3 + rng.normal(0, 0.5, people)[who] + rng.normal(0, 0.4, texts)[what] + rng.normal(0, 0.6, len(who))
        low, high = crossed(values, [str(w) for w in who], [str(w) for w in what])
        hits += low <= 3 <= high
        naive += abs(values.mean() - 3) <= t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    assert hits >= 52 > naive


def test_simulated_listeners_with_a_known_preference():
    rng = np.random.default_rng(1)
    key = {"listening_test": "ab", "digest": "0", "seed": 0, "systems": ["x", "y"], "trials": {}}

    def choice(chance):
        return "y" if rng.random() < chance else "x"

    def votes(chance):
        return [Answer(f"l{i}", f"u{j}", False, {}, ("x", "y"), choice(chance)) for i in range(15) for j in range(20)]

    (clear,), (none,) = (analyse(votes(chance), as_key(key))["pairs"] for chance in (0.7, 0.5))
    assert clear["p_sign"] < 1e-6 and clear["ci95"][0] > 0 and clear["net_preference"] == pytest.approx(0.4, abs=0.12)
    assert none["p_sign"] > 0.01 and none["ci95"][0] < 0 < none["ci95"][1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["make", "one", "--test", "ab"], "needs two score files"),
        (["make", "one", "two", "--test", "mushra"], "give --reference"),
        (["make", "one", "one"], "cannot be told apart"),
        (["make", "one", "--test", "rank"], "no listening test 'rank'"),
        (["make", "one", "--format", "mp3"], "flac, wav or opus"),
        (["read", "none.key.json", "none.json"], "no key"),
    ],
)
def test_mistakes_get_a_sentence(runs, arguments, message, refused):
    assert message in refused(["listen", *(runs.get(word, word) for word in arguments)])


def test_answers_of_another_test_are_refused(runs, tmp_path):
    _, _, key = make(runs, "mos", tmp_path)
    session = simulate(key, "ann", lambda owner: 1.0)
    with pytest.raises(MamTraError, match="another listening test"):
        read_answers([tmp_path / save(tmp_path, {**session, "digest": "x"})], as_key(key))
    with pytest.raises(MamTraError, match="damaged"):
        read_answers([tmp_path / save(tmp_path, {**session, "answers": session["answers"] * 2})], as_key(key))
    session["answers"][0]["scores"] = {}
    with pytest.raises(MamTraError, match="clips that were not rated"):
        read_answers([tmp_path / save(tmp_path, session)], as_key(key))
    session["answers"][0]["scores"] = {"nothing": 3}
    with pytest.raises(MamTraError, match="not in the trial"):
        read_answers([tmp_path / save(tmp_path, session)], as_key(key))
    (tmp_path / "odd.json").write_text("[]", encoding="utf-8")
    with pytest.raises(MamTraError, match="not a file of answers"):
        read_answers([tmp_path / "odd.json"], as_key(key))
