import numpy as np
import pytest

from mamtra.audio.trim import FADE_SECONDS, KEEP_SECONDS, EdgeTrimmer, fade_edges, prepare_segment, trim_edges

RATE = 24000


def voiced(seconds: float, level: float = 0.5) -> np.ndarray:
    return (level * np.sin(2 * np.pi * 200 * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * RATE), np.float32)


def test_trimming_keeps_all_speech_and_a_little_silence():
    piece = np.concatenate([silence(0.5), voiced(1.0), silence(0.8)])
    trimmed = trim_edges(piece, RATE)
    assert abs(len(trimmed) / RATE - (1.0 + 2 * KEEP_SECONDS)) < 0.03
    assert np.isclose(np.square(trimmed).sum(), np.square(piece).sum(), rtol=1e-6)


def test_quiet_speech_inside_a_piece_is_not_cut():
    piece = np.concatenate([voiced(0.3, 0.02), voiced(0.3, 0.5), voiced(0.3, 0.02)])
    assert len(trim_edges(piece, RATE)) == len(piece)


def test_silent_or_tiny_pieces_survive():
    assert len(trim_edges(silence(0.5), RATE)) == RATE // 2
    assert len(trim_edges(np.zeros(3, np.float32), RATE)) == 3
    assert len(fade_edges(np.ones(1, np.float32), RATE)) == 1
    assert len(prepare_segment(np.zeros(0, np.float32), RATE)) == 0


def test_fades_touch_only_the_edges():
    faded = fade_edges(np.ones(RATE, np.float32), RATE)
    edge = round(FADE_SECONDS * RATE)
    assert faded[0] == 0 and faded[-1] == 0
    assert (faded[edge:-edge] == 1).all()
    assert (np.diff(faded[:edge]) > 0).all()


def test_joined_sound_has_no_click_no_dead_air_and_the_pause_asked_for():
    pieces = [np.concatenate([silence(0.4), voiced(0.5), silence(0.6)]) for _ in range(2)]
    joined = np.concatenate([prepare_segment(p, RATE, pause) for p, pause in zip(pieces, (0.0, 0.3), strict=True)])
    assert np.abs(np.diff(joined)).max() < 1.2 * np.abs(np.diff(voiced(0.5))).max()
    loud = np.flatnonzero(np.abs(joined) > 0.1)
    gap = np.diff(loud).max() / RATE
    assert abs(gap - 0.3) < 0.04
    assert abs(np.abs(joined).max() - 0.5) < 0.01


@pytest.mark.parametrize("size", [100, 3333, 24000, 10**6])
@pytest.mark.parametrize("tail", [0.0, 0.01, 0.7])
def test_a_piece_that_is_still_coming_is_prepared_like_a_whole_one(size, tail):
    piece = np.concatenate([silence(0.3), voiced(0.4), silence(0.5), voiced(0.3, 0.1), silence(tail)])
    stream, out = EdgeTrimmer(RATE, 0.25), []
    for begin in range(0, len(piece), size):
        out.append(stream.push(piece[begin : begin + size]))
    out.append(stream.push(piece[:0], final=True))
    assert np.allclose(np.concatenate(out), prepare_segment(piece, RATE, 0.25), atol=1e-6)
    assert np.abs(out[-1][-1]) < 1e-3


def test_silence_is_held_back_until_speech_follows():
    stream = EdgeTrimmer(RATE)
    assert len(stream.push(silence(1.0))) == 0
    assert abs(len(stream.push(voiced(0.5))) / RATE - 0.53) < 0.02
    assert len(stream.push(silence(2.0))) < 0.03 * RATE
    assert abs(len(stream.push(voiced(0.5))) / RATE - 2.5) < 0.03
    whole = EdgeTrimmer(RATE)
    assert len(whole.push(silence(0.5), final=True)) == RATE // 2
