"""The vocoder: 80-bin mel to 24 kHz, HiFT trained against discriminators; its pitch predictor learns from measured pitch.

    python train_vocoder.py --config mini.yaml --corpus DIR ... --out vocoder.safetensors [--resume earlier.safetensors] [key=value ...]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from corpus import TOKEN_24, Corpus, crop
from discriminators import Discriminators, adversarial_loss, discriminator_loss, feature_loss
from torch import Tensor
from training import Captured, Optimiser, Run, resume, section

from mamtra.audio.features import mel_24k, slaney_filterbank
from mamtra.audio.hift import HiFT, HiFTConfig

EDGE = 4  # mel frames of real context on both sides of a crop, so that mel edges are never learnt
RESOLUTIONS = ((512, 40), (1024, 80), (2048, 128))


def spectral_distance(have: Tensor, want: Tensor) -> Tensor:
    """Mean absolute difference of full-band log-mel spectrograms at three resolutions."""
    total = 0
    for n_fft, mels in RESOLUTIONS:
        bank = slaney_filterbank(24000, n_fft, mels, 12000.0, have.device)
        window = torch.hann_window(n_fft, device=have.device)
        logs = []
        for wave in (have, want):
            spectrum = torch.stft(wave.float(), n_fft, n_fft // 4, window=window, return_complex=True)
            magnitude = (spectrum.real.square() + spectrum.imag.square() + 1e-9).sqrt()
            logs.append(torch.matmul(bank, magnitude).clamp(min=1e-5).log())
        total = total + (logs[0] - logs[1]).abs().mean()
    return total / len(RESOLUTIONS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--corpus", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--resume", type=Path, help="generator weights; FILE.judges beside it, if there, are the discriminators")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("changes", nargs="*")
    args = parser.parse_args()
    config, device = section(args.config, "vocoder", args.changes), args.device
    torch.manual_seed(config["seed"])
    torch.backends.cudnn.benchmark, torch.backends.cudnn.benchmark_limit = True, 4
    corpus = Corpus(args.corpus, device, ("audio24", "f0"))
    print(f"{len(corpus.rows)} utterances, {corpus.hours():.1f} h", flush=True)
    generator = HiFT(HiFTConfig(**config["model"])).to(device)
    judges = Discriminators().to(device)
    if args.resume:
        resume(generator, args.resume)
        earlier = args.resume.with_suffix(".judges")
        resume(judges, earlier if earlier.exists() else None)
    own = Optimiser(generator, config["lr"], betas=(0.8, 0.99), clip=10.0, average=config["average"])
    other = Optimiser(judges, config["lr"], betas=(0.8, 0.99), clip=10.0)
    frames = config["frames"]

    def step(starts: Tensor, adversarial: Tensor, use_measured: Tensor) -> dict[str, Tensor]:
        """starts (B,) in tokens; the two switches are 0 or 1: whether the opponents count, whose pitch drives the source."""
        with torch.no_grad():
            wave = crop(corpus.audio24, starts * TOKEN_24, (frames + 2 * EDGE) * 480).float() / 32768
            mel = mel_24k(wave)[:, :, EDGE : EDGE + frames]
            real = wave[:, EDGE * 480 : (EDGE + frames) * 480]
            pitch = crop(corpus.f0, starts * 2, frames + 2 * EDGE).float()[:, EDGE : EDGE + frames]
        with torch.autocast(mel.device.type, torch.bfloat16, enabled=mel.is_cuda, cache_enabled=False):
            found = generator.predict_f0(mel)
            driving = torch.where(use_measured > 0, pitch, found.detach())
            fake = generator.decode(mel, generator.source(driving))
            judged = judges(torch.cat([real, fake.detach()]))
            half = len(real)
            versus = discriminator_loss(
                [(s[:half], [f[:half] for f in fs]) for s, fs in judged], [(s[half:], [f[half:] for f in fs]) for s, fs in judged]
            )
        other.step(versus * adversarial)
        with torch.autocast(mel.device.type, torch.bfloat16, enabled=mel.is_cuda, cache_enabled=False):
            for parameter in other.parameters:
                parameter.requires_grad_(False)
            false = judges(fake)
            with torch.no_grad():
                true = judges(real)
            opposed = adversarial_loss(false) + config["feature_weight"] * feature_loss(true, false)
            for parameter in other.parameters:
                parameter.requires_grad_(True)
        distance = spectral_distance(fake, real)
        voiced = (pitch > 0).float()
        # Octaves matter more than hertz, but an unvoiced frame must still go to zero.
        pitch_error = F.l1_loss(found.float(), pitch) / 100 + (voiced * (found.float().clamp(min=1).log2() - pitch.clamp(min=1).log2()).abs()).mean()
        norm = own.step(config["mel_weight"] * distance + adversarial * opposed + config["pitch_weight"] * pitch_error)
        return {"mel": distance.detach(), "opposed": opposed.detach(), "versus": versus.detach(), "pitch": pitch_error.detach(), "norm": norm}

    captured = Captured(step, device)
    tokens = np.array([r.tokens for r in corpus.rows])
    begin = np.array([r.start for r in corpus.rows])
    room = tokens - (frames + 2 * EDGE) // 2 - 1
    usable = np.flatnonzero(room > 0)
    bulk = np.array([corpus.rows[i].source not in config["shares"] for i in usable])
    mass = tokens[usable].astype(np.float64)
    for source, share in config["shares"].items():
        members = np.array([corpus.rows[i].source == source for i in usable])
        if members.any():
            mass[members] *= share / mass[members].sum()
    mass[bulk] *= (1 - sum(config["shares"].values())) / max(mass[bulk].sum(), 1)
    mass /= mass.sum()
    rng = np.random.default_rng(config["seed"])
    run, saved = Run(args.out, config["steps"], config["minutes"]), 0.0

    def save(**about: object) -> None:
        run.save(own.averaged_state(), config=generator.config.model_dump(), **about)
        from safetensors.torch import save_file

        save_file({n: v.cpu().contiguous() for n, v in judges.state_dict().items()}, args.out.with_suffix(".judges"))

    for step_number in run:
        picked = rng.choice(usable, size=config["batch"], p=mass)
        starts = begin[picked] + (rng.random(len(picked)) * room[picked]).astype(np.int64)
        own.schedule(run.progress)
        other.schedule(run.progress)
        switch = float(step_number >= config["alone"] or args.resume is not None)
        measured = float(run.progress < config["measured_pitch_until"])
        run.report(200, **captured(starts=torch.from_numpy(starts), adversarial=torch.tensor(switch), use_measured=torch.tensor(measured)))
        if run.progress - saved > 0.2:
            saved = run.progress
            save(progress=run.progress)
    save(hours=round(corpus.hours(), 2))


if __name__ == "__main__":
    main()
