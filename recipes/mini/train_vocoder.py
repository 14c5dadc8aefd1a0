"""Train the vocoder: HiFT, 80-bin mel to 24 kHz, with discriminators; its pitch predictor is trained on measured pitch.

python train_vocoder.py --config mini.yaml --corpus DIR ... --out vocoder.safetensors [--resume earlier.safetensors] [key=value ...]

From nothing it begins with spectral losses alone (`warm_up`). From given weights it begins with the pitch, then with the
discriminators, which are not kept: the given generator stands still until they know it.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from corpus import TOKEN_24, Corpus, crop, drawing_weights
from discriminators import Discriminators, adversarial_loss, discriminator_loss, feature_loss
from memory_layout import channels_last
from rounding import round_weights
from safetensors.torch import load_file
from torch import Tensor
from training import Captured, Optimiser, Run, command, section

from mamtra.acoustic.f0_predictor import F0Predictor
from mamtra.acoustic.hift import HiFT, HiFTConfig
from mamtra.audio.features import mel_24k, slaney_filterbank
from mamtra.checkpoints.storage import unpack

SEEN = 8  # mel frames on both sides of a crop that the networks see and the losses do not: they end at no edge in use
EDGE = SEEN + 4  # of sound, of which the outermost frames have no whole window
RESOLUTIONS = ((512, 40), (1024, 80), (2048, 128))
PITCH = "f0_predictor."


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


def with_weight_norm(state: dict[str, Tensor], names: Iterable[str]) -> dict[str, Tensor]:
    """The weights by `names`, of which some may be norm and direction of what `state` has as one: a model directory keeps those."""
    found = dict(state)
    for name in names:
        layer, _, part = name.partition(".parametrizations.weight.")
        if part == "original1" and f"{layer}.weight" in found:
            weight = found.pop(f"{layer}.weight")
            found[name] = weight
            found[name.replace("original1", "original0")] = weight.flatten(1).norm(dim=1).view(-1, 1, 1)
    return found


class Training:
    """The networks of a training, their optimisers, and what one step of each phase does.

    Args:
        config: settings of the section `vocoder`.
        corpus: to cut from.
        device: of torch.
        earlier: weights to start from.
    """

    def __init__(self, config: dict, corpus: Corpus, device: str, earlier: Path | None = None) -> None:
        self.config, self.corpus, self.device = config, corpus, device
        self.frames = config["frames"]
        self.generator = HiFT(HiFTConfig(**config["model"])).to(device)
        self.predictor: F0Predictor = self.generator.f0().to(device)
        self.discriminators = Discriminators(**config["discriminators"]).to(device)
        if earlier:
            self._start_from(unpack(load_file(earlier)))
        self.generator.f0_predictor.requires_grad_(False)
        round_weights(self.generator)
        if config["channels_last"]:
            channels_last(self.generator)
        usual, average = {"betas": (0.8, 0.99), "clip": 10.0}, config["average"]
        self.own = Optimiser(self.generator, config["lr"], **usual, average=average)
        self.other = Optimiser(self.discriminators, config["discriminator_lr"], **usual)
        self.pitch = Optimiser(self.predictor, config["pitch_lr"], average=average)

    def _start_from(self, state: dict[str, Tensor]) -> None:
        """Take the weights, but not those of a pitch predictor of another size, which is trained anew."""
        mine = self.generator.state_dict()
        state = with_weight_norm(state, mine)
        pitch = {name: value for name, value in state.items() if name.startswith(PITCH)}
        if all(mine[name].shape == value.shape for name, value in pitch.items()):
            self.predictor.load_state_dict({name.removeprefix(PITCH): value for name, value in pitch.items()})
        self.generator.load_state_dict({**mine, **{n: v for n, v in state.items() if n not in pitch}})

    def state(self) -> dict[str, Tensor]:
        """The averaged weights of generator and pitch predictor."""
        pitch = {PITCH + name: value for name, value in self.pitch.averaged_state().items()}
        return {**self.own.averaged_state(), **pitch}

    def take(self, starts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """starts (B,) in tokens -> mel (B, 80, frames + 2 SEEN), samples (B, 480 frames), pitch (B, frames + 2 SEEN)."""
        more = EDGE - SEEN
        with torch.no_grad():
            length = self.frames + 2 * EDGE
            wave = crop(self.corpus.audio24, starts * TOKEN_24, length * 480).float() / 32768
            pitch = crop(self.corpus.f0, starts * 2, length).float()
            return (
                mel_24k(wave)[:, :, more : length - more],
                wave[:, EDGE * 480 : (length - EDGE) * 480],
                pitch[:, more : length - more],
            )

    def mixed(self) -> torch.autocast:
        return torch.autocast(self.device, torch.bfloat16, enabled=self.device != "cpu", cache_enabled=False)

    def train_pitch(self, mel: Tensor, pitch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """A step of the predictor, on spectra as disturbed as a flow's may be; the pitch it finds in `mel`, and its loss."""
        noise = torch.randn_like(mel) * torch.rand(len(mel), 1, 1, device=mel.device) * self.config["pitch_noise"]
        with self.mixed():
            found = self.predictor(torch.cat([mel, mel + noise])).float()
        pitch, voiced = pitch.repeat(2, 1), (pitch > 0).repeat(2, 1)
        # The error in octaves matters more than in hertz, but unvoiced frames must still go to zero.
        octaves = ((found.clamp(min=1).log2() - pitch.clamp(min=1).log2()).abs() * voiced).sum() / voiced.sum().clamp(
            min=1
        )
        self.pitch.step((found - pitch).abs().mean() / 100 + 4 * octaves)
        return found[: len(mel)].detach(), {"semitones": 12 * octaves.detach()}

    def generate(self, mel: Tensor, pitch: Tensor) -> Tensor:
        """Samples (B, 480 frames)."""
        with self.mixed():
            wave = self.generator.decode(mel, self.generator.source(pitch))
        return wave[:, SEEN * 480 : -SEEN * 480]

    def train_discriminators(self, real: Tensor, fake: Tensor) -> tuple[list, Tensor]:
        """A step of theirs; what they see in `real`, and the loss."""
        half = len(real)
        with self.mixed():
            scored = self.discriminators(torch.cat([real, fake.detach()]))
            true = [(score[:half], [f[:half] for f in features]) for score, features in scored]
            false = [(score[half:], [f[half:] for f in features]) for score, features in scored]
            loss = discriminator_loss(true, false)
        self.other.step(loss)
        return [(score.detach(), [f.detach() for f in features]) for score, features in true], loss.detach()

    def step_pitch(self, starts: Tensor, use_measured: Tensor) -> dict[str, Tensor]:
        """Pitch alone."""
        mel, _, pitch = self.take(starts)
        return self.train_pitch(mel, pitch)[1]

    def step_warm_up(self, starts: Tensor, use_measured: Tensor) -> dict[str, Tensor]:
        """Spectral and pitch losses only: the first, cheaper phase of a training from nothing."""
        mel, real, pitch = self.take(starts)
        found, report = self.train_pitch(mel, pitch)
        distance = spectral_distance(self.generate(mel, torch.where(use_measured > 0, pitch, found)), real)
        norm = self.own.step(self.config["mel_weight"] * distance)
        return {"mel": distance.detach(), **report, "norm": norm}

    def step_adversarial(self, starts: Tensor, use_measured: Tensor) -> dict[str, Tensor]:
        """One step of the discriminators, then one of the generator with the adversarial losses."""
        mel, real, pitch = self.take(starts)
        found, report = self.train_pitch(mel, pitch)
        fake = self.generate(mel, torch.where(use_measured > 0, pitch, found))
        true, discriminator = self.train_discriminators(real, fake)
        for parameter in self.other.parameters:
            parameter.requires_grad_(False)
        with self.mixed():
            scored = self.discriminators(fake)
            adversarial, features = adversarial_loss(scored), feature_loss(true, scored)
        for parameter in self.other.parameters:
            parameter.requires_grad_(True)
        distance, weights = spectral_distance(fake, real), self.config
        norm = self.own.step(weights["mel_weight"] * distance + adversarial + weights["feature_weight"] * features)
        return {
            "mel": distance.detach(), "adversarial": adversarial.detach(), "features": features.detach(),
            "discriminator": discriminator, **report, "norm": norm,
        }  # fmt: skip


