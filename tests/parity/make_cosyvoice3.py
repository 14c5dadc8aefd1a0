"""Make the vectors of CosyVoice 3 by the original code: `python -m tests.parity.make_cosyvoice3 REFERENCE [LIBRARIES]`.

REFERENCE is a checkout of the original repository with its submodule Matcha-TTS; LIBRARIES a folder with the packages that it
imports and this environment lacks (x-transformers, einops, omegaconf). Nothing is fetched.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import Tensor, nn

from tests.parity.cosyvoice3 import (
    FLOW,
    FOLDER,
    FREQUENCIES,
    HOPS,
    MELS,
    NOISE_AT,
    VOCODER,
    estimator_inputs,
    flow_inputs,
    mel_input,
    uniform_noise,
    vocoder_weights,
)
from tests.parity.fixture import Output, packed, seeded

UNUSED = {
    "torchaudio": (),
    "matcha.models.components.decoder": ("Decoder",),
    "matcha.utils": (),
    "matcha.utils.pylogger": ("get_pylogger",),
    "cosyvoice.utils.class_utils": tuple(
        f"COSYVOICE_{kind}_CLASSES" for kind in ("EMB", "SUBSAMPLE", "ATTENTION", "ACTIVATION")
    ),
    "cosyvoice.utils.onnx": ("SpeechTokenExtractor", "online_feature", "onnx_path"),
}
"""What the original imports without using it here."""


def open_original(reference: Path, libraries: Path | None = None) -> None:
    """Make the original importable."""
    sys.path += [
        str(reference),
        str(reference / "third_party" / "Matcha-TTS"),
        *([str(libraries)] if libraries else []),
    ]
    for name, members in UNUSED.items():
        module = sys.modules[name] = ModuleType(name)
        for member in members:
            setattr(module, member, lambda *_: None)
    sys.modules["cosyvoice.utils.onnx"].online_feature = False


def original_flow(config: Any) -> nn.Module:
    """The original's flow at our sizes, with its own random weights."""
    from cosyvoice.flow.DiT.dit import DiT
    from cosyvoice.flow.flow import CausalMaskedDiffWithDiT
    from cosyvoice.flow.flow_matching import CausalConditionalCFM
    from cosyvoice.transformer.upsample_encoder import PreLookaheadLayer
    from omegaconf import DictConfig

    mel, lookahead = config.output_size, config.pre_lookahead_len
    rates = {"training_cfg_rate": config.training_cfg_rate, "inference_cfg_rate": config.inference_cfg_rate}
    solver = {"sigma_min": config.sigma_min, "solver": "euler", "t_scheduler": "cosine", "reg_loss_type": "l1", **rates}
    estimator = DiT(
        dim=config.dit_width,
        depth=config.dit_depth,
        heads=config.dit_heads,
        dim_head=config.dit_head_dim,
        ff_mult=config.dit_ff_mult,
        mel_dim=mel,
        mu_dim=mel,
        spk_dim=mel,
        out_channels=mel,
        static_chunk_size=config.chunk_size * config.token_mel_ratio,
        num_decoding_left_chunks=-1,
    )
    return CausalMaskedDiffWithDiT(
        input_size=config.input_size,
        output_size=mel,
        spk_embed_dim=config.spk_embed_dim,
        output_type="mel",
        vocab_size=config.vocab_size,
        input_frame_rate=25,
        token_mel_ratio=config.token_mel_ratio,
        pre_lookahead_len=lookahead,
        pre_lookahead_layer=PreLookaheadLayer(config.input_size, config.lookahead_channels, lookahead),
        decoder=CausalConditionalCFM(3 * mel, DictConfig({**solver}), 1, mel, estimator),
    ).eval()


def original_vocoder(config: Any) -> nn.Module:
    """The original's vocoder at our sizes, with its own random weights and noise."""
    from cosyvoice.hifigan.f0_predictor import CausalConvRNNF0Predictor
    from cosyvoice.hifigan.generator import CausalHiFTGenerator

    given = config.model_dump(exclude={"architecture", "istft_n_fft", "istft_hop", "f0_channels"})
    lists = {name: [*value] if isinstance(value, tuple) else value for name, value in given.items()}
    return CausalHiFTGenerator(
        **lists,
        istft_params={"n_fft": config.istft_n_fft, "hop_len": config.istft_hop},
        f0_predictor=CausalConvRNNF0Predictor(1, config.in_channels, config.f0_channels),
    ).eval()


