from pathlib import Path
from types import SimpleNamespace

import average
import pytest
import torch
import train_vocoder
from memory_layout import channels_last, depthwise_products
from rounding import plain_names, round_weights
from safetensors.torch import save_file
from training import section

from mamtra.acoustic.source_filter import SourceFilter, SourceFilterConfig
from mamtra.checkpoints.storage import choose_storage, pack, unpack
from tests.factories import tiny_parts


@pytest.fixture
def vocoder():
    return tiny_parts()["vocoder"]


@pytest.fixture
def small():
    torch.manual_seed(0)
    return SourceFilter(SourceFilterConfig(width=40, hidden=80, blocks=2, f0_channels=8))


def test_weights_in_training_are_those_that_are_stored(small):
    names, plain = list(small.state_dict()), small.blocks[0].up.weight.detach().clone()
    assert choose_storage(plain, "int8") == "int8"
    stored = unpack(pack({"weight": plain}, "int8"))["weight"]
    round_weights(small)
    torch.testing.assert_close(small.blocks[0].up.weight.detach(), stored, rtol=0, atol=1e-6)
    assert not torch.equal(stored, plain)
    state = plain_names(small.state_dict())
    assert sorted(state) == sorted(names) and torch.equal(state["blocks.0.up.weight"], plain)


def test_gradients_pass_the_rounding(small):
    round_weights(small)
    small.blocks[0].up(torch.randn(1, 5, 40)).square().sum().backward()
    assert small.blocks[0].up.parametrizations.weight.original.grad.abs().sum() > 0


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


def test_layout_changes_no_sound(small):
    mel, source = torch.randn(1, 80, 12), torch.randn(1, 2, 12 * small.config.hop)
    before = small.decode(mel, source)
    channels_last(small)
    depthwise_products(small)
    torch.testing.assert_close(small.decode(mel, source), before, rtol=1e-4, atol=1e-5)


def test_crops_end_where_their_utterance_does():
    config = {
        **section(Path(train_vocoder.__file__).with_name("mini.yaml"), "vocoder"), "frames": 4,
        "model": {"width": 8, "hidden": 8, "blocks": 1, "f0_channels": 8},
        "discriminators": {"widths": [4], "width": 4},
    }  # fmt: skip
    rows = 60
    corpus = SimpleNamespace(
        audio24=torch.full((960 * rows,), 8192, dtype=torch.int16), f0=torch.full((2 * rows,), 150, dtype=torch.float16)
    )
    training = train_vocoder.Training(config, corpus, "cpu")
    # The first crop begins 7 tokens before its utterance, the second ends 8 tokens after it.
    taken = training.take(torch.tensor([[13, 20, 50], [24, 4, 30]]))
    assert taken.mel.shape[2] == 4 + 2 * train_vocoder.SEEN and taken.wave.shape == (2, 4 * 480)
    assert taken.begin.tolist() == [10, 0] and taken.end.tolist() == [20, 8]
    for row, (begin, end) in enumerate([(10, 20), (0, 8)]):
        heard = torch.arange(20)
        heard = (heard >= begin) & (heard < end)
        assert torch.equal(taken.pitch[row] > 0, heard)
        expected = heard[train_vocoder.SEEN : -train_vocoder.SEEN].repeat_interleave(480) * 0.25
        torch.testing.assert_close(taken.wave[row], expected)
    report = training.step_adversarial(torch.tensor([[13, 20, 50], [24, 4, 30]]), torch.tensor(1.0))
    assert all(torch.isfinite(value) for value in report.values())


def test_mean_of_two_vocoders_is_that_of_their_weights(vocoder, tmp_path):
    state = {name: value.contiguous() for name, value in vocoder.state_dict().items()}
    save_file(state, tmp_path / "trained.safetensors")
    plain = {name: value.contiguous() for name, value in vocoder.remove_weight_norm().state_dict().items()}
    assert average.folded(tmp_path / "trained.safetensors").keys() == plain.keys()
    found = average.mean(average.folded(tmp_path / "trained.safetensors"), {n: 3 * v for n, v in plain.items()})
    for name, value in plain.items():
        torch.testing.assert_close(found[name], 2 * value)
