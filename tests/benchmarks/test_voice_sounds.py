import numpy as np
import pytest
import vocoders
import voice_choice
import voice_stages
from voice_sounds import figures, liveliness, pauses, pitch

RATE = 16000


def tone(hertz, seconds=1.0):
    """A pulse-like tone (T,) with a fall of 6 dB an octave; `hertz` may be a function of time."""
    t = np.arange(round(seconds * RATE)) / RATE
    phase = 2 * np.pi * np.cumsum(np.broadcast_to(hertz(t) if callable(hertz) else hertz, t.shape)) / RATE
    return 0.1 * sum(np.sin(k * phase) / k for k in range(1, 8)).astype(np.float32)


@pytest.mark.parametrize("hertz", [80, 150, 240, 400])
def test_pitch_of_a_tone_is_found_in_the_right_octave(hertz):
    track = pitch(tone(hertz), RATE)
    assert len(track) > 80
    assert np.allclose(track, hertz, rtol=0.03)


def test_the_range_of_a_glide_of_an_octave():
    """The 5th to the 95th percentile of 12 semitones, evenly swept."""
    found = liveliness(tone(lambda t: 120 * 2**t), RATE)
    assert found["f0_range"] == pytest.approx(0.9 * 12, abs=0.8)
    assert found["seconds"] == pytest.approx(1.0, abs=0.05)


def test_noise_has_no_pitch():
    noise = np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32)
    assert "f0_range" not in liveliness(noise, RATE)


def test_pauses_are_those_inside_and_long_enough():
    silent = lambda seconds: np.zeros(round(seconds * RATE), np.float32)  # noqa: E731
    sound = np.concatenate([tone(150), silent(0.3), tone(150), silent(0.1), tone(150)])
    assert pauses(sound, RATE) == pytest.approx(0.3, abs=0.03)


def test_words_are_summed_before_they_are_divided():
    rows = [{"id": "a", "errors": 1, "words": 1, "mos": 3.0}, {"id": "b", "errors": 0, "words": 9, "mos": 4.0}]
    found = figures(rows)
    assert found["wer"]["value"] == pytest.approx(10.0)
    assert found["mos"]["value"] == pytest.approx(3.5)
    assert "cam" not in found


def test_voices_that_say_the_same_lines_alike_narrow_no_interval():
    rows = [{"id": f"{n}", "errors": int(n % 4 == 0), "words": 10, "mos": 4.0 + n % 3} for n in range(40)]
    alone, together = figures(rows), figures(row for row in rows for _ in range(11))
    for name in ("wer", "mos"):
        assert together[name]["value"] == pytest.approx(alone[name]["value"])
        assert np.ptp(together[name]["ci95"]) == pytest.approx(np.ptp(alone[name]["ci95"]), rel=0.1)


def test_a_point_of_wer_weighs_a_tenth_of_mos():
    def of(wer, mos):
        return {name: {"value": value} for name, value in (("wer", wer), ("mos", mos), ("cam", 0.5))}

    assert voice_choice.score(of(2.0, 4.2)) == pytest.approx(voice_choice.score(of(1.0, 4.1)))


def test_fractions_are_of_the_first_system():
    value = lambda x, y: {"f0_range": {"value": x}, "pause": {"value": y}}  # noqa: E731
    (said,) = voice_stages.fractions({"engine": value(10.0, 0.4), "student": value(7.5, 0.1)})
    assert said == "student 75% of the F0 range and 25% of the pauses"


def test_a_change_is_after_minus_before():
    before = [{"errors": 1, "words": 10, "mos": 4.0}, {"errors": 0, "words": 10, "mos": 4.2, "f0_range": 9.0}]
    after = [{"errors": 0, "words": 10, "mos": 4.3}, {"errors": 0, "words": 10, "mos": 4.4, "f0_range": 9.5}]
    before, after = ([{"id": str(n), **row} for n, row in enumerate(rows)] for rows in (before, after))
    found = vocoders.changes({"before": before, "after": after})
    assert set(found) == {"wer", "mos", "f0_range"}
    assert found["wer"]["value"] == pytest.approx(-5.0) and found["mos"]["value"] == pytest.approx(0.25)
    assert found["mos"]["ci95"] == pytest.approx((0.2, 0.3)) and found["f0_range"]["value"] == pytest.approx(0.5)
