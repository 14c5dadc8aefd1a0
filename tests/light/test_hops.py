"""Hops of the embedded voice's streams."""

import pytest

pytest.importorskip("onnxruntime")

import mamtra


def test_no_hop_lasts_much_longer_than_all_before_it():
    """What is made while they play is there in time where a second of sound takes half a second to make."""
    chunks = [
        chunk.seconds for chunk in mamtra.load(runtime="onnx").stream("The river was wide, slow and deep that year.")
    ]
    assert len(chunks) > 3
    for count in range(1, len(chunks)):
        assert chunks[count] <= 1.25 * sum(chunks[:count])
