"""The other networks of a CosyVoice 2 or 3 directory: flow.pt, hift.pt, and how cosyvoice2.yaml sizes them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mamtra.acoustic.causal_flow import CausalFlow
from mamtra.acoustic.causal_hift import F0_LOOKAHEAD, CausalHiFT, CausalHiFTConfig
from mamtra.acoustic.dit import rotary_frequencies
from mamtra.acoustic.dit_flow import DiTFlow
from mamtra.acoustic.flow import Flow, FlowConfig
from mamtra.acoustic.hift import HiFT, HiFTConfig
from mamtra.checkpoints.cosyvoice.files import SECOND, THIRD, VOCODER, check_generation, family_of, find_flow
from mamtra.checkpoints.cosyvoice.lm import BACKBONE, PickledTensors
from mamtra.checkpoints.cosyvoice.sizes3 import FREQUENCIES, read_dit_flow_config
from mamtra.checkpoints.cosyvoice.vocoder_sizes import SAMPLE_RATE, read_vocoder_sizes
from mamtra.checkpoints.cosyvoice.yaml import Settings
from mamtra.checkpoints.generation_config import GenerationConfig
from mamtra.checkpoints.strict_loading import build_uninitialised, load_strictly
from mamtra.errors import MamTraError
from mamtra.models.config import SpeechLMConfig
from mamtra.runtime.printable import printable
from mamtra.text.bpe import ASSISTANT, BpeConfig, build_qwen_tokenizer
from mamtra.text.cosyvoice3_tokens import SPECIAL_TOKENS

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SILENT_TOKENS = (1, 2, 28, 29, 55, 248, 494, 2241, 2242, 2322, 2323)
"""Silence and breath in the speech tokens of CosyVoice 3."""
_FLOW_RULES = {
    "sample_rate": SAMPLE_RATE,
    "flow.output_type": "mel",
    "flow.output_size": 80,
    "flow.input_frame_rate": 25,
    "flow.encoder.normalize_before": True,
    "flow.encoder.input_layer": "linear",
    "flow.encoder.pos_enc_layer_type": "rel_pos_espnet",
    "flow.encoder.selfattention_layer_type": "rel_selfattn",
    "flow.encoder.use_cnn_module": False,
    "flow.encoder.macaron_style": False,
    "flow.decoder.cfm_params.content.solver": "euler",
    "flow.decoder.cfm_params.content.t_scheduler": "cosine",
    "flow.decoder.estimator.act_fn": "gelu",
    "hift.sampling_rate": SAMPLE_RATE,
}


def read_flow_config(settings: Settings, blocks_after: int) -> FlowConfig:
    """Sizes of the flow.

    Args:
        settings: content of cosyvoice2.yaml.
        blocks_after: encoder blocks after the upsampling, which the file does not give.

    Raises:
        MamTraError: a value is missing, wrong, or not supported.
    """
    for place, wanted in _FLOW_RULES.items():
        settings.require(place, wanted)
    get = settings.get
    width = get("flow.encoder.output_size")
    settings.require("flow.encoder.input_size", width)
    settings.require("flow.input_size", width)
    settings.require("flow.vocab_size", get("llm.speech_token_size"))
    channels = get("flow.decoder.estimator.channels")
    if not isinstance(channels, list) or len(channels) != 1:
        shown = printable(repr(channels))
        raise MamTraError(f"{settings.path} has flow.decoder.estimator.channels {shown}; one width is supported.")
    estimator, cfm = "flow.decoder.estimator.", "flow.decoder.cfm_params.content."
    return settings.parse(
        FlowConfig,
        input_size=width,
        spk_embed_dim=get("flow.spk_embed_dim"),
        vocab_size=get("flow.vocab_size"),
        token_mel_ratio=get("flow.token_mel_ratio"),
        pre_lookahead_len=get("flow.pre_lookahead_len"),
        chunk_size=get("flow.encoder.static_chunk_size", 25),
        encoder_heads=get("flow.encoder.attention_heads"),
        encoder_ffn=get("flow.encoder.linear_units"),
        encoder_blocks=get("flow.encoder.num_blocks"),
        encoder_up_blocks=blocks_after,
        encoder_dropout=get("flow.encoder.dropout_rate", 0.1),
        estimator_channels=channels[0],
        estimator_heads=get(estimator + "num_heads"),
        estimator_head_dim=get(estimator + "attention_head_dim"),
        estimator_n_blocks=get(estimator + "n_blocks"),
        estimator_mid_blocks=get(estimator + "num_mid_blocks"),
        sigma_min=get(cfm + "sigma_min", 1e-6),
        inference_cfg_rate=get(cfm + "inference_cfg_rate", 0.7),
        training_cfg_rate=get(cfm + "training_cfg_rate", 0.2),
    )


def read_generation(settings: Settings) -> GenerationConfig:
    """Sampling defaults of the file; lengths, Euler steps and missing values are those of the original code.

    Raises:
        MamTraError: a value is not a number.
    """
    found = {name: settings.get("llm.sampling." + name, None) for name in ("top_p", "top_k", "win_size", "tau_r")}
    given = {name: value for name, value in found.items() if value is not None}
    if settings.path.name == THIRD.settings:
        given["silent_tokens"] = SILENT_TOKENS
    return settings.parse(GenerationConfig, bistream=True, text_rules="cosyvoice2", like_original=True, **given)


def check_language_model(settings: Settings, config: SpeechLMConfig) -> None:
    """Compare cosyvoice2.yaml with the sizes that the tensors of llm.pt have.

    Raises:
        MamTraError: they differ.
    """
    for place, found in (
        ("llm.speech_token_size", config.num_speech_tokens),
        ("llm.llm_input_size", config.hidden_size),
        ("llm.llm_output_size", config.hidden_size),
    ):
        said = settings.get(place, found)
        if said != found:
            raise MamTraError(
                f"{settings.path} has {place} {printable(repr(said))}, but llm.pt has {found}; get the model again."
            )


def open_text(directory: Path, config: SpeechLMConfig) -> Tokenizer:
    """The text tokenizer; checks that all its ids have a row in the language model.

    Raises:
        MamTraError: its files are missing or damaged, or some ids have no row.
    """
    tokenizer = build_qwen_tokenizer(directory / BACKBONE, SPECIAL_TOKENS if family_of(directory) == THIRD else ())
    if tokenizer.get_vocab_size() > config.text_vocab_size:
        raise MamTraError(
            f"{directory / BACKBONE} has {tokenizer.get_vocab_size()} text tokens, but llm.pt only "
            f"{config.text_vocab_size}; get the model again."
        )
    return tokenizer


def text_config(directory: Path) -> BpeConfig:
    """How the text front end divides text, and what the model reads first."""
    return BpeConfig(assistant=ASSISTANT if family_of(directory) == THIRD else "")


def load_flow(directory: Path, settings: Settings) -> CausalFlow:
    """The flow in float32, on the CPU, in eval mode.

    Raises:
        MamTraError: a file is missing, damaged or of another CosyVoice, or names and shapes differ from the sizes in the settings.
    """
    path = find_flow(directory)
    state = _state(path)
    third = any(name.startswith("decoder.estimator.transformer_blocks.") for name in state)
    check_generation(path, THIRD if third else SECOND, settings.path)
    if third:
        _drop_frequencies(path, state, settings)
        sizes = read_dit_flow_config(settings)
        return _filled(lambda: DiTFlow(sizes), state, path, settings)
    after = {name.split(".")[2] for name in state if name.startswith("encoder.up_encoders.")}
    config = read_flow_config(settings, len(after))
    return _filled(lambda: Flow(config), state, path, settings)


def load_vocoder(directory: Path, settings: Settings) -> HiFT:
    """The vocoder likewise, its weight norm folded in.

    The discriminator of a training checkpoint is ignored.
    """
    path = directory / VOCODER
    state = {
        name.removeprefix("generator."): tensor
        for name, tensor in _state(path).items()
        if not name.startswith("discriminator.")
    }
    first = state.get("f0_predictor.condnet.0.parametrizations.weight.original1")
    third = first is not None and first.shape[-1] == F0_LOOKAHEAD + 1
    check_generation(path, THIRD if third else SECOND, settings.path)
    vocoder: HiFT
    if third:
        sizes = read_vocoder_sizes(settings, CausalHiFTConfig)
        vocoder = _filled(lambda: CausalHiFT(sizes), state, path, settings)
    else:
        config = read_vocoder_sizes(settings, HiFTConfig)
        vocoder = _filled(lambda: HiFT(config), state, path, settings)
    return vocoder.remove_weight_norm().requires_grad_(False)


def _drop_frequencies(path: Path, state: dict[str, Tensor], settings: Settings) -> None:
    """Leave out the constant of rotary positions.

    Raises:
        MamTraError: it is another one than ours.
    """
    stored = state.pop(FREQUENCIES, None)
    if stored is None:
        return
    ours = rotary_frequencies(2 * stored.numel())
    if stored.dim() != 1 or not torch.allclose(stored.float(), ours, rtol=1e-3):
        raise MamTraError(
            f"{path} has other rotary frequencies than {settings.path.name} asks for; get the model again."
        )


def _state(path: Path) -> dict[str, Tensor]:
    source = PickledTensors(path)
    return {name: source.read(name) for name in source.tensors}


def _filled(factory: Any, state: dict[str, Tensor], path: Path, settings: Settings) -> Any:
    module: nn.Module = build_uninitialised(factory)
    return load_strictly(
        module, {name: tensor.float() for name, tensor in state.items()}, str(path), settings.path.name
    )
