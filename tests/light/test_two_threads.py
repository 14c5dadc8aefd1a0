"""What is divided between threads is what one thread computes."""

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

from mamtra.checkpoints.find import find_model
from mamtra.light.lm_state import SHORTEST, LMState
from mamtra.light.model import LightModel
from mamtra.light.random import Generator


@pytest.fixture(scope="module")
def models() -> list[LightModel]:
    return [LightModel(find_model(), threads=threads, int8_lm=True) for threads in (1, 2)]


@pytest.fixture(scope="module")
def mel() -> np.ndarray:
    import mamtra

    return mamtra.load(runtime="onnx").voice().prompt_mel.T


def test_inputs_in_pieces_have_the_logits_of_all_at_once(models: list[LightModel]) -> None:
    inputs = np.random.default_rng(0).standard_normal((2 * SHORTEST + 3, 192)).astype(np.float32)
    found = []
    for model in models:
        state = LMState(model.lm, len(inputs) + 1)
        found.append([state.extend(inputs).copy(), state.step(inputs[0]).copy()])
    np.testing.assert_array_equal(*found)


def test_samples_of_pieces_are_those_of_a_whole(models: list[LightModel], mel: np.ndarray) -> None:
    alone, divided = (model.vocoder.whole(mel, 0) for model in models)
    assert np.abs(alone).max() > 0.1
    np.testing.assert_allclose(divided, alone, atol=1e-4)


@pytest.mark.parametrize(("begin", "end"), [(0, 9), (40, 47), (100, 150)])
def test_later_stages_need_fewer_frames_around_a_piece(mel: np.ndarray, begin: int, end: int) -> None:
    vocoder = LightModel(find_model(), exact=True).vocoder
    source = vocoder.source(vocoder.f0(mel), Generator(0).normal(mel.shape[1] * vocoder.hop))
    whole = vocoder.wave(mel, source)[begin * vocoder.hop : end * vocoder.hop]
    np.testing.assert_allclose(vocoder.wave(mel, source, begin, end), whole, atol=1e-5)
