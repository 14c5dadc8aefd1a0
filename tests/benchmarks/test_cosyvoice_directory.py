"""The page of the directory benchmark says how loading compares with the weights."""

from __future__ import annotations

import cosyvoice_directory as benchmark

from mamtra.acoustic.flow import FlowConfig
from mamtra.acoustic.hift import HiFTConfig
from mamtra.checkpoints.cosyvoice.parts import read_flow_config
from mamtra.checkpoints.cosyvoice.vocoder_sizes import read_vocoder_sizes
from mamtra.checkpoints.cosyvoice.yaml import Settings
from mamtra.cost.presets import cosyvoice2_config
from mamtra.runtime.results import circumstances
from tests.foreign import cosyvoice_yaml


def test_the_directory_has_the_published_sizes(tmp_path):
    path = tmp_path / "cosyvoice2.yaml"
    path.write_text(cosyvoice_yaml(cosyvoice2_config(), FlowConfig(), HiFTConfig()))
    settings = Settings(path)
    assert read_flow_config(settings, 4) == FlowConfig()
    assert read_vocoder_sizes(settings, HiFTConfig) == HiFTConfig()


def test_the_page():
    row = {"directory": "as published", "precision": "float32", "load_seconds": 1.0, "weight_bytes": 2**30,
           "load_peak_bytes": 2**30 * 3 // 2, "speak_peak_bytes": 2**31, "audio_seconds": 5.0, "speak_seconds": 9.0}  # fmt: skip
    failed = {"directory": "converted", "precision": "float32", "failed": "it broke"}
    about = circumstances("x", 1)
    page = benchmark.render({"device": "a CPU", "rows": [row, failed], **about})
    assert "| 1,024 | 1,536 | 1.50 |" in page and "it broke" in page
