import numpy as np
import pytest
import tokens
import torch
import train_flow
from change_voices import CHANGED, change, change_shard
from corpus import Row, ShardWriter, read_index
from mix_voices import make_styles

from tests.factories import speech_like


def test_a_changed_voice_has_the_timing_and_level_of_its_original(tmp_path):
    pytest.importorskip("parselmouth")
    wave = speech_like(2.0, 24000).astype(np.float32)
    found = change(wave, np.random.default_rng(3))
    assert len(found) == len(wave) and not np.allclose(found, wave, atol=0.01)
    assert (found**2).mean() == pytest.approx((wave**2).mean(), rel=0.02)
    writer = ShardWriter(tmp_path / "a")
    for name, seconds in (("long", 2.0), ("short", 0.5)):
        writer.add(name, "ann", "real", "ˈA", speech_like(seconds, 24000), np.zeros(200))
    writer.close()
    assert change_shard((tmp_path / "a", tmp_path / "b", 1, 0)) == pytest.approx(2.0)
    (row,) = read_index([tmp_path / "b"])
    assert (row.id, row.source, row.tokens) == ("1~ann/long", CHANGED, 50)
    assert row.speaker != "ann"  # and unlike that of any other row
    assert change(np.zeros(24000, np.float32), np.random.default_rng(0)) is None


def test_what_praat_refuses_is_passed_over(monkeypatch):
    praat = pytest.importorskip("parselmouth.praat")
    real = praat.call

    def refusing(sounds, name, *arguments):
        if name == "Change gender":
            return real(sounds[0], "No such command")  # raises what Praat raises
        return real(sounds, name, *arguments)

    monkeypatch.setattr(praat, "call", refusing)
    assert change(speech_like(1.0, 24000).astype(np.float32), np.random.default_rng(3)) is None


def test_a_listener_hears_the_speakers_that_no_language_model_imitates():
    kinds = {"a": "ljspeech", "b": "real", "0~a/a": CHANGED, "1~a/a": CHANGED, "0~b/b": CHANGED, "0~c/a": CHANGED}
    rows = [Row(name, name, source, 1, "") for name, source in kinds.items()]
    known, heard = ([np.array([place + number]) for number in range(len(rows))] for place in (0, 10))
    found = dict(zip(kinds, (int(codes[0]) for codes in tokens.listened(rows, known, heard)), strict=True))
    assert found["a"] == 0 and found["b"] == 11 and found["0~c/a"] == 15
    changed = [found[name] for name in ("0~a/a", "1~a/a", "0~b/b")]
    assert all(
        own in (heard_as, original) for own, heard_as, original in zip(changed, (12, 13, 14), (0, 0, 11), strict=True)
    )
    assert changed != [12, 13, 14] and changed != [0, 0, 11]


def test_the_balance_of_the_bands_changes_smoothly():
    torch.manual_seed(0)
    found = train_flow.balance(4000, 80, 0.5, torch.device("cpu"))
    assert found.shape == (4000, 80)
    assert found.mean(1).std() == pytest.approx(0.5, rel=0.1)  # the level
    assert 0 < found.diff(dim=1).abs().max() < 0.5
    assert not train_flow.balance(2, 80, 0.0, torch.device("cpu")).any()


def test_mixtures_lie_on_the_line_through_two_voices_of_one_sex():
    values = {"af_a": 0, "bf_b": 1, "am_c": 100, "bm_d": 101}
    voices = {name: np.full((2, 3), value, np.float32) for name, value in values.items()}
    found = make_styles(voices, {"af_a", "bf_b", "am_c"}, 40, 0)
    assert [name for name in found if not name.startswith("mix")] == ["bm_d"] and len(found) == 41
    places = np.array([style[0, 0] for name, style in found.items() if name.startswith("mix")])
    assert (places > 50).any() and (places < 50).any()
    away = np.abs(np.where(places > 50, places - 100, places) - 0.5)  # from the middle between both
    assert (away[::2] <= 0.2001).all() and ((away[1::2] >= 0.7499) & (away[1::2] <= 1.0001)).all()
