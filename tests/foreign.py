"""Tiny directories in the formats of others, with random weights, made without their software."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from mamtra.acoustic.flow import Flow, FlowConfig
from mamtra.acoustic.hift import HiFT, HiFTConfig
from mamtra.models.causal_lm import CausalLM
from mamtra.models.config import CausalLMConfig, SpeechLMConfig
from mamtra.models.speech_lm import SpeechLM
from tests.factories import TINY_FLOW, small_config, small_sizes

LAYERS = 4
FLOW = FlowConfig(**TINY_FLOW, vocab_size=27)
VOCODER = HiFTConfig(base_channels=16, f0_channels=8)
_YAML = """
__set_seed1: !apply:random.seed [1986]
sample_rate: 24000
token_mel_ratio: 2
chunk_size: 25
llm: !new:some.package.LanguageModel
    speech_token_size: {lm.num_speech_tokens}
    sampling: !name:some.package.sampling
        top_p: 0.75
        top_k: 24
flow: !new:some.package.Flow
    input_size: {flow.input_size}
    output_size: {flow.output_size}
    spk_embed_dim: {flow.spk_embed_dim}
    output_type: 'mel'
    vocab_size: {flow.vocab_size}
    input_frame_rate: 25
    token_mel_ratio: !ref <token_mel_ratio>
    pre_lookahead_len: 3
    encoder: !new:some.package.Encoder
        output_size: {flow.input_size}
        attention_heads: {flow.encoder_heads}
        linear_units: {flow.encoder_ffn}
        num_blocks: {flow.encoder_blocks}
        dropout_rate: 0.1
        input_layer: 'linear'
        input_size: {flow.input_size}
        static_chunk_size: !ref <chunk_size>
    decoder: !new:some.package.Decoder
        cfm_params: !new:some.package.Dict
            content:
                sigma_min: 1e-06
                solver: 'euler'
                t_scheduler: 'cosine'
                inference_cfg_rate: 0.7
        estimator: !new:some.package.Estimator
            channels: [{flow.estimator_channels}]
            attention_head_dim: {flow.estimator_head_dim}
            n_blocks: {flow.estimator_n_blocks}
            num_mid_blocks: {flow.estimator_mid_blocks}
            num_heads: {flow.estimator_heads}
            static_chunk_size: !ref <chunk_size> * <token_mel_ratio>
"""
YAML_VOCODER = """hift: !new:some.package.Vocoder
    in_channels: 80
    base_channels: {vocoder.base_channels}
    nb_harmonics: {vocoder.nb_harmonics}
    sampling_rate: !ref <sample_rate>
    nsf_alpha: 0.1
    nsf_sigma: 0.003
    nsf_voiced_threshold: 10
    upsample_rates: [8, 5, 3]
    upsample_kernel_sizes: [16, 11, 7]
    istft_params:
        n_fft: 16
        hop_len: 4
    resblock_kernel_sizes: [3, 7, 11]
    resblock_dilation_sizes: [[1, 3, 5], [1, 3, 5], [1, 3, 5]]
    source_resblock_kernel_sizes: [7, 7, 11]
    source_resblock_dilation_sizes: [[1, 3, 5], [1, 3, 5], [1, 3, 5]]
    lrelu_slope: 0.1
    audio_limit: 0.99
    f0_predictor: !new:some.package.Pitch
        cond_channels: {vocoder.f0_channels}
