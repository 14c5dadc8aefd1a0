"""Whisper by transformers, tiny and random: features, decoder, batches, windows, and what is no Whisper."""

import json

import numpy as np
import pytest
import torch

from mamtra.audio.features import whisper_log_mel
from mamtra.errors import MamTraError
from mamtra.evaluate.judges import whisper_transformers
from mamtra.evaluate.judges.asr import FasterWhisper, open_transcriber
from mamtra.evaluate.judges.whisper_transformers import RATE, WINDOW, TransformersWhisper, windows

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
def test_the_search_is_whispers_own_from_the_same_features(tiny):
    """`generate` of Whisper itself, given its prompt, finds the same words."""
    whisper = TransformersWhisper(str(tiny), "cpu")
    model = transformers.WhisperForConditionalGeneration.from_pretrained(tiny).eval()
    model.generation_config.no_timestamps_token_id = WORDS + 5
    model.generation_config.lang_to_id = {"<|en|>": WORDS + 2}
    model.generation_config.task_to_id = {"transcribe": WORDS + 3}
    for seed in range(3):
        features = transformers.WhisperFeatureExtractor()(sound(1.5, seed), sampling_rate=RATE, return_tensors="pt")
        tokens = model.generate(
            features.input_features, num_beams=5, language="en", task="transcribe", return_timestamps=False,
            suppress_tokens=[3, *range(WORDS + 5, WORDS + 7)], max_new_tokens=19,
        )  # fmt: skip
        words = [f"w{token}" for token in tokens[0].tolist() if token < WORDS]
        assert whisper(sound(1.5, seed), RATE).split() == words


def test_a_batch_finds_the_words_of_one_by_one(tiny, monkeypatch):
    whisper = open_transcriber(tiny, device="cpu")
    sounds = [(sound(0.3 + number, number), RATE) for number in range(5)] + [(sound(1, 9), 24000)]
    monkeypatch.setattr(whisper, "batch_size", 4)
    together = whisper.many(sounds)
    assert together == [whisper(*one) for one in sounds] == whisper.many(sounds)
    assert len(set(together)) > 1 and all(
        set(text.split()) <= {f"w{n}" for n in range(WORDS)} - {"w3"} for text in together
    )
    assert whisper.many([]) == []


def test_the_fingerprint_names_model_version_precision_and_weights(tiny, tmp_path):
    about = open_transcriber(tiny, device="cpu").about
    assert about["asr"] == f"{tiny.name}, transformers {transformers.__version__} generate, beam 5, float32"
    assert len(about["asr_sha256"]) == 16
    assert TransformersWhisper(f"hf:{tiny}", "cpu").about["asr_sha256"] == about["asr_sha256"]
    with pytest.raises(MamTraError, match="cannot run in float16 on cpu"):
        TransformersWhisper(str(tiny), "cpu", "float16")


def test_long_sound_is_cut_where_it_is_quiet(tiny):
    wave = np.ones(70 * RATE, np.float32)
    wave[25 * RATE : 26 * RATE] = 0
    pieces = windows(wave)
    assert 25 * RATE < len(pieces[0]) < 26 * RATE and np.array_equal(np.concatenate(pieces), wave)
    assert all(len(piece) <= WINDOW for piece in pieces) and len(windows(wave[:WINDOW])) == 1
    whisper = TransformersWhisper(str(tiny), "cpu")
    long, short = np.concatenate([sound(29), np.zeros(RATE // 2, np.float32), sound(4, 3)]), sound(2, 1)
    texts = whisper.many([(long, RATE), (short, RATE)])
    assert texts == [" ".join(whisper(piece, RATE) for piece in windows(long)), whisper(short, RATE)]


def test_no_words_where_nobody_speaks(tiny, monkeypatch):
    whisper = TransformersWhisper(str(tiny), "cpu")
    assert whisper(sound(1), RATE)
    for silence, low, empty in ((-1.0, 9.0, True), (2.0, 9.0, False), (-1.0, -99.0, False)):
        monkeypatch.setattr(whisper_transformers, "SILENCE", silence)
        monkeypatch.setattr(whisper_transformers, "LOW", low)
        assert (whisper(sound(1), RATE) == "") is empty


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
    monkeypatch.setattr(FasterWhisper, "__init__", lambda self, model, threads=2: None)
    assert isinstance(open_transcriber(folder), FasterWhisper) and isinstance(open_transcriber("base"), FasterWhisper)
