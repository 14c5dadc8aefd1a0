import numpy as np
import onnx
import pytest
from change_voices import original_of
from corpus import read_index
from import_audio import import_shard
from parallel_voices import FIRST, TIMBRE, TRACK, Sentence, Timbre, cast, mixture, sentences, speak, with_pitch

from tests.factories import speech_like

VOICES = [Timbre(name, np.full((3, TIMBRE), value, np.float32), hertz) for name, value, hertz in (
    ("af_a", 0.0, 200.0), ("bf_b", 1.0, 220.0), ("am_c", 9.0, 100.0), ("bm_d", 10.0, 125.0))]  # fmt: skip


def test_a_mixture_lies_between_voices_of_one_sex_or_beyond_one_and_so_does_its_pitch():
    rng = np.random.default_rng(0)
    for _ in range(50):
        found = mixture("mixture", VOICES, rng)
        place, low, high = (
            (found.vectors[0, 0], 200, 220) if found.vectors[0, 0] < 5 else (found.vectors[0, 0] - 9, 100, 125)
        )
        assert -0.5 <= place <= 1.5
        assert found.pitch == pytest.approx(low * (high / low) ** place, rel=1e-4)


def test_a_sentence_always_has_the_same_other_voices():
    found = [cast(f"1-{number}", VOICES, {"am_c"}, 3) for number in range(60)]
    assert [one.name for one in cast("1-7", VOICES, {"am_c"}, 3)] == [one.name for one in found[7]]
    names = [one.name for voices in found for one in voices]
    assert all(len({one.name for one in voices}) == 3 for voices in found)
    assert names.count("am_c") > 40 and any(name.startswith("mixture") for name in names)


def test_sentences_have_the_length_that_is_asked_for(tmp_path, monkeypatch):
    import parallel_voices

    class Letters:
        def phonemes(self, text):
            return text.lower()

    monkeypatch.setattr(parallel_voices.TextFrontend, "load", lambda model: Letters())
    (tmp_path / "texts.txt").write_text("Wait!\nYou?\nA whole sentence.\nAnd another one, which is longer.\n")
    assert sorted(sentences(tmp_path / "texts.txt", tmp_path, 9, (5, 20), 0)) == ["a whole sentence.", "wait!"]
    assert len(sentences(tmp_path / "texts.txt", tmp_path, 3, (1, 99), 0)) == 3


def test_all_voices_of_a_sentence_have_its_timing(tmp_path, monkeypatch):
    import parallel_voices

    asked = []

    def engine(phonemes, vectors, factor=1.0):
        asked.append((vectors, factor))
        return np.pad(speech_like(1.5, 24000).astype(np.float32), 6000), np.full(5, 200.0)

    prosody = np.full((3, 256), 5.0, np.float32)
    for name, value in {"engine": engine, "prosody": prosody, "place": tmp_path}.items():
        monkeypatch.setattr(parallel_voices, name, value, raising=False)
    rows = speak(Sentence("1-0", "h\u0259l\u02c8O", VOICES[2:]))
    assert [row["path"] for row in rows] == [f"{name}/1-0.opus" for name in (FIRST, "am_c", "bm_d")]
    (_, own), (vectors, factor), _ = asked
    assert own == 1 and factor == pytest.approx(100 / 200, rel=0.15)
    assert (vectors[:, :TIMBRE] == 9).all() and (vectors[:, TIMBRE:] == 5).all()
    speak(Sentence("1-0", "h\u0259l\u02c8O", VOICES[2:]))
    assert len(asked) == 3  # what is there is kept
    pytest.importorskip("parselmouth")
    import_shard((tmp_path / "shard", tmp_path, rows, True))
    first, *others = read_index([tmp_path / "shard"])
    assert first.tokens < 2.5 * 25 and {one.tokens for one in others} == {first.tokens}
    assert {original_of(one) for one in others} == {first.key} == {f"{FIRST}/1-0"}


def test_the_pitch_inside_the_model_can_be_multiplied(tmp_path):
    ort = pytest.importorskip("onnxruntime")
    helper, number = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [helper.make_node("Add", ["style", "style"], [TRACK]), helper.make_node("Neg", [TRACK], ["audio"])]
    values = [helper.make_tensor_value_info(name, number, [2]) for name in ("style", "audio")]
    model = helper.make_model(
        helper.make_graph(nodes, "kokoro", values[:1], values[1:]),
        opset_imports=[helper.make_opsetid("", 13)],
        ir_version=8,
    )
    onnx.save(model, tmp_path / "model.onnx")
    session = ort.InferenceSession(with_pitch(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    audio, track = session.run(None, {"style": np.float32([50, 60]), "pitch": np.float32([2])})
    assert track.tolist() == [200, 240] and audio.tolist() == [-200, -240]
