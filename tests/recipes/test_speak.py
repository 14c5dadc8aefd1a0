import numpy as np
import pytest
import speak


def test_a_wider_range_moves_the_pitch_away_from_the_voices_middle():
    f0 = np.array([0.0, -3.0, 45.0, 95.0, 190.0, 380.0], np.float32)
    found = speak.widen(f0, 1.5)
    assert found.tolist()[:3] == [0.0, -3.0, 45.0]  # unvoiced, or creak
    assert found[3:] == pytest.approx([190 * 0.5**1.5, 190, 190 * 2**1.5], rel=1e-6)
    assert speak.widen(np.array([61.0], np.float32), 2.0) == pytest.approx(speak.LOWEST)
