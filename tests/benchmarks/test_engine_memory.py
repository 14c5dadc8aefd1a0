"""The engine keeps nothing of the requests that it has served."""

from __future__ import annotations

import engine_memory
import pytest


@pytest.mark.parametrize("kind", engine_memory.KINDS)
def test_no_tensor_stays_behind(kind):
    found = engine_memory.measure(kind, 200, 0)
    assert found["finished"] > 100 and found["cancelled"] > 5 and found["refused"] > 0
    assert found["left_in_the_engine"] == 0 and found["tensors_last"] <= found["tensors_first"] + 40
    page = engine_memory.render(
        {
            "rows": [found],
            "command": "c",
            "commit": "",
            "hardware": {"cpu": "", "cores": 1, "threads": 1},
            "versions": {},
        }
    )
    assert kind in page
