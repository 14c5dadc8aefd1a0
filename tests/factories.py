"""Tiny models with random weights, made in a second, for tests of everything around the weights."""

from __future__ import annotations

import lzma
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from mamtra.acoustic.flow import Flow, FlowConfig
from mamtra.acoustic.hift import HiFT, HiFTConfig
from mamtra.audio.io import write_audio
from mamtra.checkpoints.generation_config import GenerationConfig
from mamtra.checkpoints.native import save_model, voice_space
from mamtra.encoders.campplus import CAMPPlus, CAMPPlusConfig
from mamtra.encoders.speech_tokenizer import SpeechTokenizer, SpeechTokenizerConfig
from mamtra.models.config import SpeechLMConfig
from mamtra.models.speech_lm import SpeechLM
from mamtra.text.tokenizer import write_phoneme_tokenizer
from mamtra.voices.info import VoiceInfo
from mamtra.voices.voice import Voice

EMBEDDING = 16
TINY_FLOW = {
    "input_size": 16, "spk_embed_dim": EMBEDDING, "encoder_heads": 2, "encoder_ffn": 32, "encoder_blocks": 1,
    "encoder_up_blocks": 1, "estimator_channels": 16, "estimator_heads": 2, "estimator_head_dim": 8,
    "estimator_n_blocks": 1, "estimator_mid_blocks": 1,
}  # fmt: skip
WORDS = {
    "a": "A",
    "are": "ɑɹ",
    "good": "ɡˈʊd",
    "hello": "həlˈO",
    "hi": "hˈI",
    "how": "hˌW",
    "is": "ɪz",
    "morning": "mˈɔɹnɪŋ",
    "of": "ʌv",
    "sentence": "sˈɛntᵊns",
    "seven": "sˈɛvən",
    "there": "ðɛɹ",
    "this": "ðɪs",
    "word": "wˈɜɹd",
    "words": "wˈɜɹdz",
    "you": "ju",
}


KINDS = {"a": "full_attention", "m": "linear_attention", "d": "linear_attention"}


def small_sizes(pattern: str = "am", **changes: Any) -> dict[str, Any]:
    """Sizes of a small backbone, a letter of `KINDS` a layer."""
    return {
        "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": len(pattern), "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 8, "layer_types": tuple(KINDS[k] for k in pattern), **changes,
    }  # fmt: skip


def small_config(pattern: str = "am", speech: int = 30, **changes: Any) -> SpeechLMConfig:
    """Sizes of a small speech LM with `speech` tokens."""
    ids = {"num_speech_tokens": speech, "speech_vocab_size": speech + 3, "eos_id": speech, "fill_id": speech + 2}
    return SpeechLMConfig(**small_sizes(pattern, text_vocab_size=40, **ids) | changes)


def tiny_config(pattern: str = "am", speech: int = 6561, **changes: Any) -> SpeechLMConfig:
    """Sizes of the LM of `tiny_model`."""
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16, "text_vocab_size": 256}
    return small_config(pattern, speech, **heads | changes)


def tiny_parts(seed: int = 0) -> dict[str, nn.Module]:
    """All five networks, a few thousand weights each; the LM is a hybrid of two layers."""
    torch.manual_seed(seed)
    flow = FlowConfig(**TINY_FLOW)
    vocoder = HiFTConfig(base_channels=16, f0_channels=8, nb_harmonics=2)
    tokenizer = SpeechTokenizerConfig(width=16, layers=1, heads=2, inner=16, narrow=16, expansion=2)
    speaker = CAMPPlusConfig(
        embedding_size=EMBEDDING,
        head_channels=4,
        head_blocks=(1, 1),
        init_channels=8,
        growth_rate=4,
        block_layers=(1, 1, 1),
    )
    return {
        "lm": SpeechLM(tiny_config()),
        "flow": Flow(flow),
        "vocoder": HiFT(vocoder),
        "speech_tokenizer": SpeechTokenizer(tokenizer),
        "speaker_encoder": CAMPPlus(speaker).eval(),
    }


def small_hybrid(text_vocab_size: int = 40) -> SpeechLM:
    """A speech LM of an attention and a Mamba layer, with 30 speech tokens."""
    narrow = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "num_key_value_heads": 1}
    config = small_config(**narrow, text_vocab_size=text_vocab_size)
    return SpeechLM(config, torch.Generator().manual_seed(0)).eval()


def patterned_lm(pattern: str, bias: bool = True, hidden_size: int = 24, intermediate_size: int = 40) -> SpeechLM:
    """A letter a layer: attention, Mamba-2, or Mamba in its discrete form."""
    config = small_config(
        pattern, 20, hidden_size=hidden_size, intermediate_size=intermediate_size, text_vocab_size=30,
        mamba_form="discrete" if "d" in pattern else "mamba2", mamba_chunk_size=8, mamba_qkv_bias=bias,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    lm = SpeechLM(config, generator).eval().requires_grad_(False)
    for parameter in lm.parameters():  # biases, norms and skips away from their neutral values
        parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.2)
    return lm


def tiny_model(directory: Path, storage: str | Mapping[str, str] = "float32", seed: int = 0) -> Path:
    """A complete model directory with one voice, "tiny"; it says at most three speech tokens a text id."""
    directory.mkdir(parents=True, exist_ok=True)
    tiny_text(directory)
    generation = GenerationConfig(max_ratio=3.0, flow_steps=2)
    save_model(directory, tiny_parts(seed), storage=storage, generation=generation)
    (directory / "voices").mkdir(exist_ok=True)
    tiny_voice(space=voice_space(directory)).save(directory / "voices" / "tiny.safetensors")
    return directory


def tiny_text(directory: Path) -> None:
    """Files of a text front end that knows the words of `WORDS` and no others."""
    write_phoneme_tokenizer(directory / "tokenizer.json")
    lines = sorted(f"{word}\t{phonemes}\n".encode() for word, phonemes in WORDS.items())
    (directory / "lexicon.txt.xz").write_bytes(lzma.compress(b"".join(lines)))
    (directory / "text.json").write_text("{}")


def tiny_voice(name: str = "tiny", tokens: int = 10, space: str = "") -> Voice:
    """A voice of random numbers."""
    generator = torch.Generator().manual_seed(1)
    return Voice(
        VoiceInfo(name=name, description="random", licence="CC0-1.0", voice_space=space),
        prompt_text=torch.randint(1, 100, (5,), generator=generator),
        prompt_speech=torch.randint(0, 6561, (tokens,), generator=generator),
        prompt_mel=torch.randn(2 * tokens, 80, generator=generator) - 5,
        embedding=torch.randn(EMBEDDING, generator=generator),
    )


def speech_like(seconds: float, rate: int = 16000, level: float = 0.3) -> np.ndarray:
    """Harmonics of 120 Hz that come and go four times a second over faint noise: (T,) float32."""
    time = np.arange(round(seconds * rate)) / rate
    tone = sum(np.sin(2 * np.pi * 120 * k * time) / k for k in range(1, 8))
    envelope = np.clip(np.sin(2 * np.pi * 2 * time), 0, 1)
    noise = np.random.default_rng(0).normal(0, 1e-3, len(time))
    return (level * envelope * tone / 2 + noise).astype(np.float32)


def reference(path: Path, seconds: float = 3.0, rate: int = 16000, level: float = 0.3) -> Path:
    """A sound file to clone from."""
    write_audio(path, speech_like(seconds, rate, level), rate)
    return path
