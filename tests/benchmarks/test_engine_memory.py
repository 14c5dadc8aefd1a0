"""The engine keeps nothing of the requests that it has served."""

import engine_memory
import pytest


@pytest.mark.parametrize("kind", engine_memory.KINDS)
def test_no_tensor_stays_behind(kind):
    found = engine_memory.measure(kind, 80, 0, count=4)
    assert found["finished"] > 20 and found["cancelled"] > 5
    assert found["left_in_the_engine"] == 0 and found["tensors_last"] <= found["tensors_first"] + 40
