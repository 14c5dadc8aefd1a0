"""Train the vocoder: HiFT, 80-bin mel to 24 kHz, with discriminators; its pitch predictor is trained on measured pitch.

python train_vocoder.py --config mini.yaml --corpus DIR ... --out vocoder.safetensors [--resume earlier.safetensors] [key=value ...]
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from corpus import TOKEN_24, Corpus, crop, drawing_weights
from discriminators import Discriminators, adversarial_loss, discriminator_loss, feature_loss
from torch import Tensor
from training import Captured, Optimiser, Run, command, resume, section

from mamtra.acoustic.hift import HiFT, HiFTConfig
from mamtra.audio.features import mel_24k, slaney_filterbank

EDGE = 4  # mel frames of real context on both sides of a crop, so that the vocoder is not trained on mel edge effects
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
    parser = command(__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, nargs="+", required=True)
    args = parser.parse_args()
    config, device = section(args.config, "vocoder", args.changes), args.device
    torch.manual_seed(config["seed"])
    torch.backends.cudnn.benchmark, torch.backends.cudnn.benchmark_limit = True, 4
    corpus = Corpus(args.corpus, device, ("audio24", "f0"))
    print(f"{len(corpus.rows)} utterances, {corpus.hours():.1f} h", flush=True)
    generator = HiFT(HiFTConfig(**config["model"])).to(device)
    discriminators = Discriminators().to(device)
    if args.resume:
        resume(generator, args.resume)
        earlier = args.resume.with_suffix(".discriminators")
        resume(discriminators, earlier if earlier.exists() else None)
    own = Optimiser(generator, config["lr"], betas=(0.8, 0.99), clip=10.0, average=config["average"])
    other = Optimiser(discriminators, config["lr"], betas=(0.8, 0.99), clip=10.0)
    frames = config["frames"]

    def take(starts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """starts (B,) in tokens -> mel (B, 80, frames), samples (B, 480 frames), measured pitch (B, frames)."""
        with torch.no_grad():
            wave = crop(corpus.audio24, starts * TOKEN_24, (frames + 2 * EDGE) * 480).float() / 32768
            mel = mel_24k(wave)[:, :, EDGE : EDGE + frames]
            pitch = crop(corpus.f0, starts * 2, frames + 2 * EDGE).float()[:, EDGE : EDGE + frames]
            return mel, wave[:, EDGE * 480 : (EDGE + frames) * 480], pitch

    def generate(mel: Tensor, pitch: Tensor, use_measured: Tensor) -> tuple[Tensor, Tensor]:
        """The generated samples and the loss of the pitch predictor."""
        found = generator.predict_f0(mel).float()
        driving = torch.where(use_measured > 0, pitch, found.detach())
        # The error in octaves matters more than in hertz, but unvoiced frames must still go to zero.
        octaves = (found.clamp(min=1).log2() - pitch.clamp(min=1).log2()).abs() * (pitch > 0)
        return generator.decode(mel, generator.source(driving)), (found - pitch).abs().mean() / 100 + octaves.mean()

    def mixed() -> torch.autocast:
        return torch.autocast(device, torch.bfloat16, enabled=device != "cpu", cache_enabled=False)

    def step_warm_up(starts: Tensor, use_measured: Tensor) -> dict[str, Tensor]:
        """Spectral and pitch losses only: the first, cheaper phase of the training."""
        mel, real, pitch = take(starts)
        with mixed():
            fake, pitch_error = generate(mel, pitch, use_measured)
        distance = spectral_distance(fake, real)
        norm = own.step(config["mel_weight"] * distance + config["pitch_weight"] * pitch_error)
        return {"mel": distance.detach(), "pitch": pitch_error.detach(), "norm": norm}

    def step_adversarial(starts: Tensor, use_measured: Tensor) -> dict[str, Tensor]:
        """One step of the discriminators, then one of the generator with the adversarial losses."""
        mel, real, pitch = take(starts)
        with mixed():
            fake, pitch_error = generate(mel, pitch, use_measured)
            scored, half = discriminators(torch.cat([real, fake.detach()])), len(real)
            true = [(score[:half], [f[:half] for f in features]) for score, features in scored]
            false = [(score[half:], [f[half:] for f in features]) for score, features in scored]
            discriminator = discriminator_loss(true, false)
        other.step(discriminator)
        for parameter in other.parameters:
            parameter.requires_grad_(False)
        with mixed():
            scored = discriminators(fake)
            adversarial = adversarial_loss(scored) + config["feature_weight"] * feature_loss(true, scored)
        for parameter in other.parameters:
            parameter.requires_grad_(True)
        distance = spectral_distance(fake, real)
        norm = own.step(config["mel_weight"] * distance + adversarial + config["pitch_weight"] * pitch_error)
        return {
            "mel": distance.detach(), "adversarial": adversarial.detach(), "discriminator": discriminator.detach(),
            "pitch": pitch_error.detach(), "norm": norm,
        }  # fmt: skip

    warm_up, adversarial = Captured(step_warm_up, device), Captured(step_adversarial, device)
    tokens = np.array([r.tokens for r in corpus.rows])
    begin = np.array([r.start for r in corpus.rows])
    room = tokens - (frames + 2 * EDGE) // 2 - 1
    usable = np.flatnonzero(room > 0)
    mass = drawing_weights([corpus.rows[i] for i in usable], tokens[usable], config["fractions"])
    rng = np.random.default_rng(config["seed"])
    run, saved = Run(args.out, config["steps"], config["minutes"]), 0.0

    def save(**about: object) -> None:
        run.save(own.averaged_state(), config=generator.config.model_dump(), **about)
        from safetensors.torch import save_file

        save_file(
            {n: v.cpu().contiguous() for n, v in discriminators.state_dict().items()},
            args.out.with_suffix(".discriminators"),
        )

    for step_number in run:
        picked = rng.choice(usable, size=config["batch"], p=mass)
        starts = begin[picked] + (rng.random(len(picked)) * room[picked]).astype(np.int64)
        own.schedule(run.progress)
        other.schedule(run.progress)
        measured = torch.tensor(float(run.progress < config["measured_pitch_until"]))
        step = warm_up if step_number < config["warm_up"] and args.resume is None else adversarial
        run.report(200, **step(starts=torch.from_numpy(starts), use_measured=measured))
        if run.progress - saved > 0.2:
            saved = run.progress
            save(progress=run.progress)
    save(hours=round(corpus.hours(), 2))


if __name__ == "__main__":
    main()
