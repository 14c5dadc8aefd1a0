"""The sizes of CosyVoice 2 that presets and benchmarks use are those that its YAML file gives."""

from mamtra.acoustic.flow import FlowConfig
from mamtra.acoustic.hift import HiFTConfig
from mamtra.checkpoints.cosyvoice.parts import read_flow_config
from mamtra.checkpoints.cosyvoice.vocoder_sizes import read_vocoder_sizes
from mamtra.checkpoints.cosyvoice.yaml import Settings
from mamtra.cost.presets import cosyvoice2_config
from tests.foreign import cosyvoice_yaml


def test_a_written_directory_has_the_published_sizes(tmp_path):
    path = tmp_path / "cosyvoice2.yaml"
    path.write_text(cosyvoice_yaml(cosyvoice2_config(), FlowConfig(), HiFTConfig()))
    settings = Settings(path)
    assert read_flow_config(settings, 4) == FlowConfig()
    assert read_vocoder_sizes(settings, HiFTConfig) == HiFTConfig()
