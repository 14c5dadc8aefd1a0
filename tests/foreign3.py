"""Tiny CosyVoice 3 directories with random weights, made without its software."""

from __future__ import annotations

from pathlib import Path

import torch

from mamtra.acoustic.causal_hift import CausalHiFT, CausalHiFTConfig
from mamtra.acoustic.dit import rotary_frequencies
from mamtra.acoustic.dit_flow import DiTFlow, DiTFlowConfig
from mamtra.checkpoints.cosyvoice.sizes3 import FREQUENCIES
from mamtra.models.config import SpeechLMConfig
from tests.factories import small_config
from tests.foreign import YAML_VOCODER, cosyvoice_llm, write_speakers, write_tokenizer
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
"""
_AFTER_VOCODER = """
    conv_pre_look_right: {vocoder.conv_pre_look_right}
feat_extractor: !name:some.package.mel
    fmin: 0
    fmax: null
"""


def cosyvoice3_yaml(flow: DiTFlowConfig = FLOW, vocoder: CausalHiFTConfig = VOCODER) -> str:
    """The cosyvoice3.yaml of some sizes."""
    return (_YAML + YAML_VOCODER + _AFTER_VOCODER).format(flow=flow, vocoder=vocoder)


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
    return small_config("a" * layers, 27, text_vocab_size=320, speech_vocab_size=227, fill_id=30)


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
    write_tokenizer(directory / "CosyVoice-BlankEN", "etaoinshrdlucmfwyg.ĠYp")
    write_onnx_files(directory, FLOW.spk_embed_dim)
    (directory / "speech_tokenizer_v2.onnx").rename(directory / "speech_tokenizer_v3.onnx")
    write_speakers(directory, FLOW.spk_embed_dim, prompt)
    return directory