"""


def shaken(state: dict[str, Tensor], seed: int) -> dict[str, Tensor]:
    """Weights with biases and norms that are not zeros and ones."""
    generator = torch.Generator().manual_seed(seed)
    return {name: value + 0.2 * torch.randn(value.shape, generator=generator) for name, value in state.items()}


def huggingface_state(kind: str = "qwen2", tied: bool = False, seed: int = 0) -> dict[str, Tensor]:
    """Weights for `huggingface_directory`."""
    sizes = small_sizes("a" * LAYERS, hidden_size=24, intermediate_size=40, vocab_size=50)
    config = CausalLMConfig(**sizes, attention_bias=kind == "qwen2", tie_word_embeddings=tied)
    return shaken(CausalLM(config, torch.Generator().manual_seed(seed)).state_dict(), seed)


def huggingface_directory(
    directory: Path,
    kind: str = "qwen2",
    *,
    tied: bool = False,
    dtype: torch.dtype = torch.float32,
    shards: int = 1,
    **changes: Any,
) -> Path:
    """A Qwen2 or Llama directory as transformers 4 writes it; `changes` go into its config.json, None removes an entry."""
    directory.mkdir(parents=True)
    config = {
        "model_type": kind,
        "hidden_act": "silu",
        "hidden_size": 24,
        "intermediate_size": 40,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1e4,
        "vocab_size": 50,
        "tie_word_embeddings": tied,
        "eos_token_id": 3,
        **changes,
    }
    config = {name: value for name, value in config.items() if value is not None}
    (directory / "config.json").write_text(json.dumps(config))
    (directory / "tokenizer.json").write_text("{}")
    (directory / "generation_config.json").write_text('{"eos_token_id": [3, 5]}')
    (directory / "LICENSE").write_text("as you like")
    state = {name: value.to(dtype) for name, value in huggingface_state(kind, tied).items()}
    if shards == 1:
        save_file(state, directory / "model.safetensors")
        return directory
    names = [f"model-{i:05}-of-{shards:05}.safetensors" for i in range(1, shards + 1)]
    home = {name: names[i * shards // len(state)] for i, name in enumerate(state)}
    for file in names:
        save_file({name: value for name, value in state.items() if home[name] == file}, directory / file)
    index = {"metadata": {"total_size": 0}, "weight_map": home}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    return directory


def cosyvoice_lm(layers: int = LAYERS) -> SpeechLMConfig:
    """Small sizes."""
    return small_config("a" * layers, 27)


def cosyvoice_state(seed: int = 0, layers: int = LAYERS, lm: SpeechLMConfig | None = None) -> dict[str, Any]:
    """What the llm.pt of a CosyVoice 2 training checkpoint holds, in small sizes or those of `lm`."""
    state = shaken(SpeechLM(lm or cosyvoice_lm(layers), torch.Generator().manual_seed(seed)).state_dict(), seed)
    state = {f"llm.model.{name}" if name.startswith("model.") else name: value for name, value in state.items()}
    return {**state, "llm.model.lm_head.weight": state["llm.model.model.embed_tokens.weight"], "epoch": 3, "step": 7}


def cosyvoice_llm(directory: Path, seed: int = 0, lm: SpeechLMConfig | None = None) -> Path:
    """The language model of a CosyVoice 2 directory alone."""
    lm = lm or cosyvoice_lm()
    backbone = directory / "CosyVoice-BlankEN"
    backbone.mkdir(parents=True)
    config = {
        "architectures": ["Qwen2ForCausalLM"],
        "hidden_act": "silu",
        "hidden_size": lm.hidden_size,
        "intermediate_size": lm.intermediate_size,
        "max_window_layers": lm.num_hidden_layers,
        "model_type": "qwen2",
        "num_attention_heads": lm.num_attention_heads,
        "num_hidden_layers": lm.num_hidden_layers,
        "num_key_value_heads": lm.num_key_value_heads,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1e6,
        "sliding_window": 32768,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "use_sliding_window": False,
        "vocab_size": lm.text_vocab_size,
    }
    (backbone / "config.json").write_text(json.dumps(config))
    torch.save(cosyvoice_state(seed, lm=lm), directory / "llm.pt")
    return directory


def cosyvoice_yaml(lm: SpeechLMConfig | None = None, flow: FlowConfig = FLOW, vocoder: HiFTConfig = VOCODER) -> str:
    """The cosyvoice2.yaml of some sizes."""
    return (_YAML + YAML_VOCODER).format(lm=lm or cosyvoice_lm(), flow=flow, vocoder=vocoder)


def cosyvoice_directory(
    directory: Path,
    seed: int = 0,
    layers: int = LAYERS,
    *,
    lm: SpeechLMConfig | None = None,
    flow: FlowConfig = FLOW,
    vocoder: HiFTConfig = VOCODER,
    prompt: int = 5,
) -> Path:
    """A CosyVoice 2 directory as published, small by default; the two ONNX files are empty."""
    lm = lm or cosyvoice_lm(layers)
    cosyvoice_llm(directory, seed, lm)
    write_tokenizer(directory / "CosyVoice-BlankEN", "etaoinshrdlucmfwyg.Ġ")
    (directory / "cosyvoice2.yaml").write_text(cosyvoice_yaml(lm, flow, vocoder))
    for name in ("campplus.onnx", "speech_tokenizer_v2.onnx"):
        (directory / name).write_bytes(b"")
    torch.manual_seed(seed)
    torch.save({**Flow(flow).state_dict(), "epoch": 3, "step": 7}, directory / "flow.pt")
    state = HiFT(vocoder).state_dict()
    torch.save({f"generator.{name}": value for name, value in state.items()}, directory / "hift.pt")
    write_speakers(directory, flow.spk_embed_dim, prompt)
    return directory


def write_tokenizer(backbone: Path, units: str) -> None:
    """Files of a BPE without merges."""
    (backbone / "vocab.json").write_text(json.dumps({unit: i for i, unit in enumerate(units)}))
    (backbone / "tokenizer_config.json").write_text("{}")
    (backbone / "merges.txt").write_text("#version: 0.2\n")


def write_speakers(directory: Path, size: int, prompt: int) -> None:
    """A preset speaker with a prompt, and one with an embedding of `size` alone."""
    whole = {
        "embedding": torch.randn(1, size),
        "prompt_text": torch.arange(6, dtype=torch.int32)[None],
        "flow_prompt_speech_token": torch.arange(prompt, dtype=torch.int32)[None],
        "prompt_speech_feat": torch.randn(1, 2 * prompt, 80) - 5,
    }
    torch.save({"ann": whole, "女": {"embedding": torch.randn(1, size)}}, directory / "spk2info.pt")
