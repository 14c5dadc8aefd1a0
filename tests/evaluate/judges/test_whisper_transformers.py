"""Whisper by transformers, tiny and random: features, decoder, batches, windows, and what is no Whisper."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from mamtra.audio.features import whisper_log_mel
from mamtra.errors import MamTraError
from mamtra.evaluate.judges import whisper_transformers as whisper_torch
from mamtra.evaluate.judges.asr import Whisper, open_transcriber
from mamtra.evaluate.judges.whisper_decoder import WhisperDecoder
from mamtra.evaluate.judges.whisper_transformers import RATE, WINDOW, TorchWhisper, windows

transformers = pytest.importorskip("transformers")

WORDS = 40
SPECIAL = (
    "<|endoftext|>",
    "<|startoftranscript|>",
    "<|en|>",
    "<|transcribe|>",
    "<|nospeech|>",
    "<|notimestamps|>",
    "<|0.00|>",
)


def make(folder, **changes):
    """A Whisper of one layer a side, which says words w0 ... w39."""
    from tokenizers import Tokenizer, decoders, models

    torch.manual_seed(0)
    vocabulary = {f" w{number}": number for number in range(WORDS)} | {s: WORDS + i for i, s in enumerate(SPECIAL)}
    config = transformers.WhisperConfig(
        vocab_size=len(vocabulary), d_model=32, encoder_layers=1, decoder_layers=2, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, max_target_positions=24, num_mel_bins=80,
        pad_token_id=WORDS, bos_token_id=WORDS, eos_token_id=WORDS, decoder_start_token_id=WORDS + 1, init_std=0.5,
    )  # fmt: skip
    model = transformers.WhisperForConditionalGeneration(config)
    with torch.no_grad():
        model.model.decoder.layer_norm.bias.normal_()
    model.generation_config.suppress_tokens = [3]
    model.generation_config.begin_suppress_tokens = [WORDS]
    model.generation_config.is_multilingual = True
    for name, value in changes.items():
        setattr(model.generation_config, name, value)
    model.save_pretrained(folder)
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=" w0"))
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.decoder = decoders.Fuse()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return make(tmp_path_factory.mktemp("whisper"))


def sound(seconds, seed=0):
    rng = np.random.default_rng(seed)
    pitch = 100 * (1 + seed % 7)
    time = np.arange(int(seconds * RATE)) / RATE
    return (np.sin(2 * np.pi * pitch * time) / 3 + rng.normal(0, 0.05, len(time))).astype(np.float32)


def test_features_are_those_of_transformers():
    for mels in (80, 128):
        theirs = transformers.WhisperFeatureExtractor(mels)(sound(3.3), sampling_rate=RATE, return_tensors="pt")
        filled = torch.zeros(1, WINDOW)
        filled[0, : int(3.3 * RATE)] = torch.from_numpy(sound(3.3))
        torch.testing.assert_close(whisper_log_mel(filled, mels), theirs.input_features, atol=2e-4, rtol=0)


@torch.inference_mode()
def test_the_decoder_follows_beams_like_transformers_own(tiny):
    model = transformers.WhisperForConditionalGeneration.from_pretrained(tiny).eval()
    torch.manual_seed(1)
    encoded, prompt = torch.randn(3, 50, 32), [WORDS + 1, WORDS + 2, 5]
    decoder = WhisperDecoder(model, encoded)

    def whole(clip, tokens):
        return model(encoder_outputs=(encoded[clip : clip + 1],), decoder_input_ids=torch.tensor([tokens])).logits[0]

    begun = decoder.start(prompt)
    torch.testing.assert_close(begun, torch.stack([whole(clip, prompt) for clip in range(3)]), atol=1e-4, rtol=1e-4)
    said = [[list(prompt) for _ in range(2)] for _ in range(3)]
    for _ in range(4):
        tokens, parents = torch.randint(WORDS, (3, 2)), torch.randint(2, (3, 2))
        found = decoder.follow(tokens, parents)
        said = [[[*said[c][parents[c, w]], int(tokens[c, w])] for w in range(2)] for c in range(3)]
        expected = torch.stack([torch.stack([whole(c, said[c][w])[-1] for w in range(2)]) for c in range(3)])
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_a_batch_hears_what_one_by_one_is_heard(tiny, monkeypatch):
    whisper = open_transcriber(tiny, device="cpu")
    sounds = [(sound(0.3 + number, number), RATE) for number in range(5)] + [(sound(1, 9), 24000)]
    monkeypatch.setattr(whisper_torch, "ENCODED", 2)
    monkeypatch.setattr(whisper, "at_once", 4)
    together = whisper.many(sounds)
    assert together == [whisper(*one) for one in sounds] == whisper.many(sounds)
    assert len(set(together)) > 1 and all(
        set(text.split()) <= {f"w{n}" for n in range(WORDS)} - {"w3"} for text in together
    )
    assert whisper.many([]) == []


def test_the_stamp_names_model_version_precision_and_weights(tiny, tmp_path):
    about = open_transcriber(tiny, device="cpu").about
    assert about["asr"] == f"{tiny.name}, transformers {transformers.__version__}, beam 5, float32"
    assert len(about["asr_sha256"]) == 16
    assert TorchWhisper(f"hf:{tiny}", "cpu").about["asr_sha256"] == about["asr_sha256"]
    with pytest.raises(MamTraError, match="cannot run in float16 on cpu"):
        TorchWhisper(str(tiny), "cpu", "float16")


def test_long_sound_is_cut_where_it_is_quiet(tiny):
    wave = np.ones(70 * RATE, np.float32)
    wave[25 * RATE : 26 * RATE] = 0
    pieces = windows(wave)
    assert 25 * RATE < len(pieces[0]) < 26 * RATE and np.array_equal(np.concatenate(pieces), wave)
    assert all(len(piece) <= WINDOW for piece in pieces) and len(windows(wave[:WINDOW])) == 1
    whisper = TorchWhisper(str(tiny), "cpu")
    long, short = np.concatenate([sound(29), np.zeros(RATE // 2, np.float32), sound(4, 3)]), sound(2, 1)
    heard = whisper.many([(long, RATE), (short, RATE)])
    assert heard == [" ".join(whisper(piece, RATE) for piece in windows(long)), whisper(short, RATE)]


def test_nothing_is_heard_where_nobody_speaks(tiny, monkeypatch):
    whisper, start, search = TorchWhisper(str(tiny), "cpu"), WhisperDecoder.start, whisper_torch.beam_search
    assert whisper(sound(1), RATE)
    monkeypatch.setattr(
        WhisperDecoder, "start", lambda self, prompt: start(self, prompt).index_fill(2, torch.tensor(WORDS + 4), 99.0)
    )
    for mean, heard in ((-2.0, False), (-0.5, True)):
        monkeypatch.setattr(
            whisper_torch, "beam_search", lambda *a, mean=mean, **k: search(*a, **k)._replace(mean_log_prob=[mean])
        )
        assert bool(whisper(sound(1), RATE)) is heard


@pytest.mark.parametrize("name", ["hf:nobody/nothing", "damaged", "other"])
def test_what_is_no_whisper_gets_a_sentence(tmp_path, monkeypatch, name):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    if not name.startswith("hf:"):
        folder = tmp_path / name
        folder.mkdir()
        kind = "whisper" if name == "damaged" else "bert"
        (folder / "config.json").write_text(json.dumps({"model_type": kind}), encoding="utf-8")
        (folder / "model.safetensors").write_bytes(b"\0" * 20)
        name = str(folder)
    with pytest.raises(MamTraError, match=r"no Whisper of transformers .*hf:openai/whisper-base"):
        open_transcriber(name, device="cpu")


def test_a_folder_of_both_kinds_is_ctranslate2s(tiny, tmp_path, monkeypatch):
    import shutil

    folder = tmp_path / "both"
    shutil.copytree(tiny, folder)
    (folder / "model.bin").write_bytes(b"x")
    monkeypatch.setattr(Whisper, "__init__", lambda self, model, threads=2: None)
    assert isinstance(open_transcriber(folder), Whisper) and isinstance(open_transcriber("base"), Whisper)
