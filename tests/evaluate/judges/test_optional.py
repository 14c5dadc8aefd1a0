"""Optional judges behind the small interface, and VERSA as a process, all with stand-ins."""

import json
import sys

import numpy as np
import pytest
import torch
import yaml

from mamtra.audio.io import write_audio
from mamtra.errors import MamTraError
from mamtra.evaluate.judges.asr import check_english
from mamtra.evaluate.judges.ge2e import GE2E, Resemblyzer
from mamtra.evaluate.judges.optional import UTMOS, WavLM, open_rater, open_speaker_encoder
from mamtra.evaluate.score_file import ScoreFile
from mamtra.evaluate.sets import Line
from mamtra.evaluate.versa_run import run_versa

TONE = np.sin(np.arange(12000) / 9).astype(np.float32) / 2


@pytest.fixture(scope="module")
def wavlm(tmp_path_factory):
    """A WavLM of a few thousand random weights."""
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("wavlm")
    config = transformers.WavLMConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, conv_dim=(8, 8), conv_stride=(5, 4),
        conv_kernel=(10, 4), num_feat_extract_layers=2, num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2,
        tdnn_dim=(8, 8), tdnn_kernel=(3, 1), tdnn_dilation=(1, 1), xvector_output_dim=12, num_buckets=8,
    )  # fmt: skip
    transformers.WavLMForXVector(config).save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(folder)
    return folder


def test_wavlm_gives_unit_vectors_at_any_rate(wavlm):
    encoder = open_speaker_encoder(f"wavlm:{wavlm}")
    assert isinstance(encoder, WavLM) and wavlm.name in encoder.about
    one, two = encoder(TONE, 16000), encoder(TONE, 24000)
    assert one.shape == (12,) and np.linalg.norm(one) == pytest.approx(1.0)
    assert np.array_equal(one, encoder(TONE, 16000)) and not np.allclose(one, two)


def test_resemblyzer_takes_the_weights_of_its_package(monkeypatch, tmp_path):
    torch.manual_seed(0)
    network = GE2E()
    torch.save(
        {"model_state": {**network.state_dict(), "similarity_weight": torch.ones(1)}}, tmp_path / "pretrained.pt"
    )
    (tmp_path / "resemblyzer.py").write_text("raise ImportError('what it imports is not here')", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("mamtra.evaluate.judges.ge2e.metadata.version", lambda name: "9")
    encoder = open_speaker_encoder("resemblyzer")
    assert encoder.about == "resemblyzer 9" and encoder(TONE, 24000).shape == (256,)
    assert open_speaker_encoder(f"resemblyzer:{tmp_path}/pretrained.pt").about == "resemblyzer, pretrained.pt"
    with pytest.raises(MamTraError, match="no file of Resemblyzer weights"):
        Resemblyzer(str(tmp_path / "none.pt"))
    with pytest.raises(MamTraError, match="does not hold the weights"):
        Resemblyzer(str(tmp_path / "resemblyzer.py"))


def test_resemblyzer_embeds_windows_of_many_sounds_in_batches(tmp_path, monkeypatch):
    torch.save({"model_state": GE2E().state_dict()}, tmp_path / "w.pt")
    encoder = Resemblyzer(str(tmp_path / "w.pt"))
    monkeypatch.setattr(encoder, "BATCH", 2)
    rng = np.random.default_rng(0)
    sounds = [(rng.normal(0, 0.1, length).astype(np.float32), 16000) for length in (900, 40_000, 90_000)]
    assert [len(encoder._windows(wave)) for wave, _ in sounds] == [1, 2, 6]
    for one, (wave, rate) in zip(encoder.many(sounds), sounds, strict=True):
        assert np.linalg.norm(one) == pytest.approx(1) and np.allclose(one, encoder(wave, rate), atol=1e-6)
        assert np.allclose(one, encoder(wave / 3, rate), atol=1e-5)  # loudness is nothing


def test_resemblyzer_is_what_its_package_finds(monkeypatch):
    pytest.importorskip("librosa")
    monkeypatch.setitem(sys.modules, "webrtcvad", type(sys)("webrtcvad"))  # imported by it, and not used here
    package = pytest.importorskip("resemblyzer")
    theirs, encoder, rng = package.VoiceEncoder("cpu", verbose=False), Resemblyzer(), np.random.default_rng(0)
    for length in (900, 12_000, 25_600, 40_000, 44_000, 90_000, 123_456):
        wave = np.cumsum(rng.normal(0, 0.1, length)).astype(np.float32)
        expected = theirs.embed_utterance(wave / np.abs(wave).max() * 0.5)
        assert np.allclose(encoder(wave, 16000), expected, atol=2e-4)


def test_utmos_from_a_folder(tmp_path):
    (tmp_path / "hubconf.py").write_text(
        "import torch\nclass M(torch.nn.Module):\n    def forward(self, wave, rate):\n"
        "        assert wave.shape == (1, 8000) and rate == 16000\n"
        "        return wave.abs().max()[None] * 8\ndef utmos22_strong(**_):\n    return M()\n",
        encoding="utf-8",
    )
    rater = open_rater(f"utmos:{tmp_path}")
    assert rater(TONE, 24000) == pytest.approx(4.0, abs=0.1) and rater.about == f"UTMOS22 strong, {tmp_path.name}"


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda place: open_speaker_encoder(f"wavlm:{place}/none"), "no WavLM speaker model"),
        (lambda place: UTMOS(f"{place}/none"), "UTMOS is neither in"),
        (lambda place: open_rater("transcriber"), "no rater 'transcriber'"),
    ],
)
def test_judges_that_are_absent_get_a_sentence(act, message, tmp_path):
    with pytest.raises(MamTraError, match=message):
        act(tmp_path)


