import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "recipes" / "mini"))


@pytest.fixture(scope="session")
def whisper(tmp_path_factory):
    """The folder of a Whisper with random weights, one layer and 8 dimensions."""
    transformers, torch = pytest.importorskip("transformers"), pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("whisper")
    layers = dict.fromkeys(
        ("encoder_layers", "decoder_layers", "encoder_attention_heads", "decoder_attention_heads"), 1
    )
    sizes = {"d_model": 8, "encoder_ffn_dim": 8, "decoder_ffn_dim": 8, "vocab_size": 16, "pad_token_id": 0}
    torch.manual_seed(0)
    transformers.WhisperModel(transformers.WhisperConfig(**sizes, **layers)).save_pretrained(folder)
    return folder
