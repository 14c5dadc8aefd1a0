"""CosyVoice 3's flow.pt and hift.pt, sized by cosyvoice3.yaml, and what is said of files that do not belong together."""

from __future__ import annotations

import pytest
import torch

from mamtra.acoustic.causal_hift import CausalHiFT
from mamtra.acoustic.dit_flow import DiTFlow
from mamtra.checkpoints.cosyvoice.files import THIRD, family_of, find_settings
from mamtra.checkpoints.cosyvoice.parts import load_flow, load_vocoder
from mamtra.checkpoints.cosyvoice.sizes3 import FREQUENCIES, read_mel_high
from mamtra.checkpoints.cosyvoice.yaml import Settings
from mamtra.checkpoints.parts import PARTS
from mamtra.errors import MamTraError
from tests.foreign import cosyvoice_directory
from tests.foreign3 import FLOW, VOCODER, cosyvoice3_parts


@pytest.fixture
def source(tmp_path):
    return cosyvoice3_parts(tmp_path / "CosyVoice3")


def settings(directory) -> Settings:
    return Settings(find_settings(directory))


def test_sizes_and_weights(source):
    flow, vocoder = load_flow(source, settings(source)), load_vocoder(source, settings(source))
    assert isinstance(flow, DiTFlow) and flow.config == FLOW
    assert isinstance(vocoder, CausalHiFT) and vocoder.config == VOCODER
    stored = torch.load(source / "flow.pt", weights_only=True)
    assert all(torch.equal(value, stored[name]) for name, value in flow.state_dict().items())
    assert not flow.training and not any("parametrizations" in name for name in vocoder.state_dict())
    assert family_of(source) == THIRD and read_mel_high(settings(source), 8000.0) == 12000.0


def test_sections_of_a_configuration_choose_the_class(source):
    for section, load in (("flow", load_flow), ("vocoder", load_vocoder)):
        made = load(source, settings(source))
        part = PARTS[section]
        again = part.build(part.parse(made.config.model_dump(mode="json")))
        assert type(again) is type(made) and again.state_dict().keys() == made.state_dict().keys()


@pytest.mark.parametrize("name", ["flow.pt", "hift.pt"])
def test_files_of_another_generation(source, tmp_path, name):
    second = cosyvoice_directory(tmp_path / "CosyVoice2")
    loads = {"flow.pt": load_flow, "hift.pt": load_vocoder}
    ours, theirs = (source / name).read_bytes(), (second / name).read_bytes()
    (source / name).write_bytes(theirs)
    with pytest.raises(MamTraError, match=rf"{name} is CosyVoice 2's, but cosyvoice3\.yaml CosyVoice 3's; put"):
        loads[name](source, settings(source))
    (second / name).write_bytes(ours)
    with pytest.raises(MamTraError, match=rf"{name} is CosyVoice 3's, but cosyvoice2\.yaml CosyVoice 2's; put"):
        loads[name](second, settings(second))


def test_settings_of_both(source):
    (source / "cosyvoice2.yaml").write_text("")
    with pytest.raises(MamTraError, match=r"cosyvoice2\.yaml and cosyvoice3\.yaml, and so files of two models"):
        family_of(source)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("dim: 32", "dim: 40", "dit_width"),
        ("dim: 32", "dim: 48", "does not fit cosyvoice3.yaml"),
        ("depth: 2", "depth: 100000", "dit_depth"),
        ("depth: 2", "depth: two", "dit_depth"),
        ("heads: 4\n", "heads: 2\n", "does not fit cosyvoice3.yaml"),
        ("static_chunk_size: !ref <chunk_size> * <token_mel_ratio>", "static_chunk_size: 25", "multiple of flow.token_mel"),
        ("static_chunk_size: !ref <chunk_size> * <token_mel_ratio>", "static_chunk_size: 0", "chunk_size"),
        ("solver: 'euler'", "solver: 'heun'", "only 'euler' is supported"),
        ("in_channels: 80\n        channels", "in_channels: 64\n        channels", "only 80 is supported"),
        ("            dim: 32\n", "", "lacks flow.decoder.estimator.dim"),
    ],
)  # fmt: skip
def test_settings_of_the_flow_that_cannot_be(source, old, new, message):
    path = source / "cosyvoice3.yaml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(MamTraError, match=message):
        load_flow(source, settings(source))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("conv_pre_look_right: 4", "conv_pre_look_right: 5", "does not fit cosyvoice3.yaml"),
        ("conv_pre_look_right: 4", "conv_pre_look_right: 100000", "conv_pre_look_right"),
        ("    conv_pre_look_right: 4\n", "", "lacks hift.conv_pre_look_right"),
        ("nb_harmonics: 8", "nb_harmonics: -1", "nb_harmonics"),
    ],
)
def test_settings_of_the_vocoder_that_cannot_be(source, old, new, message):
    path = source / "cosyvoice3.yaml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(MamTraError, match=message):
        load_vocoder(source, settings(source))


@pytest.mark.parametrize("high", ["-1", "48000", "high", "[1]"])
def test_edges_of_the_mel_that_cannot_be(source, high):
    path = source / "cosyvoice3.yaml"
    path.write_text(path.read_text().replace("fmax: null", f"fmax: {high}"))
    with pytest.raises(MamTraError, match=r"fmax .* should be up to 12000 Hz"):
        read_mel_high(settings(source), 8000.0)


def test_other_rotary_frequencies_are_refused(source):
    state = torch.load(source / "flow.pt", weights_only=True)
    torch.save({**state, FREQUENCIES: 2 * state[FREQUENCIES]}, source / "flow.pt")
    with pytest.raises(MamTraError, match="other rotary frequencies"):
        load_flow(source, settings(source))
    del state[FREQUENCIES]
    torch.save(state, source / "flow.pt")
    load_flow(source, settings(source))
