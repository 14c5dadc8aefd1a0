import average
import pytest
import torch
import train_vocoder
from memory_layout import channels_last
from rounding import round_weights
from safetensors.torch import save_file

from mamtra.checkpoints.storage import choose_storage, pack, unpack
from tests.factories import tiny_parts


@pytest.fixture
def vocoder():
    return tiny_parts()["vocoder"]


def test_weights_in_training_are_those_that_are_stored(vocoder):
    torch.nn.init.normal_(vocoder.conv_pre.parametrizations.weight.original1)
    names = list(vocoder.state_dict())
    plain = vocoder.conv_pre.weight.detach()
    assert choose_storage(plain, "int8") == "int8"
    stored = unpack(pack({"weight": plain}, "int8"))["weight"]
    round_weights(vocoder)
    torch.testing.assert_close(vocoder.conv_pre.weight.detach(), stored, rtol=0, atol=1e-6)
    assert not torch.equal(stored, plain) and list(vocoder.state_dict()) == names


def test_gradients_pass_the_rounding(vocoder):
    round_weights(vocoder)
    vocoder.conv_pre(torch.randn(1, 80, 5)).square().sum().backward()
    assert vocoder.conv_pre.parametrizations.weight.original1.grad.abs().sum() > 0


def test_shipped_weights_go_back_to_norm_and_direction(vocoder):
    trained = vocoder.state_dict()
    folded = tiny_parts()["vocoder"]
    folded.load_state_dict(trained)
    state = train_vocoder.with_weight_norm(folded.remove_weight_norm().state_dict(), trained)
    assert set(state) == set(trained)
    again = tiny_parts()["vocoder"]
    again.load_state_dict(state)
    for name, weight in folded.state_dict().items():
        layer, _, part = name.rpartition(".")
        torch.testing.assert_close(getattr(again.get_submodule(layer), part), weight)


def test_layout_changes_no_sound(vocoder):
    mel, source = torch.randn(1, 80, 12), torch.randn(1, 1, 12 * vocoder.config.hop)
    before = vocoder.decode(mel, source)
    channels_last(vocoder)
    torch.testing.assert_close(vocoder.decode(mel, source), before, rtol=1e-4, atol=1e-5)


def test_mean_of_two_vocoders_is_that_of_their_weights(vocoder, tmp_path):
    state = {name: value.contiguous() for name, value in vocoder.state_dict().items()}
    save_file(state, tmp_path / "trained.safetensors")
    plain = {name: value.contiguous() for name, value in vocoder.remove_weight_norm().state_dict().items()}
    assert average.folded(tmp_path / "trained.safetensors").keys() == plain.keys()
    found = average.mean(average.folded(tmp_path / "trained.safetensors"), {n: 3 * v for n, v in plain.items()})
    for name, value in plain.items():
        torch.testing.assert_close(found[name], 2 * value)
