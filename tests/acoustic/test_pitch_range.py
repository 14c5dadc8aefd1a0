import numpy as np
import pytest
import torch

from mamtra.acoustic.pitch_range import AS_IT_IS, PitchRange

F0 = np.array([0.0, 20.0, 100.0, 200.0, 250.0, 400.0, 500.0], np.float32)


def test_f0_moves_away_from_its_middle_in_octaves():
    found = PitchRange(200.0, 1.5).of(F0)
    most = 2**0.5  # what an octave becomes
    assert found == pytest.approx([0, 20 / most, 100 / most, 200, 200 * 1.25**1.5, 400 * most, 500 * most], rel=1e-6)
    assert PitchRange(200.0, 0.0).of(F0[2:5]) == pytest.approx([200, 200, 200])
    assert found.dtype == np.float32


def test_as_it_is_no_bit_changes():
    f0 = torch.rand(3, 50) * 400
    assert torch.equal(AS_IT_IS.of(f0), f0)
    assert np.array_equal(AS_IT_IS.of(f0.numpy()), f0.numpy())


def test_rows_have_ranges_of_their_own():
    f0 = torch.from_numpy(F0).repeat(2, 1)
    found = PitchRange(torch.tensor([[1.0], [200.0]]), torch.tensor([[1.0], [1.5]])).of(f0)
    assert torch.equal(found[0], f0[0])
    assert found[1].numpy() == pytest.approx(PitchRange(200.0, 1.5).of(F0), rel=1e-6)
