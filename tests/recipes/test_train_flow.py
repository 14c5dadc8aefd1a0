import json
from pathlib import Path

import campplus
import mel_speaker
import numpy as np
import pytest
import speaker_targets
import torch
import train_flow
import train_mel_reader
import train_mel_speaker
import train_speaker
from corpus import TOKEN_24, Corpus, ShardWriter
from hearing import Hearing, between_speakers
from mel_reader import MelReader, load_mel_reader, reading_distance
from mel_speaker import MelSpeaker, centred, ends, load_mel_speaker, speaker_distance
from safetensors.torch import load_file, save_file
from soften import HARD, SOFT, soften, spread
from train_speaker import noise_on

from mamtra.acoustic.estimator import SelfAttention
from mamtra.acoustic.flow import Flow, FlowConfig
from mamtra.audio.features import kaldi_fbank_80, mel_24k, whisper_log_mel
from mamtra.encoders.campplus import CAMPPlus, CAMPPlusConfig
from mamtra.encoders.speech_tokenizer import SpeechTokenizer, SpeechTokenizerConfig, token_digits
from tests.factories import speech_like

COMMON = ("--config", str(Path(train_flow.__file__).with_name("mini.yaml")), "--device", "cpu")
FLOW = {
    "input_size": 8, "encoder_heads": 1, "encoder_ffn": 8, "encoder_blocks": 1, "encoder_up_blocks": 1, "estimator_channels": 8,
    "estimator_heads": 1, "estimator_head_dim": 8, "estimator_n_blocks": 1, "estimator_mid_blocks": 1,
}  # fmt: skip


TOKENIZER = {"width": 8, "layers": 1, "heads": 1, "inner": 8, "narrow": 16, "kernel": 3, "expansion": 2}
CAMPPLUS = {"head_channels": 4, "init_channels": 8, "growth_rate": 4, "block_layers": (1, 1, 1)}


