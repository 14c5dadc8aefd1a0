import json
from pathlib import Path

import numpy as np
import pytest
import speaker_targets
import torch
import train_flow
import train_mel_speaker
import train_speaker
from campplus import embed
from corpus import ShardWriter
from mel_speaker import MelSpeaker, load_mel_speaker
from safetensors.torch import load_file, save_file
from train_speaker import begin_as, noise_on

from mamtra.audio.features import kaldi_fbank_80, mel_24k
from mamtra.checkpoints.storage import pack, unpack
from mamtra.encoders.campplus import CAMPPlus, CAMPPlusConfig, DenseLayer
from tests.factories import speech_like

COMMON = ("--config", str(Path(train_flow.__file__).with_name("mini.yaml")), "--device", "cpu")
FLOW = {
    "input_size": 8, "encoder_heads": 1, "encoder_ffn": 8, "encoder_blocks": 1, "encoder_up_blocks": 1, "estimator_channels": 8,
    "estimator_heads": 1, "estimator_head_dim": 8, "estimator_n_blocks": 1, "estimator_mid_blocks": 1,
}  # fmt: skip


def published(seed: int = 0) -> CAMPPlus:
    """A CAM++ of the published sizes with random weights and statistics."""
    torch.manual_seed(seed)
    model = CAMPPlus(CAMPPlusConfig()).eval()
    for name, value in model.named_buffers():
        if value.is_floating_point():
            value.uniform_(0.5, 1.5) if name.endswith("var") else value.normal_(std=0.1)
    return model


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A corpus of two speakers, the weights of a CAM++, its embeddings, and a token set."""
    folder = tmp_path_factory.mktemp("speakers")
    writer = ShardWriter(folder / "corpus" / "0")
    for number in range(4):
        wave = speech_like(3.0, 24000)[: 71040 + 960 * (number % 2)]
        writer.add(f"u{number}", f"ann{number % 2}", "real", "hˈI ðɛɹ.", wave, np.full(150, 120.0))
    writer.close()
    save_file(published().state_dict(), folder / "campplus.safetensors")
    sizes = np.array([74, 75, 74, 75])
    rows = np.zeros(4, int)
    np.savez(
        folder / "tokens.npz", speech=np.arange(sizes.sum()), speech_len=sizes, text=np.zeros(0, np.uint8), text_len=rows,
        speaker=rows, speakers=np.array(["x"]), source=rows, sources=np.array(["x"]),
    )  # fmt: skip
    speaker_targets.main(
        ["--corpus", str(folder / "corpus"), "--weights", str(folder / "campplus.safetensors"), "--device", "cpu",
         "--out", str(folder / "rows.npz")]
    )  # fmt: skip
    return folder


def test_of_the_same_sizes_it_is_the_published_one():
    model, given = CAMPPlus(CAMPPlusConfig()).eval(), published()
    begin_as(model, given)
    bank = torch.randn(1, 40, 80)
    torch.testing.assert_close(model(bank), given(bank))


@torch.no_grad()
def test_units_without_weight_are_those_that_go():
    given = published()
    for layer in given.modules():
        if isinstance(layer, DenseLayer):
            kept = torch.randperm(128)[:32]
            silent = torch.ones(128, dtype=torch.bool).index_fill(0, kept, False)
            layer.cam_layer.linear_local.weight[:, silent] = 0
            layer.cam_layer.linear1.weight[:, silent] = 0
            layer.cam_layer.linear2.weight[:, torch.randperm(64)[16:]] = 0
    model = CAMPPlus(CAMPPlusConfig(bottleneck=1)).eval()
    begin_as(model, given)
    bank = torch.randn(1, 40, 80)
    torch.testing.assert_close(model(bank), given(bank), atol=1e-4, rtol=1e-4)


def test_noise_is_as_strong_as_asked_under_some_of_the_rows():
    torch.manual_seed(0)
    wave = torch.randn(400, 1000) * torch.logspace(-3, 0, 400)[:, None]
    ratio = (noise_on(wave, (-40.0, -20.0), 0.5) - wave).square().mean(1) / wave.square().mean(1)
    noisy = ratio > 0
    assert 0.4 < noisy.float().mean() < 0.6
    level = 10 * ratio[noisy].log10()
    assert -40.5 < level.min() < -38 and -22 < level.max() < -19.5


def test_the_speaker_encoder_is_stored_as_it_was_trained(work):
    out = work / "speaker.safetensors"
    train_speaker.main(
        [*COMMON, "--corpus", str(work / "corpus"), "--targets", str(work / "rows.npz"), "--out", str(out),
         "--embeddings", str(work / "own.npz"), "--published", str(work / "campplus.safetensors"),
         "steps=2", "batch=2", "seconds=[1.0]"]
    )  # fmt: skip
    state = load_file(out)
    assert not any("parametrizations" in name for name in state)
    model = CAMPPlus(CAMPPlusConfig(bottleneck=1)).eval()
    model.load_state_dict(unpack(pack(state, "int4")))
    wave = torch.from_numpy(speech_like(3.0, 24000))
    assert embed(model, wave[None]).shape == (1, 192)
    assert np.load(work / "own.npz")["embeddings"].shape == (4, 192)


def test_a_flow_learns_from_the_speaker_that_is_heard_in_its_mel(work):
    listener, out = work / "mel.safetensors", work / "flow.safetensors"
    data = ["--corpus", str(work / "corpus"), "--speakers", str(work / "rows.npz")]
    train_mel_speaker.main(
        [*COMMON, *data, "--campplus", str(work / "campplus.safetensors"), "--out", str(listener),
         "steps=24", "catch_up=0.9", "batch=2", "seconds=[1.0, 1.2]", "fractions={}"]
    )  # fmt: skip
    heard = load_mel_speaker(listener, "cpu")
    mel = mel_24k(torch.from_numpy(speech_like(2.0, 24000))[None]).transpose(1, 2)
    wanted = kaldi_fbank_80(torch.from_numpy(speech_like(2.0, 16000))[None])
    wanted = wanted - wanted.mean(1, keepdim=True)
    assert heard(mel).norm(dim=1).item() == pytest.approx(1, abs=1e-5)
    assert not any(p.requires_grad for p in heard.parameters())
    torch.manual_seed(8)  # of mini.yaml

    def difference(bank):
        found = bank(mel)[:, : wanted.shape[1]]
        return (found - found.mean(1, keepdim=True) - wanted).abs().mean().item()

    assert difference(heard.bank) < 0.9 * difference(MelSpeaker().bank)
    flow = [*COMMON, *data, "--tokens", str(work / "tokens.npz"), "--out", str(out)]
    changes = ["steps=2", "crops=[50]", "tokens_per_batch=200", "fractions={}", f"model={json.dumps(FLOW)}"]
    changes += ["speaker_weight=1.0"]
    train_flow.main([*flow, "--mel-speaker", str(listener), *changes])
    first = json.loads(out.with_suffix(".log.jsonl").read_text().splitlines()[0])
    assert 0 < first["distance"] < 2
    with pytest.raises(SystemExit, match="go together"):
        train_flow.main([*flow, *changes])


def test_ends_are_the_last_frames_or_the_whole_row():
    mel = torch.arange(12.0).reshape(2, 6, 1)
    found = train_flow.ends(mel, torch.tensor([5, 2]), 3)
    assert found[..., 0].tolist() == [[2, 3, 4], [6, 7, 8]]
