"""The watermark is found where it is, and nowhere else."""

import hashlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mamtra.audio.io import read_audio, resample, write_audio
from mamtra.audio.watermark import FOUND, STRENGTH, detect, mark
from mamtra.cli import main
from mamtra.errors import MamTraError
from mamtra.synthesis.audio import Audio, marked
from tests.factories import speech_like

RATE = 24000


@pytest.fixture(scope="module")
def speech():
    return speech_like(6.0, RATE, 0.3)


@pytest.mark.parametrize("rate", [16000, 22050, 24000, 48000])
def test_a_marked_recording_is_found_by_its_key_alone(speech, rate):
    sound = resample(speech, RATE, rate)
    made = mark(sound, rate)
    assert made.dtype == np.float32 and made.shape == sound.shape
    found, other, plain = detect(made, rate), detect(made, rate, "mine"), detect(sound, rate)
    assert found.marked and found.score > FOUND + 2 and found.seconds == pytest.approx(6.0, abs=0.01)
    assert not other.marked and not plain.marked and plain.seconds == 0
    assert np.square(made - sound).mean() < (1.5 * STRENGTH) ** 2 * np.square(sound).mean()


@pytest.mark.parametrize("cut", [1, 1000, 12345, 40000])
def test_a_part_of_it_is_enough(speech, cut):
    assert detect(mark(speech, RATE)[cut : cut + 2 * RATE], RATE).marked


def test_a_weak_mark_is_found_in_a_long_recording():
    sound, over = np.random.default_rng(0).normal(0, 0.1, (2, 20 * RATE)).astype(np.float32)
    weak = mark(sound, RATE) + 1.5 * over
    found, short = detect(weak, RATE), detect(weak[: 5 * RATE], RATE)
    assert found.marked and found.score > 1.5 * short.score and not detect(sound + 1.5 * over, RATE).marked


@pytest.mark.parametrize("fmt", ["mp3", "opus", "flac"])
def test_it_survives_formats(speech, tmp_path, fmt):
    write_audio(tmp_path / f"a.{fmt}", mark(speech, RATE), RATE)
    assert detect(*read_audio(tmp_path / f"a.{fmt}")).marked


@settings(max_examples=20, deadline=None)
@given(sizes=st.lists(st.integers(1, 40000), min_size=1, max_size=8))
def test_chunks_of_a_stream_carry_the_same_mark(speech, sizes):
    """Where a chunk is long enough for frames its middle equals that of the whole."""
    whole, start = mark(speech, RATE), 0
    for size in sizes:
        part = speech[start : start + size]
        made = mark(part, RATE, start)
        assert len(made) == len(part)
        np.testing.assert_allclose(made[1536:-1536], whole[start : start + len(part)][1536:-1536], atol=1e-6)
        start += len(part)


def test_a_stream_is_marked_chunk_by_chunk(speech):
    given = [Audio(part, RATE, "", 0, "v", 1, "eos", 0.1, 1.0) for part in np.array_split(speech, 7)]
    made = list(marked(given, "mine"))
    assert [len(chunk.samples) for chunk in made] == [len(chunk.samples) for chunk in given]
    joined = np.concatenate([chunk.samples for chunk in made])
    assert detect(joined, RATE, "mine").marked and not detect(joined, RATE).marked


def test_silence_noise_and_what_is_too_short():
    noise = np.random.default_rng(0).normal(0, 0.1, 3 * RATE).astype(np.float32)
    assert not detect(np.zeros(RATE, np.float32), RATE).marked and not detect(noise, RATE).marked
    assert detect(mark(noise, RATE), RATE).marked
    assert np.array_equal(mark(noise[:500], RATE), noise[:500])
    with pytest.raises(MamTraError, match="too short to tell"):
        detect(noise[:1000], RATE)


def test_scores_of_other_keys_are_those_of_chance(speech):
    made = mark(speech, RATE)
    scores = [detect(made, RATE, hashlib.md5(bytes([n])).hexdigest()).score for n in range(60)]
    assert max(scores) < FOUND - 1


def test_from_the_command_line(capsys, refused, speech, tmp_path, monkeypatch):
    good, bad, short = (str(tmp_path / f"{name}.wav") for name in ("good", "bad", "short"))
    for path, samples in ((good, mark(speech, RATE)), (bad, speech), (short, speech[:2000])):
        write_audio(path, samples, RATE)
    assert main(["detect", good]) == 0 and "marked, in 6.0 s of it" in capsys.readouterr().out
    assert main(["detect", good, bad, "--json"]) == 3
    assert [json.loads(row)["marked"] for row in capsys.readouterr().out.splitlines()] == [True, False]
    assert "too short to tell" in refused(["detect", short])
    monkeypatch.setenv("MAMTRA_WATERMARK_KEY", "mine")
    assert main(["detect", good]) == 3
