import numpy as np
import pytest
import torch
import train_flow
from change_voices import CHANGED, FLOOR, change, change_shard, families, widest
from corpus import Row, ShardWriter, read_index
from mix_voices import make_styles
from speech import kept_apart

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


def test_no_pitch_falls_below_zero_where_praat_would_not_end():
    pytest.importorskip("parselmouth")
    assert 200 + (0.25 * 200 - 200) * widest(200.0, 0.25) == pytest.approx(FLOOR)
    times = np.arange(72000) / 24000
    falling = 240 - 180 * np.exp(-(((times - 1.5) / 0.3) ** 2)) + 10 * np.sin(40 * times)  # to a quarter of the median
    wave = (0.3 * ((np.cumsum(falling) / 24000) % 1 < 0.1) - 0.03).astype(np.float32)

    class Widest:
        def uniform(self, low, high):
            return high

    assert len(change(wave, Widest())) == len(wave)


def test_what_praat_refuses_is_passed_over(monkeypatch):
    praat = pytest.importorskip("parselmouth.praat")
    real = praat.call

    def refusing(sounds, name, *arguments):
        if name == "Change gender":
            return real(sounds[0], "No such command")  # raises what Praat raises
        return real(sounds, name, *arguments)

    monkeypatch.setattr(praat, "call", refusing)
    assert change(speech_like(1.0, 24000).astype(np.float32), np.random.default_rng(3)) is None


def test_a_family_is_one_speech_in_all_voices():
    rows = [
        Row("u0", "ann", "books", 2, ""),
        Row("1~ann/u1", "1~ann/u1", CHANGED, 3, ""),
        Row("u1", "ann", "books", 3, ""),
        Row("2~ann/u1", "2~ann/u1", CHANGED, 3, ""),
        Row("0~ann/u9", "0~ann/u9", CHANGED, 1, ""),  # its original is not there
    ]
    assert [family.tolist() for family in families(rows)] == [[0], [2, 1, 3], [2, 1, 3], [2, 1, 3], [4]]
    with pytest.raises(SystemExit, match="2~ann/u0 and ann/u0 should be the same speech"):
        families([*rows, Row("2~ann/u0", "2~ann/u0", CHANGED, 1, "")])


def test_a_row_is_given_the_tokens_of_its_original_most_often():
    rng = np.random.default_rng(0)
    found = np.bincount([train_flow.another(np.array([4, 7, 9]), rng) for _ in range(600)], minlength=10)
    assert found[[4, 7, 9]].sum() == 600
    assert found[4] > 350 and 60 < found[7] < 140


def test_a_changed_voice_is_kept_apart_with_its_original():
    originals = [Row(f"u{number}", "ann", "books", 1, "") for number in range(101)]
    changed = [Row(f"1~ann/u{number}", "1~ann", CHANGED, 1, "") for number in range(101)]
    found = kept_apart([*originals, *changed])
    assert np.flatnonzero(found[:101]).tolist() == [0, 50, 100] and found[101:].tolist() == found[:101].tolist()
    assert np.flatnonzero(kept_apart(changed)).tolist() == [0, 50, 100]  # the originals are not there


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
