"""CAM++: the original's embeddings, and independence of the rows of a batch."""

import pytest
import torch
from pydantic import ValidationError

from mamtra.encoders.campplus import CAMPPlus, CAMPPlusConfig, segment_means

NARROW = CAMPPlusConfig(growth_rate=4, init_channels=32)


@pytest.fixture(scope="module")
def encoder(golden):
    return golden.speaker_encoder()


@pytest.fixture(scope="module")
def vectors(golden):
    return golden["campplus"]


@pytest.mark.parametrize("what", ["emb", "head"])
def test_embedding_parity(encoder, vectors, what, agree):
    names = [name for name in vectors if name.startswith(f"{what}_")]
    assert names
    for name in names:
        feat = vectors[name.replace(what, "feat")]
        with torch.no_grad():
            ours = encoder(feat) if what == "emb" else encoder.head(feat.transpose(1, 2))
        agree({"emb": "embedding", "head": "head"}[what], ours, vectors[name], 2e-5)


def test_published_sizes():
    with torch.device("meta"):
        encoder = CAMPPlus(CAMPPlusConfig())
    assert len(encoder.state_dict()) == 937
    assert encoder.xvector.dense.linear.weight.shape == (192, 1024, 1)
    assert encoder.xvector.block3.tdnnd16.linear1.weight.shape == (128, 512 + 15 * 32, 1)


def test_rows_of_a_batch_do_not_mix():
    torch.manual_seed(0)
    encoder = CAMPPlus(NARROW).eval()
    fbank = torch.randn(2, 230, 80)
    with torch.no_grad():
        both, alone = encoder(fbank), encoder(fbank[1:])
    assert both.shape == (2, 192)
    assert (both[1] - alone[0]).norm() < 1e-3 * (both[1] - both[0]).norm()


def test_segment_means_with_a_short_last_segment():
    x = torch.randn(2, 3, 11, generator=torch.Generator().manual_seed(0))
    ours = segment_means(x, 4)
    assert ours.shape == x.shape
    for start in (0, 4, 8):
        part = x[:, :, start : start + 4]
        assert torch.allclose(ours[:, :, start : start + 4], part.mean(-1, keepdim=True).expand_as(part), atol=1e-6)


def test_configuration_rejects_what_does_not_fit():
    with pytest.raises(ValidationError, match="same number"):
        CAMPPlusConfig(block_layers=(12, 24))
    with pytest.raises(ValidationError, match="multiple of 8"):
        CAMPPlusConfig(feat_dim=84)
    with pytest.raises(ValidationError):
        CAMPPlusConfig(width=3)
