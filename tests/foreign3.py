"""Tiny CosyVoice 3 directories with random weights, made without its software."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from mamtra.acoustic.causal_hift import CausalHiFT, CausalHiFTConfig
from mamtra.acoustic.dit import rotary_frequencies
from mamtra.acoustic.dit_flow import DiTFlow, DiTFlowConfig
from mamtra.checkpoints.cosyvoice.sizes3 import FREQUENCIES
from mamtra.models.config import SpeechLMConfig
from tests.foreign import cosyvoice_llm
from tests.tiny_onnx import write_onnx_files

FLOW = DiTFlowConfig(
    vocab_size=27, spk_embed_dim=8, lookahead_channels=24, dit_width=32, dit_depth=2, dit_heads=4, dit_head_dim=8
)  # fmt: skip
VOCODER = CausalHiFTConfig(base_channels=16, f0_channels=8)
_YAML = """
__set_seed1: !apply:random.seed [1986]
sample_rate: 24000
token_frame_rate: 25
token_mel_ratio: 2
chunk_size: 25
llm: !new:some.package.CosyVoice3LM
    speech_token_size: {flow.vocab_size}
    mix_ratio: [5, 15]
    sampling: !name:some.package.sampling
        top_p: 0.75
        top_k: 24
flow: !new:some.package.Flow
    input_size: {flow.input_size}
    output_size: {flow.output_size}
    spk_embed_dim: {flow.spk_embed_dim}
    output_type: 'mel'
    vocab_size: {flow.vocab_size}
    input_frame_rate: !ref <token_frame_rate>
    token_mel_ratio: !ref <token_mel_ratio>
    pre_lookahead_len: 3
    pre_lookahead_layer: !new:some.package.Lookahead
        in_channels: {flow.input_size}
        channels: {flow.lookahead_channels}
        pre_lookahead_len: 3
    decoder: !new:some.package.Decoder
        cfm_params: !new:some.package.Dict
            content:
                sigma_min: 1e-06
                solver: 'euler'
                t_scheduler: 'cosine'
                inference_cfg_rate: 0.7
        estimator: !new:some.package.DiT
            dim: {flow.dit_width}
            depth: {flow.dit_depth}
            heads: {flow.dit_heads}
            dim_head: {flow.dit_head_dim}
            ff_mult: {flow.dit_ff_mult}
            mel_dim: 80
            mu_dim: 80
            spk_dim: 80
            out_channels: 80
            static_chunk_size: !ref <chunk_size> * <token_mel_ratio>
            num_decoding_left_chunks: -1
hift: !new:some.package.Vocoder
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
    conv_pre_look_right: {vocoder.conv_pre_look_right}
    f0_predictor: !new:some.package.Pitch
        cond_channels: {vocoder.f0_channels}
feat_extractor: !name:some.package.mel
    fmin: 0
    fmax: null
"""


def cosyvoice3_yaml(flow: DiTFlowConfig = FLOW, vocoder: CausalHiFTConfig = VOCODER) -> str:
    """The cosyvoice3.yaml of some sizes."""
    return _YAML.format(flow=flow, vocoder=vocoder)


def cosyvoice3_parts(
    directory: Path, seed: int = 0, *, flow: DiTFlowConfig = FLOW, vocoder: CausalHiFTConfig = VOCODER
) -> Path:
    """Settings, flow and vocoder of a CosyVoice 3 directory."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "cosyvoice3.yaml").write_text(cosyvoice3_yaml(flow, vocoder))
    torch.manual_seed(seed)
    frequencies = {FREQUENCIES: rotary_frequencies(flow.dit_head_dim)}
    torch.save({**DiTFlow(flow).state_dict(), **frequencies, "epoch": 3, "step": 7}, directory / "flow.pt")
    state = CausalHiFT(vocoder).state_dict()
    torch.save({f"generator.{name}": value for name, value in state.items()}, directory / "hift.pt")
    return directory


def cosyvoice3_lm(layers: int = 4) -> SpeechLMConfig:
    """Small sizes."""
    return SpeechLMConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        text_vocab_size=320,
        num_speech_tokens=27,
        speech_vocab_size=227,
        eos_id=27,
        fill_id=30,
    )


def cosyvoice3_directory(directory: Path, seed: int = 0, prompt: int = 5) -> Path:
    """A CosyVoice 3 directory as published, small; the two ONNX files are those of `tests.tiny_onnx`."""
    cosyvoice3_parts(directory, seed)
    lm = cosyvoice3_lm()
    cosyvoice_llm(directory, seed, lm)
    state = torch.load(directory / "llm.pt", weights_only=True)
    del state["llm_embedding.weight"], state["llm_decoder.bias"]
    head = state["llm_decoder.weight"]
    head *= 4
    head[[27, *range(29, 227)]] = 0  # else one of the 200 ids that end generation would come at once
    torch.save(state, directory / "llm.pt")
    backbone = directory / "CosyVoice-BlankEN"
    (backbone / "vocab.json").write_text(json.dumps({unit: i for i, unit in enumerate("etaoinshrdlucmfwyg.ĠYp")}))
    (backbone / "tokenizer_config.json").write_text("{}")
    (backbone / "merges.txt").write_text("#version: 0.2\n")
    write_onnx_files(directory, FLOW.spk_embed_dim)
    (directory / "speech_tokenizer_v2.onnx").rename(directory / "speech_tokenizer_v3.onnx")
    whole = {
        "embedding": torch.randn(1, FLOW.spk_embed_dim),
        "prompt_text": torch.arange(6, dtype=torch.int32)[None],
        "flow_prompt_speech_token": torch.arange(prompt, dtype=torch.int32)[None],
        "prompt_speech_feat": torch.randn(1, 2 * prompt, 80) - 5,
    }
    torch.save({"ann": whole, "女": {"embedding": torch.randn(1, FLOW.spk_embed_dim)}}, directory / "spk2info.pt")
    return directory
