import pytest
import torch

from mamtra.checkpoints.storage import SMALL, dequantise_rows, pack, quantise_rows, unpack
from mamtra.errors import MamTraError


def test_int8_error_is_at_most_half_a_step_in_every_row():
    weight = (
        torch.randn(40, 16, 3, generator=torch.Generator().manual_seed(0)) * torch.logspace(-4, 2, 40)[:, None, None]
    )
    values, scale = quantise_rows(weight)
    assert values.dtype == torch.int8 and scale.shape == (40,)
    error = (dequantise_rows(values, scale) - weight).abs().flatten(1).amax(1)
    assert (error <= scale / 2 * 1.0001).all()
    assert (scale * 127 - weight.abs().flatten(1).amax(1)).abs().max() < 1e-4


def test_rows_of_zeros_stay_zeros():
    values, scale = quantise_rows(torch.zeros(2, 8))
    assert torch.equal(dequantise_rows(values, scale), torch.zeros(2, 8))


def test_only_large_matrices_are_compressed():
    tensors = {
        "big": torch.randn(16, SMALL // 16 + 1),
        "short rows": torch.randn(SMALL // 8, 16),
        "small": torch.randn(4, 4),
        "bias": torch.randn(2 * SMALL),
        "count": torch.tensor(3),
    }
    packed = pack(tensors, "int8")
    assert packed["big"].dtype == torch.int8 and "big.scale" in packed
    assert packed["small"].dtype == packed["bias"].dtype == packed["short rows"].dtype == torch.float32
    back = unpack(packed)
    assert set(back) == set(tensors)
    assert torch.equal(back["small"], tensors["small"]) and torch.equal(back["count"], tensors["count"])
    assert (back["big"] - tensors["big"]).abs().max() < 0.03


def test_a_parameter_called_scale_is_no_quantisation_scale():
    tensors = {"norm": torch.randn(3), "norm.scale": torch.randn(3)}
    assert torch.equal(unpack(pack(tensors, "int8"))["norm.scale"], tensors["norm.scale"])


@pytest.mark.parametrize(("storage", "dtype"), [("bfloat16", torch.bfloat16), ("float16", torch.float16)])
def test_half_types(storage, dtype):
    weight = torch.randn(128, 64)
    packed = pack({"w": weight}, storage)
    assert packed["w"].dtype == dtype
    assert unpack(packed)["w"].dtype == torch.float32
    assert unpack(packed, torch.bfloat16)["w"].dtype == torch.bfloat16


def test_damaged_weights_and_unknown_types_are_refused():
    with pytest.raises(MamTraError, match="not finite"):
        pack({"w": torch.tensor([[float("nan")]])}, "float32")
    with pytest.raises(MamTraError, match="unknown"):
        pack({"w": torch.zeros(1)}, "int3")