def main() -> None:
    parser = command(__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, nargs="+", required=True)
    args = parser.parse_args()
    config, device = section(args.config, "vocoder", args.changes), args.device
    torch.manual_seed(config["seed"])
    torch.backends.cudnn.benchmark, torch.backends.cudnn.benchmark_limit = True, 4
    corpus = Corpus(args.corpus, device, ("audio24", "f0"))
    print(f"{len(corpus.rows)} utterances, {corpus.hours():.1f} h", flush=True)
    training = Training(config, corpus, device, args.resume)
    steps = {name: Captured(getattr(training, f"step_{name}"), device) for name in ("pitch", "warm_up", "adversarial")}
    tokens = np.array([r.tokens for r in corpus.rows])
    begin = np.array([r.start for r in corpus.rows])
    room = tokens - (training.frames + 2 * EDGE) // 2 - 1
    usable = np.flatnonzero(room > 0)
    mass = drawing_weights([corpus.rows[i] for i in usable], tokens[usable], config["fractions"])
    rng = np.random.default_rng(config["seed"])

    def draw(count: int) -> Tensor:
        picked = rng.choice(usable, size=count, p=mass)
        return torch.from_numpy(begin[picked] + (rng.random(count) * room[picked]).astype(np.int64))

    run, saved, catch_up = Run(args.out, config["steps"], config["minutes"]), 0.0, config["catch_up"]

    def save(**about: object) -> None:
        run.save(training.state(), config=training.generator.config.model_dump(), **about)

    def phase() -> tuple[str, int]:
        """Of the step that comes, and how many crops it takes."""
        if not args.resume:
            return "warm_up" if run.number < config["warm_up"] else "adversarial", config["batch"]
        return (
            ("pitch", 4 * config["batch"]) if run.progress < config["pitch_alone"] else ("adversarial", config["batch"])
        )

    for _ in run:
        # The generator's learning rate begins at nothing: it stands still until the discriminators know it.
        training.own.schedule(max(0.0, run.progress - catch_up) / (1 - catch_up) if args.resume else run.progress)
        training.other.schedule(run.progress)
        training.pitch.schedule(run.progress)
        name, crops = phase()
        measured = torch.tensor(float(run.progress < config["measured_pitch_until"]))
        run.report(200, **steps[name](starts=draw(crops), use_measured=measured))
        if run.progress - saved > 0.15:
            saved = run.progress
            save(progress=run.progress)
    save(hours=round(corpus.hours(), 2))


if __name__ == "__main__":
    main()