def original_mel(
    flow: nn.Module, token: Tensor, prompt: Tensor, feat: Tensor, speaker: Tensor, streaming: bool, finalize: bool
) -> Tensor:
    """What the original's flow makes of these tokens."""
    lengths = (torch.tensor([value.shape[1]]) for value in (token, prompt, feat))
    ours, theirs, frames = lengths
    return flow.inference(token, ours, prompt, theirs, feat, frames, speaker, streaming, finalize)[0]


@torch.no_grad()
def flow_outputs(flow: nn.Module) -> dict[str, Tensor]:
    outputs = {f"mel/{name}": original_mel(flow, *flow_inputs(), *how) for name, how in MELS.items()}
    x, valid, mu, t, spks, cond = estimator_inputs()
    for name, streaming in (("full", False), ("chunks", True)):
        found = flow.decoder.estimator(x, valid[:, None].float(), mu, t, spks, cond, streaming=streaming)
        outputs[f"estimator/{name}"] = found * valid[:, None]
    return outputs


@torch.no_grad()
def vocoder_outputs(vocoder: nn.Module) -> dict[str, Tensor]:
    mel, hop = mel_input(), VOCODER.hop
    vocoder.m_source.l_sin_gen.sine_waves = uniform_noise(mel.shape[2] * hop)
    wave, source = vocoder.inference(mel)
    f0 = vocoder.f0_predictor(mel.double())
    outputs = {"f0": f0.float(), "source": source, "wave": wave}
    done = 0
    for i, frames in enumerate((*HOPS, mel.shape[2])):
        piece = vocoder.inference(mel[:, :, :frames], finalize=i == len(HOPS))[0][:, done:]
        outputs[f"hop{i}"] = piece
        done += piece.shape[1]
    return outputs


def fixed_noise() -> Tensor:
    """The noise that the original draws where it makes a flow and a vocoder of the published sizes, at some samples."""
    from mamtra.acoustic.causal_hift import CausalHiFTConfig
    from mamtra.acoustic.dit_flow import DiTFlowConfig

    original_flow(DiTFlowConfig(dit_depth=1, dit_width=16))  # what is drawn before the seed is set does not matter
    vocoder = original_vocoder(CausalHiFTConfig())
    return vocoder.m_source.l_sin_gen.sine_waves[0, list(NOISE_AT)].clone()


def shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in module.state_dict().items()}


def main() -> None:
    open_original(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
    noise = fixed_noise()
    flow, vocoder = original_flow(FLOW), original_vocoder(VOCODER)
    frequencies = flow.state_dict()[FREQUENCIES].clone()
    seeded(flow, "flow")
    flow.load_state_dict({**flow.state_dict(), FREQUENCIES: frequencies})
    vocoder.load_state_dict(vocoder_weights(seeded(vocoder, "vocoder").state_dict()))
    arrays: dict[str, np.ndarray] = {"noise": noise.numpy(), "frequencies": frequencies.numpy()}
    for name, value in {**flow_outputs(flow), **vocoder_outputs(vocoder)}.items():
        arrays |= packed(Output(name, value))
    FOLDER.mkdir(parents=True, exist_ok=True)
    about = {"written_by": "python -m tests.parity.make_cosyvoice3", "torch": torch.__version__}
    names = {"flow": shapes(flow), "vocoder": shapes(vocoder.float())}
    about |= {
        part: "\n".join(f"{name} {list(shape)}" for name, shape in sorted(found.items()))
        for part, found in names.items()
    }
    save_file(arrays, FOLDER / "vectors.safetensors", metadata=about)
    print(f"{len(arrays)} arrays, {(FOLDER / 'vectors.safetensors').stat().st_size} bytes")


if __name__ == "__main__":
    main()
