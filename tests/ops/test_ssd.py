"""All forms of the state-space dual say the same."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mamtra.ops.ssd import ssd, ssd_chunked, ssd_naive, ssd_step


def inputs(seed: int, batch: int, length: int, heads: int, size: int, state: int, dtype=torch.float64):
    g = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=g, dtype=dtype)

    x, B, C = (
        normal(batch, length, heads, size),
        normal(batch, length, heads, state),
        normal(batch, length, heads, state),
    )
    dt = torch.rand(batch, length, heads, generator=g, dtype=dtype)
    return (
        x,
        dt,
        -torch.rand(heads, generator=g, dtype=dtype) * 4,
        B,
        C,
        normal(heads),
        normal(batch, heads, size, state),
    )


shapes = st.tuples(
    st.integers(0, 99), st.integers(1, 3), st.integers(1, 40), st.integers(1, 3), st.integers(1, 5), st.integers(1, 5)
)


@settings(max_examples=60)
@given(shapes, st.integers(1, 50), st.booleans())
def test_chunks_equal_the_loop(shape, chunk, with_state):
    *args, h = inputs(*shape)
    h = h if with_state else None
    y, last = ssd_chunked(*args, h, chunk_size=chunk)
    expected, expected_last = ssd_naive(*args, h)
    torch.testing.assert_close(y, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(last, expected_last, rtol=1e-9, atol=1e-9)


@settings(max_examples=30)
@given(shapes, st.integers(1, 16), st.data())
def test_cutting_a_sequence_anywhere(shape, chunk, data):
    x, dt, A, B, C, D, h = inputs(*shape)
    cut = data.draw(st.integers(0, shape[2]))
    whole, last = ssd(x, dt, A, B, C, D, h, chunk_size=chunk)
    parts = []
    for piece in (slice(0, cut), slice(cut, None)):
        if x[:, piece].shape[1]:
            y, h = ssd(x[:, piece], dt[:, piece], A, B[:, piece], C[:, piece], D, h, chunk_size=chunk)
            parts.append(y)
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(h, last, rtol=1e-9, atol=1e-9)


@settings(max_examples=30)
@given(shapes, st.integers(1, 16), st.data())
def test_padding_leaves_the_state(shape, chunk, data):
    x, dt, A, B, C, D, h = inputs(*shape)
    lengths = torch.tensor([data.draw(st.integers(0, shape[2])) for _ in range(shape[1])])
    y, last = ssd(x, dt, A, B, C, D, h, lengths=lengths, chunk_size=chunk)
    for row, n in enumerate(lengths.tolist()):
        one = slice(row, row + 1)
        if n == 0:
            torch.testing.assert_close(last[one], h[one])
            continue
        expected, expected_last = ssd_naive(x[one, :n], dt[one, :n], A, B[one, :n], C[one, :n], D, h[one])
        torch.testing.assert_close(y[one, :n], expected, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(last[one], expected_last, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("length", [1, 9])
def test_neighbouring_heads_share_a_group(length):
    x, dt, A, B, C, D, h = inputs(4, 2, length, 4, 3, 5)
    x, B = x[:, :, :2], B[:, :, :2]
    y, last = ssd(x, dt, A, B, C, D, h)
    expected = ssd_naive(x[:, :, [0, 0, 1, 1]], dt, A, B[:, :, [0, 0, 1, 1]], C, D, h)
    torch.testing.assert_close((y, last), expected)


def test_one_step_follows_the_recurrence():
    x, dt, A, B, C, D, h = inputs(0, 2, 1, 3, 4, 5)
    y, new = ssd_step(x[:, 0], dt[:, 0], A, B[:, 0], C[:, 0], D, h)
    for b in range(2):
        for k in range(3):
            state = torch.exp(dt[b, 0, k] * A[k]) * h[b, k] + dt[b, 0, k] * torch.outer(x[b, 0, k], B[b, 0, k])
            torch.testing.assert_close(new[b, k], state)
            torch.testing.assert_close(y[b, k], state @ C[b, 0, k] + D[k] * x[b, 0, k])


@pytest.mark.parametrize(("length", "chunk"), [(11, 4), (40, 2)])
def test_gradients_equal_those_of_the_loop(length, chunk):
    args = [a.requires_grad_(True) for a in inputs(3, 2, length, 2, 3, 4)]
    grads = []
    for form in (lambda: ssd_chunked(*args, chunk_size=chunk), lambda: ssd_naive(*args)):
        y, last = form()
        grads.append(torch.autograd.grad(y.sin().sum() + last.square().sum(), args))
    for mine, expected in zip(*grads, strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-8, atol=1e-8)


def test_strong_decay_has_finite_gradients():
    x, dt, A, B, C, D, h = inputs(1, 1, 32, 2, 3, 3, torch.float32)
    args = [a.requires_grad_(True) for a in (x, dt * 100, A * 100 - 1, B, C, D, h)]
    y, last = ssd_chunked(*args, chunk_size=16)
    for grad in torch.autograd.grad(y.sum() + last.sum(), args):
        assert grad.isfinite().all()


def test_bfloat16_autocast_keeps_decays_precise():
    # 4,000 steps of a decay near one: with bfloat16 decays the state would be off by tens of percent.
    length = 4000
    x, B, C = (torch.ones(1, length, 1, 2) for _ in range(3))
    dt, A, D = torch.full((1, length, 1), 0.01), torch.tensor([-0.05]), torch.zeros(1)
    expected = ssd_naive(x.double(), dt.double(), A.double(), B.double(), C.double(), D.double())
    with torch.autocast("cpu", torch.bfloat16):
        y, last = ssd_chunked(x, dt, A, B, C, D)
    assert last.dtype == torch.float32
    assert ((y - expected[0]).abs() / expected[0]).max() < 0.02
    assert ((last - expected[1]).abs() / expected[1]).max() < 0.01


@pytest.mark.parametrize("length", [1, 5])
def test_result_dtypes(length):
    args = inputs(0, 1, length, 2, 3, 3, torch.float32)
    x, dt, A, B, C, D, h = args
    y, last = ssd(x.bfloat16(), dt, A, B.bfloat16(), C.bfloat16(), D, h)
    assert (y.dtype, last.dtype) == (torch.bfloat16, torch.float32)