@pytest.fixture(autouse=True, scope="module")
def narrow():
    """A published CAM++ that is narrow."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (campplus, mel_speaker):
            patch.setattr(module, "CAMPPlusConfig", lambda: CAMPPlusConfig(**CAMPPLUS))
        yield


def published() -> CAMPPlus:
    """One with random weights and statistics."""
    torch.manual_seed(0)
    model = CAMPPlus(CAMPPlusConfig(**CAMPPLUS)).eval()
    for name, value in model.named_buffers():
        if value.is_floating_point():
            value.uniform_(0.5, 1.5) if name.endswith("var") else value.normal_(std=0.1)
    return model


@pytest.fixture(scope="module")
def work(narrow, tmp_path_factory):
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


def test_a_flow_learns_from_the_speaker_that_is_heard_in_its_mel(work):
    listener, out = work / "mel.safetensors", work / "flow.safetensors"
    data = ["--corpus", str(work / "corpus"), "--speakers", str(work / "rows.npz")]
    train_mel_speaker.main(
        [*COMMON, *data, "--campplus", str(work / "campplus.safetensors"), "--out", str(listener),
         "steps=12", "catch_up=0.9", "batch=2", "seconds=[1.0, 1.2]", "fractions={}"]
    )  # fmt: skip
    heard = load_mel_speaker(listener, "cpu")
    mel = mel_24k(torch.from_numpy(speech_like(2.0, 24000))[None]).transpose(1, 2)
    wanted = centred(kaldi_fbank_80(torch.from_numpy(speech_like(2.0, 16000))[None]))
    assert heard(mel).norm(dim=1).item() == pytest.approx(1, abs=1e-5)
    assert not any(p.requires_grad for p in heard.parameters())
    torch.manual_seed(8)  # of mini.yaml

    def difference(bank):
        return (centred(bank(centred(mel))[:, : wanted.shape[1]]) - wanted).abs().mean().item()

    assert difference(heard.bank) < 0.95 * difference(MelSpeaker().bank)
    flow = [*COMMON, *data, "--tokens", str(work / "tokens.npz"), "--out", str(out)]
    changes = ["steps=2", "crops=[50]", "tokens_per_batch=200", "fractions={}", f"model={json.dumps(FLOW)}"]
    changes += ["speaker_weight=1.0", "between_speakers=0.5", "storage=int4"]
    train_flow.main([*flow, "--mel-speaker", str(listener), *changes])
    first = json.loads(out.with_suffix(".log.jsonl").read_text().splitlines()[0])
    assert 0 < first["speaker"] < 2
    assert not any("parametrizations" in name for name in load_file(out))
    with pytest.raises(SystemExit, match="go together"):
        train_flow.main([*flow, *changes])


@torch.no_grad()
def test_some_rows_want_a_speaker_between_two_and_have_no_prompt():
    torch.manual_seed(0)
    flow = Flow(FlowConfig(**FLOW)).eval()
    wanted = torch.nn.functional.normalize(torch.randn(6, 192), dim=1)
    feat, lengths = torch.randn(8, 20, 80), torch.full((8,), 10)
    embedding = torch.cat([wanted, wanted[:2]])
    told = flow.conditions(torch.zeros(8, 10).long(), lengths, feat, 2 * lengths, embedding, lengths)
    others = torch.nn.functional.normalize(torch.randn(6, 2, 192), dim=2)
    same, still = between_speakers(flow, told, wanted, others, 0.0)
    assert torch.equal(still, wanted)
    assert torch.equal(same.spks, told.spks[:6])
    assert torch.equal(same.cond, told.cond[:6])
    made, mixed = between_speakers(flow, told, wanted, others, 1.0)
    assert not made.cond.any()
    assert torch.allclose(mixed.norm(dim=1), torch.ones(6))
    assert torch.allclose(made.spks, flow.speaker(mixed))
    one, other = ((mixed * others[:, i]).sum(1) for i in range(2))
    apart = (others[:, 0] * others[:, 1]).sum(1)
    assert (one.acos() + other.acos() - apart.acos()).abs().max() < 1e-3
    assert (torch.maximum(one, other) < 1 - 1e-4).any()


def test_a_flow_learns_from_the_tokens_that_are_read_in_its_mel(work):
    tokenizer, reader, out = work / "tokenizer.safetensors", work / "reader.safetensors", work / "read.safetensors"
    torch.manual_seed(0)
    save_file(SpeechTokenizer(SpeechTokenizerConfig(**TOKENIZER)).state_dict(), tokenizer)
    data = ["--corpus", str(work / "corpus"), "--tokens", str(work / "tokens.npz")]
    small = ["batch=2", "tokens=50", "fractions={}", f"model={json.dumps(TOKENIZER)}"]

    def train(to, *changes):
        train_mel_reader.main([*COMMON, *data, "--tokenizer", str(tokenizer), "--out", str(to), *small, *changes])
        return [json.loads(line) for line in to.with_suffix(".log.jsonl").read_text().splitlines()]

    sizes = SpeechTokenizerConfig(**TOKENIZER)
    train(reader, "steps=20", "catch_up=0.9")
    heard = load_mel_reader(reader, sizes, "cpu")
    wave = torch.from_numpy(speech_like(2.0, 24000))[None]
    wanted = whisper_log_mel(torch.from_numpy(speech_like(2.0, 16000))[None], 80)

    def difference(model):
        return (model.bands(mel_24k(wave).transpose(1, 2)) - wanted).abs().mean().item()

    torch.manual_seed(9)  # of mini.yaml
    assert difference(heard) < 0.95 * difference(MelReader(sizes))
    both = train(work / "both.safetensors", "steps=60", "catch_up=0.0", "lr=3.0e-3", "average=0.9")
    assert len(both) == 1 and both[0]["distance"] > 0
    codes = torch.from_numpy(np.load(work / "tokens.npz")["speech"][None, :74])
    corpus = Corpus([work / "corpus"], "cpu", ("audio24",))
    mel = mel_24k(corpus.audio24[None, : 74 * TOKEN_24].float() / 32768).transpose(1, 2)
    inside = torch.ones(1, 74, dtype=torch.bool)
    far = [
        reading_distance(load_mel_reader(path, sizes, "cpu"), mel, token_digits(codes, sizes), inside, 0.3, 0.0).item()
        for path in (reader, work / "both.safetensors")
    ]
    assert far[1] < 0.8 * far[0]
    with pytest.raises(SystemExit, match="another corpus"):
        np.savez(work / "other.npz", **{**np.load(work / "tokens.npz"), "speech_len": np.array([75, 74, 74, 75])})
        train_mel_reader.main(
            [*COMMON, *data[:2], "--tokens", str(work / "other.npz"), "--tokenizer", str(tokenizer), "--out", str(out)]
        )

    flow = [*COMMON, *data, "--speakers", str(work / "rows.npz"), "--out", str(out)]
    changes = ["steps=2", "crops=[50]", "tokens_per_batch=200", "fractions={}", f"model={json.dumps(FLOW)}"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_flow, "SpeechTokenizerConfig", lambda **_: sizes)
        train_flow.main([*flow, "--mel-reader", str(reader), *changes, "reading_weight=0.1"])
    first = json.loads(out.with_suffix(".log.jsonl").read_text().splitlines()[0])
    assert first["reading"] > 0 and "speaker" not in first
    with pytest.raises(SystemExit, match="go together"):
        train_flow.main([*flow, "--mel-reader", str(reader), *changes])


def test_the_tokens_of_padding_do_not_count():
    torch.manual_seed(0)
    sizes = SpeechTokenizerConfig(**TOKENIZER)
    flow, reader = Flow(FlowConfig(**FLOW)).eval(), MelReader(sizes).eval()
    config = {
        "speaker_rows": 1.0, "between_speakers": 0.0, "speaker_steps": 1, "hearing": 0.0,
        "reading_weight": 0.1, "reading_temperature": 0.3,
    }  # fmt: skip
    token, lengths = torch.randint(0, 6561, (2, 10)), torch.tensor([10, 6])
    feat, noise = torch.randn(2, 20, 80), torch.randn(2, 20, 80)

    def reading(token):
        told = flow.conditions(token, lengths, feat, 2 * lengths, torch.ones(2, 192), torch.zeros_like(lengths))
        heard = Hearing(flow, config, torch.ones(2, 192), None, reader)
        return heard.distances(told, noise, token, feat, torch.arange(2), torch.zeros(2, 2, dtype=torch.int64), lengths)

    (weight, distance), other = reading(token)["reading"], token.clone()
    other[1, 6:] = 0
    assert weight == 0.1
    assert reading(other)["reading"][1] == distance
    other[1, 5] = (token[1, 5] + 3280) % 6561
    assert reading(other)["reading"][1] != distance
    distance.backward()
    assert sum(p.grad is not None and bool(p.grad.abs().sum()) for p in flow.decoder.parameters()) > 10


def test_the_speaker_encoder_begins_as_the_published_one(work):
    out = work / "speaker.safetensors"
    train_speaker.main(
        [*COMMON, "--corpus", str(work / "corpus"), "--targets", str(work / "rows.npz"), "--out", str(out),
         "--embeddings", str(work / "own.npz"), "--published", str(work / "campplus.safetensors"),
         "steps=1", "batch=2", "seconds=[1.0]", "storage=int4", "noisy=0.5", "lr=0.0", f"model={json.dumps(CAMPPLUS)}"]
    )  # fmt: skip
    state, given = load_file(out), load_file(work / "campplus.safetensors")
    assert state.keys() == given.keys()
    assert all(torch.equal(state[name], given[name]) for name in given if "num_batches" not in name)


def test_noise_is_as_strong_as_asked_under_some_of_the_rows():
    torch.manual_seed(0)
    wave = torch.randn(400, 1000) * torch.logspace(-3, 0, 400)[:, None]
    ratio = (noise_on(wave, (-40.0, -20.0), 0.5) - wave).square().mean(1) / wave.square().mean(1)
    noisy = ratio > 0
    assert 0.4 < noisy.float().mean() < 0.6
    level = 10 * ratio[noisy].log10()
    assert -40.5 < level.min() < -38 and -22 < level.max() < -19.5


def test_the_speaker_is_heard_at_the_end_of_rows_that_are_long_enough():
    def listener(mel):
        return mel.mean(1)

    mel, wanted = torch.arange(12.0).reshape(2, 6, 1), torch.full((2, 1), 0.1)
    assert ends(mel, torch.tensor([5, 2]), 3)[..., 0].tolist() == [[2, 3, 4], [6, 7, 8]]
    assert speaker_distance(listener, mel, torch.tensor([5, 2]), wanted, 3, 0.0).item() == pytest.approx(1 - 0.3)
    assert speaker_distance(listener, mel, torch.tensor([5, 6]), wanted, 3, 0.0).item() == pytest.approx(1 - 0.65)
    assert speaker_distance(listener, mel, torch.tensor([2, 2]), wanted, 3, 0.0).item() == 0


@torch.no_grad()
def test_a_hard_head_becomes_soft_and_others_stay():
    torch.manual_seed(0)
    attention = SelfAttention(8, 2, 4)
    attention.to_q.weight[:4] *= 1000
    x, before = torch.randn(3, 50, 8), attention.to_q.weight.clone()
    found = soften(torch.nn.Sequential(attention), lambda: attention(x, None))
    assert list(found) == ["0"] and found["0"][0] > HARD > found["0"][1]
    assert spread(attention, lambda: attention(x, None)) == pytest.approx([SOFT, found["0"][1]], abs=0.06)
    torch.testing.assert_close(attention.to_q.weight[4:], before[4:])
    assert soften(attention, lambda: attention(x, None)) == {}