def test_texts_that_are_not_english(tmp_path, refused):
    check_english(["A naïve café, 12!", "", "№ 5 is it"])
    (tmp_path / "s.txt").write_text("Hello.\n今天天气很好。\n", encoding="utf-8")
    assert "is not English text" in refused(["evaluate", "mini", "--set", str(tmp_path / "s.txt"), "--whisper", "x"])


SCORER = """#!{python}
import argparse, json, sys
import yaml
parser = argparse.ArgumentParser()
for name in ("pred", "score_config", "gt", "text", "output_file", "cache_folder", "verbose", "rank"):
    parser.add_argument("--" + name)
parser.add_argument("--io", default="kaldi", choices=["kaldi", "soundfile", "dir"])
parser.add_argument("--scoring_mode", default="utterance", choices=["utterance", "metric"])
for name in ("use_gpu", "no_match", "resume"):
    parser.add_argument("--" + name, action="store_true")
options = parser.parse_args()
listed = lambda path: dict(line.strip().split(maxsplit=1) for line in open(path))
pred, text, gt = listed(options.pred), listed(options.text), listed(options.gt) if options.gt else None
if options.io != "soundfile":
    sys.exit("not the form of these lists")
if gt is not None and len(pred) > len(gt):
    sys.exit("ValueError: #groundtruth files are less than #generated files")
loaded = []
for entry in yaml.safe_load(open(options.score_config)):
    if entry["name"] == "pesq":
        print("ERROR:VersaScorer:Failed to load metric pesq: not found in registry", file=sys.stderr)
    elif entry["name"] == "speaker" and gt is None:
        print("WARNING:VersaScorer:Cannot use speaker because no ground truth is provided", file=sys.stderr)
    else:
        loaded.append(entry["name"])
if not loaded:
    open(options.output_file, "w").close()
    sys.exit("ValueError: No scoring function is provided")
with open(options.output_file, "w") as file:
    for number, key in enumerate(key for key in pred if key != "short"):
        line = {{"key": key, "ref_text": text[key], "utmos": 3.0 + number}}
        for kind, count in (("delete", number), ("insert", 1), ("replace", 0), ("equal", 4)):
            line["fwhisper_wer_" + kind] = count
        file.write(json.dumps(line) + "\\n")
"""
"""The interface of VERSA 1.0.0: its options, its lists, what it refuses and what it goes on without."""


@pytest.fixture
def versa(tmp_path, monkeypatch):
    """A stand-in for VERSA's scorer on the path, and a score file with sound."""
    program = tmp_path / "bin" / "versa-score"
    program.parent.mkdir()
    program.write_text(SCORER.format(python=sys.executable), encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    scores = ScoreFile(tmp_path / "s.jsonl", {"system": "x"})
    for key in "abc":
        row = {"id": key, "reference": "the words", "hypothesis": "the words"}
        if key != "c":
            write_audio(tmp_path / f"{key}.wav", TONE, 16000)
            row["sound"] = str(tmp_path / f"{key}.wav")
        scores.add(row)
    return scores


def test_versa_runs_and_is_read_back(versa, tmp_path):
    lines = [Line(key, "t", "t", ground_truth=tmp_path / "b.wav") for key in "ab"]
    out = tmp_path / "out.versa.jsonl"
    found, left_out = run_versa(versa, lines, out, metrics=["words", "similarity", "mos"])
    assert found == {"fwhisper_wer": pytest.approx(100 * 3 / 9), "utmos": 3.5} and not left_out
    work = tmp_path / "out.versa.files"
    assert [line.split()[0] for line in (work / "gt.scp").read_text(encoding="utf-8").splitlines()] == ["a", "b"]
    assert [e["name"] for e in yaml.safe_load((work / "config.yaml").read_text())] == [
        "whisper_wer",
        "speaker",
        "pseudo_mos",
    ]
    assert [json.loads(line)["key"] for line in out.read_text().splitlines()] == ["a", "b"]


def test_what_versa_leaves_out_is_said(versa, tmp_path):
    """Recordings of some lines only would make VERSA refuse them all; sound too short for it has no line."""
    versa.add({"id": "short", "reference": "the", "sound": versa.rows["a"]["sound"]})
    lines = [Line("a", "t", "t", ground_truth=tmp_path / "b.wav")]
    found, left_out = run_versa(versa, lines, tmp_path / "o.versa.jsonl", metrics=["words", "similarity"])
    assert left_out == ["Cannot use speaker because no ground truth is provided", "1 of 3 sounds have no line"]
    assert "fwhisper_wer" in found
    versa.add({"id": "two words", "reference": "the", "sound": versa.rows["a"]["sound"]})
    with pytest.raises(MamTraError, match="rename 'two words'"):
        run_versa(versa, lines, tmp_path / "o.versa.jsonl", metrics=["words"])


def test_versa_that_fails_or_is_absent(versa, tmp_path, monkeypatch, refused):
    config = tmp_path / "c.yaml"
    config.write_text("- {name: pesq}\n", encoding="utf-8")
    with pytest.raises(MamTraError, match=r"Failed to load metric pesq.*No scoring function"):
        run_versa(versa, [], tmp_path / "o.jsonl", metrics=["words"], config=config)
    monkeypatch.setenv("PATH", "")
    assert "VERSA is not installed" in refused(
        ["evaluate", "ground_truth", "--set", "sample", "--whisper", "x", "--with-versa"]
    )
