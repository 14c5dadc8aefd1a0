"""How cosyvoice3.yaml sizes the flow of CosyVoice 3."""

from __future__ import annotations

from mamtra.acoustic.dit_flow import DiTFlowConfig
from mamtra.checkpoints.cosyvoice.vocoder_sizes import SAMPLE_RATE
from mamtra.checkpoints.cosyvoice.yaml import Settings
from mamtra.errors import MamTraError
from mamtra.runtime.printable import printable

FREQUENCIES = "decoder.estimator.rotary_embed.inv_freq"
"""A constant that flow.pt holds beside the weights."""
_RULES = {
    "sample_rate": SAMPLE_RATE,
    "flow.output_type": "mel",
    "flow.output_size": 80,
    "flow.input_frame_rate": 25,
    "flow.decoder.cfm_params.content.solver": "euler",
    "flow.decoder.cfm_params.content.t_scheduler": "cosine",
    "flow.decoder.estimator.mel_dim": 80,
    "flow.decoder.estimator.mu_dim": 80,
    "flow.decoder.estimator.spk_dim": 80,
    "flow.decoder.estimator.out_channels": 80,
    "flow.decoder.estimator.long_skip_connection": False,
    "hift.sampling_rate": SAMPLE_RATE,
}


def read_dit_flow_config(settings: Settings) -> DiTFlowConfig:
    """Sizes of the flow. The original attends to all earlier chunks, whatever `num_decoding_left_chunks` says, and so does ours.

    Raises:
        MamTraError: a value is missing, wrong, or not supported.
    """
    for place, wanted in _RULES.items():
        settings.require(place, wanted)
    get, estimator, cfm = settings.get, "flow.decoder.estimator.", "flow.decoder.cfm_params.content."
    settings.require("flow.vocab_size", get("llm.speech_token_size"))
    lookahead, ratio = get("flow.pre_lookahead_len"), get("flow.token_mel_ratio")
    settings.require("flow.pre_lookahead_layer.pre_lookahead_len", lookahead)
    settings.require("flow.pre_lookahead_layer.in_channels", get("flow.input_size"))
    frames = get(estimator + "static_chunk_size", 50)
    if not isinstance(ratio, int) or ratio < 1 or not isinstance(frames, int) or frames % ratio:
        raise MamTraError(
            f"{settings.path} has {estimator}static_chunk_size {printable(repr(frames))}; "
            "it should be a multiple of flow.token_mel_ratio."
        )
    return settings.parse(
        DiTFlowConfig,
        input_size=get("flow.input_size"),
        spk_embed_dim=get("flow.spk_embed_dim"),
        vocab_size=get("flow.vocab_size"),
        token_mel_ratio=ratio,
        pre_lookahead_len=lookahead,
        lookahead_channels=get("flow.pre_lookahead_layer.channels"),
        chunk_size=frames // ratio,
        dit_width=get(estimator + "dim"),
        dit_depth=get(estimator + "depth"),
        dit_heads=get(estimator + "heads"),
        dit_head_dim=get(estimator + "dim_head"),
        dit_ff_mult=get(estimator + "ff_mult"),
        sigma_min=get(cfm + "sigma_min", 1e-6),
        inference_cfg_rate=get(cfm + "inference_cfg_rate", 0.7),
        training_cfg_rate=get(cfm + "training_cfg_rate", 0.2),
    )


def read_mel_high(settings: Settings, default: float) -> float:
    """Upper edge of the mel in Hz: half of the sample rate where the file says null.

    Raises:
        MamTraError: it is none.
    """
    high = settings.get("feat_extractor.fmax", default)
    high = SAMPLE_RATE / 2 if high is None else high
    if not isinstance(high, int | float) or not 0 < high <= SAMPLE_RATE / 2:
        raise MamTraError(
            f"{settings.path} has feat_extractor.fmax {printable(repr(high))}; it should be up to {SAMPLE_RATE // 2} Hz."
        )
    return float(high)
