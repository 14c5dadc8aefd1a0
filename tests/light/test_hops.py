"""Hops of the embedded voice's streams."""

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

import mamtra
from mamtra.checkpoints.find import find_model
from mamtra.light.model import LightModel
from mamtra.light.vocoder import LightVocoderStream


def test_no_hop_lasts_much_longer_than_all_before_it():
    """What is made while they play is there in time where a second of sound takes half a second to make."""
    chunks = [
        chunk.seconds for chunk in mamtra.load(runtime="onnx").stream("The river was wide, slow and deep that year.")
    ]
    assert len(chunks) > 3
    for count in range(1, len(chunks)):
        assert chunks[count] <= 1.25 * sum(chunks[:count])


def test_frames_far_away_hardly_change_a_sample():
    made, mel = [], mamtra.load(runtime="onnx").voice().prompt_mel.T
    for exact in (False, True):
        vocoder = LightModel(find_model(), exact=exact).vocoder
        stream, ends = LightVocoderStream(vocoder, 0), [*range(24, mel.shape[1], 12), mel.shape[1]]
        pieces = np.split(mel, ends[:-1], axis=1)
        made.append([stream.push(piece, piece is pieces[-1]) for piece in pieces])
    assert len(made[0][0]) > len(made[1][0])
    near, far = map(np.concatenate, made)
    assert near.shape == far.shape
    assert 0 < np.abs(near - far).max() < 1e-3 < np.abs(far).max()
