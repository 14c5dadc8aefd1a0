"""Train the vocoder: 80-bin mel to 24 kHz, with discriminators; its pitch predictor is trained on measured pitch.

python train_vocoder.py --config mini.yaml --corpus DIR ... --out vocoder.safetensors [--resume earlier.safetensors] [key=value ...]

From nothing it begins with spectral losses alone (`warm_up`). From given weights it begins with the pitch, then with the
discriminators, which are not kept: the given generator stands still until they know it.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from corpus import TOKEN_24, Corpus, crop, drawing_weights
from discriminators import Discriminators, adversarial_loss, discriminator_loss, feature_loss
from memory_layout import channels_last, depthwise_products
from rounding import plain_names, round_weights
from safetensors.torch import load_file
from torch import Tensor
from training import Captured, Optimiser, Run, command, section

from mamtra.acoustic.f0_predictor import F0Predictor
from mamtra.acoustic.masks import inside
from mamtra.acoustic.source_filter import SourceFilter, SourceFilterConfig
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


class Taken(NamedTuple):
    """Crops of utterances, over whose ends they may reach: beyond them all is zero, as where the vocoder is used.

    Attributes:
        mel: (B, 80, frames + 2 SEEN).
        wave: (B, 480 frames) samples.
        pitch: (B, frames + 2 SEEN) in Hz.
        begin: (B,) int64 first of the mel frames that is the utterance's.
        end: (B,) int64 frame at which it ends.
    """

    mel: Tensor
    wave: Tensor
    pitch: Tensor
    begin: Tensor
    end: Tensor


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
        self.generator = SourceFilter(SourceFilterConfig(**config["model"])).to(device)
        self.predictor: F0Predictor = self.generator.f0().to(device)
        self.discriminators = Discriminators(**config["discriminators"]).to(device)
        if earlier:
            self._start_from(unpack(load_file(earlier)))
        self.generator.f0_predictor.requires_grad_(False)
        round_weights(self.generator)
        channels_last(self.generator)
        depthwise_products(self.generator)
        usual, average = {"betas": (0.8, 0.99), "clip": 10.0}, config["average"]
        self.own = Optimiser(self.generator, config["lr"], **usual, average=average)
        self.other = Optimiser(self.discriminators, config["discriminator_lr"], **usual)
        self.pitch = Optimiser(self.predictor, config["pitch_lr"], average=average)

    def _start_from(self, state: dict[str, Tensor]) -> None:
        """Take the weights of an earlier training or a model directory."""
        state = with_weight_norm(state, self.generator.state_dict())
        pitch = {name.removeprefix(PITCH): value for name, value in state.items() if name.startswith(PITCH)}
        self.predictor.load_state_dict(pitch)
        self.generator.load_state_dict(state)

    def state(self) -> dict[str, Tensor]:
        """The averaged weights of generator and pitch predictor."""
        pitch = {PITCH + name: value for name, value in self.pitch.averaged_state().items()}
        return {**plain_names(self.own.averaged_state()), **pitch}

    def take(self, spans: Tensor) -> Taken:
        """spans (B, 3): the first token of each crop, and of which tokens the utterance begins and ends."""
        more = EDGE - SEEN
        with torch.no_grad():
            length = self.frames + 2 * EDGE
            start, begin, end = spans.unbind(1)
            begin, end = (2 * (bound - start) for bound in (begin, end))
            exists = inside(begin, end, length)
            wave = crop(self.corpus.audio24, start * TOKEN_24, length * 480).float() / 32768
            wave = wave * exists.repeat_interleave(480, dim=1)
            pitch = crop(self.corpus.f0, start * 2, length).float() * exists
            return Taken(
                mel_24k(wave)[:, :, more : length - more],
                wave[:, EDGE * 480 : (length - EDGE) * 480],
                pitch[:, more : length - more],
                (begin - more).clamp(min=0),
                (end - more).clamp(max=length - 2 * more),
            )

    def mixed(self) -> torch.autocast:
        return torch.autocast(self.device, torch.bfloat16, enabled=self.device != "cpu", cache_enabled=False)

    def train_pitch(self, taken: Taken) -> tuple[Tensor, dict[str, Tensor]]:
        """A step of the predictor, on spectra as disturbed as a flow's may be; the pitch it finds, and its loss."""
        mel, exists = taken.mel, inside(taken.begin, taken.end, taken.mel.shape[2])[:, None]
        noise = torch.randn_like(mel) * torch.rand(len(mel), 1, 1, device=mel.device) * self.config["pitch_noise"]
        with self.mixed():
            found = self.predictor(torch.cat([mel, mel + noise]), exists.repeat(2, 1, 1)).float()
        pitch, voiced = taken.pitch.repeat(2, 1), (taken.pitch > 0).repeat(2, 1)
        # The error in octaves matters more than in hertz, but unvoiced frames must still go to zero.
        octaves = ((found.clamp(min=1).log2() - pitch.clamp(min=1).log2()).abs() * voiced).sum() / voiced.sum().clamp(
            min=1
        )
        self.pitch.step((found - pitch).abs().mean() / 100 + 4 * octaves)
        return found[: len(mel)].detach(), {"semitones": 12 * octaves.detach()}

    def generate(self, taken: Taken, pitch: Tensor) -> Tensor:
        """Samples (B, 480 frames)."""
        with self.mixed():
            wave = self.generator.decode_inside(taken.mel, self.generator.source(pitch), taken.begin, taken.end)
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

    def step_pitch(self, spans: Tensor, use_measured: Tensor) -> dict[str, Tensor]:
        """Pitch alone."""
        return self.train_pitch(self.take(spans))[1]

    def step_warm_up(self, spans: Tensor, use_measured: Tensor) -> dict[str, Tensor]:
        """Spectral and pitch losses only: the first, cheaper phase of a training from nothing."""
        taken = self.take(spans)
        found, report = self.train_pitch(taken)
        fake = self.generate(taken, torch.where(use_measured > 0, taken.pitch, found))
        distance = spectral_distance(fake, taken.wave)
        norm = self.own.step(self.config["mel_weight"] * distance)
        return {"mel": distance.detach(), **report, "norm": norm}

    def step_adversarial(self, spans: Tensor, use_measured: Tensor) -> dict[str, Tensor]:
        """One step of the discriminators, then one of the generator with the adversarial losses."""
        taken = self.take(spans)
        found, report = self.train_pitch(taken)
        fake, real = self.generate(taken, torch.where(use_measured > 0, taken.pitch, found)), taken.wave
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
    parser.add_argument("--eager", action="store_true", help="do not capture CUDA graphs")
    args = parser.parse_args()
    config, device = section(args.config, "vocoder", args.changes), args.device
    torch.manual_seed(config["seed"])
    torch.backends.cudnn.benchmark, torch.backends.cudnn.benchmark_limit = True, 4
    torch.set_float32_matmul_precision("high")
    corpus = Corpus(args.corpus, device, ("audio24", "f0"))
    print(f"{len(corpus.rows)} utterances, {corpus.hours():.1f} h", flush=True)
    training = Training(config, corpus, device, args.resume)
    capture, place = ("cpu", device) if args.eager else (device, "cpu")
    steps = {name: Captured(getattr(training, f"step_{name}"), capture) for name in ("pitch", "warm_up", "adversarial")}
    tokens = np.array([r.tokens for r in corpus.rows])
    begin = np.array([r.start for r in corpus.rows])
    length = (training.frames + 2 * EDGE) // 2
    over = EDGE // 2 + training.frames // 4  # tokens beyond an utterance, so that half of a crop may be none of it
    room = tokens - length + 2 * over
    usable = np.flatnonzero(room > 0)
    mass = drawing_weights([corpus.rows[i] for i in usable], tokens[usable], config["fractions"])
    rng = np.random.default_rng(config["seed"])

    def draw(count: int) -> Tensor:
        picked = rng.choice(usable, size=count, p=mass)
        start = begin[picked] - over + (rng.random(count) * room[picked]).astype(np.int64)
        return torch.from_numpy(np.stack([start, begin[picked], begin[picked] + tokens[picked]], axis=1)).to(place)

    run, saved, catch_up = Run(args.out, config["steps"], config["minutes"]), 0.0, config["catch_up"]

    def save(**about: object) -> None:
        sizes = training.generator.config.model_dump()
        run.save(training.state(), config=sizes, resumed=args.resume is not None, **about)

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
        measured = torch.tensor(float(run.progress < config["measured_pitch_until"]), device=place)
        run.report(200, **steps[name](spans=draw(crops), use_measured=measured))
        if run.progress - saved > 0.08:
            saved = run.progress
            save(progress=run.progress)
    save(hours=round(corpus.hours(), 2))


if __name__ == "__main__":
    main()
