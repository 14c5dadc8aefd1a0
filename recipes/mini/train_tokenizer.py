"""Train the speech tokenizer: 25 Hz FSQ tokens that predict phonemes (CTC) and, given the speaker, the mel spectrum (regression).

python train_tokenizer.py --config mini.yaml --corpus DIR ... --speakers targets.npz --out tokenizer.safetensors
    [--whisper DIR] [--resume TOKENIZER] [key=value ...]

With --whisper (a Whisper of transformers, such as whisper-base) the encoder begins as layers of its encoder, unless it resumes.
With `pitch_weight` the tokens also predict voicing and the pitch relative to the utterance's median, and with `state_weight` the
states of that Whisper without their mean over the utterance, in which words are easy to read and speakers are not.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from corpus import TOKEN_16, TOKEN_24, crop
from listening import TONES, begin_as_whisper, first_waves, hear, whisper_states
from perturb import perturb
from safetensors.torch import save_file
from speech import BUCKETS, Batch, Speech, cut, error_rate
from torch import Tensor, nn
from training import CapturedAround, Optimiser, Run, command, resume, section

from mamtra.audio.features import mel_24k
from mamtra.encoders.speech_tokenizer import MARGIN, ConvNeXtBlock, SpeechTokenizer, SpeechTokenizerConfig


class Heads(nn.Module):
    """Training heads: phones, the 80-bin mel at 50 Hz given the speaker, and what is heard. Discarded after training."""

    def __init__(self, dims: int, phones: int, heard: int, width: int = 256) -> None:
        super().__init__()
        self.read = nn.Linear(dims, width)
        self.spell = nn.Sequential(*[ConvNeXtBlock(width, 5, 3) for _ in range(3)])
        self.phones = nn.Linear(width, 2 * (phones + 1))
        self.speaker = nn.Linear(192, width)
        self.spread = nn.Linear(width, 2 * width)
        self.paint = nn.Sequential(*[ConvNeXtBlock(width, 7, 3) for _ in range(4)])
        self.mel = nn.Linear(width, 80)
        self.recall = nn.Sequential(*[ConvNeXtBlock(width, 5, 3) for _ in range(2)])
        self.heard = nn.Linear(width, heard)

    def forward(self, values: Tensor, speaker: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """values (B, N, dims), speaker (B, 192) -> phone log-probabilities (B, 2N, phones + 1), mel (B, 2N, 80) and what is
        heard (B, N, H)."""
        hidden = self.read(values)
        spread = self.spread(hidden + self.speaker(speaker)[:, None]).reshape(len(values), 2 * values.shape[1], -1)
        painted = self.paint(spread.transpose(1, 2)).transpose(1, 2)
        recalled = self.recall(hidden.transpose(1, 2)).transpose(1, 2)
        spelled = self.phones(self.spell(hidden.transpose(1, 2)).transpose(1, 2))
        log_probs = spelled.float().reshape(len(values), 2 * values.shape[1], -1).log_softmax(-1)
        return log_probs, self.mel(painted), self.heard(recalled)


def augment(log_mel: Tensor, strength: Tensor) -> Tensor:
    """Augmentation: frequency axis warped by up to 15%, spectral tilt, level, masked bands and frames, noise.

    It imitates other speakers and rooms: recordings are few, and the tokens should encode content and prosody, not the speaker.
    log_mel (B, 128, T); strength () in [0, 1].
    """
    batch, mels, frames = log_mel.shape
    device = log_mel.device

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, device=device) * 2 - 1

    bins = torch.arange(mels, device=device)
    place = (bins * (1 + 0.15 * strength * uniform(batch, 1))).clamp(0, mels - 1)
    below = place.floor().long().clamp(max=mels - 2)
    blend = (place - below)[..., None]
    take = below[..., None].expand(-1, -1, frames)
    warped = log_mel.gather(1, take) * (1 - blend) + log_mel.gather(1, take + 1) * blend
    axis = torch.linspace(-1, 1, mels, device=device)[:, None]
    colour = (
        0.2 * uniform(batch, 1, 1) * axis
        + 0.15 * uniform(batch, 1, 1) * torch.cos(3.1 * axis)
        + 0.15 * uniform(batch, 1, 1)
    )
    noise = 0.05 * torch.rand(batch, 1, 1, device=device) * torch.randn_like(log_mel)
    masked = torch.zeros_like(warped, dtype=torch.bool)
    for _ in range(2):
        first, width = (
            torch.rand(batch, 1, 1, device=device) * mels,
            20 * torch.rand(batch, 1, 1, device=device) * strength,
        )
        masked = masked | ((bins[:, None] >= first) & (bins[:, None] < first + width))
    moments = torch.arange(frames, device=device)
    for _ in range(3):
        first, width = (
            torch.rand(batch, 1, 1, device=device) * frames,
            10 * torch.rand(batch, 1, 1, device=device) * strength,
        )
        masked = masked | ((moments >= first) & (moments < first + width))
    changed = warped + strength * (colour + noise)
    return torch.where(masked, changed.mean((1, 2), keepdim=True), changed)


class ForwardPass(nn.Module):
    """The whole forward pass from sample positions to all outputs, to be captured as one graph.

    Args:
        speech: with audio16 and audio24.
        heard: (tokens of the corpus, H) of `hear`.
        tokenizer: to train.
        heads: of phones, mel and what is heard.
        tokens: of the longest utterance.
        perturbation: greatest strength of `perturb`, in [0, 1].
    """

    def __init__(
        self,
        speech: Speech,
        heard: Tensor,
        tokenizer: SpeechTokenizer,
        heads: Heads,
        tokens: int,
        perturbation: float,
    ) -> None:
        super().__init__()
        self.tokenizer, self.heads, self.tokens, self.perturbation = tokenizer, heads, tokens, perturbation
        self.audio, self.heard_of_corpus = (speech.corpus.audio16, speech.corpus.audio24), heard

    def forward(
        self, starts: Tensor, lengths: Tensor, speaker: Tensor, strength: Tensor, clean: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Phone log-probabilities (B, 2N, V) and the losses (3,): mel, pitch, states.

        Args:
            starts: (B,) in tokens.
            lengths: (B,) in tokens.
            speaker: (B, 192).
            strength: () of the augmentation.
            clean: () fraction of the rows whose input is as it is.
        """
        with torch.no_grad():
            wave16 = cut(self.audio[0], starts, lengths, self.tokens, TOKEN_16)
            plain = self.tokenizer.log_mel(wave16)
            changed = augment(perturb(plain, self.perturbation) if self.perturbation else plain, strength)
            same = torch.rand(len(plain), 1, 1, device=plain.device) < clean
            log_mel = torch.where(same, plain, changed)
            mel = mel_24k(cut(self.audio[1], starts, lengths, self.tokens, TOKEN_24)).transpose(1, 2)
            frames = torch.arange(mel.shape[1], device=mel.device)
            inside = (frames >= 2 * MARGIN) & (frames < 2 * (MARGIN + lengths[:, None]))
            wanted = crop(self.heard_of_corpus, starts, self.tokens).float()
        with torch.autocast(wave16.device.type, torch.bfloat16, enabled=wave16.is_cuda, cache_enabled=False):
            values, _ = self.tokenizer.quantise(log_mel)
            log_probs, guess, recalled = self.heads(values, speaker)
        error = (guess.float() - mel).abs().mean(-1)
        mel_loss = (error * inside).sum() / inside.sum()
        return log_probs, torch.stack((mel_loss, *recall_losses(recalled[:, MARGIN:-MARGIN].float(), wanted, lengths)))


def recall_losses(recalled: Tensor, wanted: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Losses of pitch and voicing, and of the states (0 where there are none), from (B, N, H) as `hear` gives it.

    Rows without any voiced frame are those whose pitch is not known (`change_voices.py`).
    """
    inside = torch.arange(wanted.shape[1], device=wanted.device) < lengths[:, None]

    def mean(values: Tensor, where: Tensor) -> Tensor:
        return (values * where).sum() / where.sum().clamp(min=1)

    tones, wanted_tones = recalled[..., -TONES:], wanted[..., -TONES:]
    voiced = wanted_tones[..., 1::2]
    measured = inside & voiced.any(-1).any(-1, keepdim=True)
    voicing = F.binary_cross_entropy_with_logits(tones[..., 1::2], voiced, reduction="none")
    octaves = (tones[..., 0::2] - wanted_tones[..., 0::2]).abs()
    states = (recalled[..., :-TONES] - wanted[..., :-TONES]).square().sum(-1) / max(1, wanted.shape[-1] - TONES)
    return mean(voicing.mean(-1), measured) + 4 * mean(octaves, voiced * inside[..., None]), mean(states, inside)


def main(argv: list[str] | None = None) -> None:
    parser = command(__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, nargs="+", required=True)
    parser.add_argument("--speakers", type=Path, required=True, help="file written by speaker_targets.py")
    parser.add_argument("--whisper", type=Path, help="a Whisper of transformers, as whose layers the encoder begins")
    parser.add_argument("--eager", action="store_true", help="do not capture CUDA graphs")
    args = parser.parse_args(argv)
    config, device = section(args.config, "tokenizer", args.changes), args.device
    torch.manual_seed(config["seed"])
    rng = np.random.default_rng(config["seed"])
    speech = Speech(args.corpus, device, ("audio16", "audio24", "f0"), config["fractions"])
    corpus, rows = speech.corpus, speech.rows
    print(f"{len(rows)} utterances, {corpus.hours():.1f} h", flush=True)

    found = np.load(args.speakers)
    by_key = dict(zip(found["keys"].tolist(), found["embeddings"].astype(np.float32), strict=True))
    by_speaker: dict[str, list] = {}
    for row in rows:
        if row.key in by_key:
            by_speaker.setdefault(row.speaker, []).append(by_key[row.key])
    mean = {s: np.mean(e, 0) / np.linalg.norm(np.mean(e, 0)) for s, e in by_speaker.items()}
    speaker = torch.from_numpy(np.stack([by_key.get(r.key, mean[r.speaker]) for r in rows])).to(device)

    tokenizer = SpeechTokenizer(SpeechTokenizerConfig(**config["model"])).to(device)
    resume(tokenizer, args.resume)
    if args.whisper and not args.resume:
        begin_as_whisper(tokenizer, args.whisper, first_waves(corpus))
    if args.whisper and config["state_weight"]:
        states = whisper_states(args.whisper, corpus, device).clone()
    else:
        states = torch.zeros(2 * sum(row.tokens for row in rows), 0, dtype=torch.float16, device=device)
    heard = hear(corpus, states)
    heads = Heads(tokenizer.config.dims, len(speech.alphabet), heard.shape[1]).to(device)
    optimiser = Optimiser(nn.ModuleList((tokenizer, heads)), config["lr"], average=config["average"])
    draw = speech.draw(config["fractions"], config["tokens_per_batch"], rng)
    run = Run(args.out, config["steps"], config["minutes"])

    def gradient(log_probs: Tensor, batch: Batch) -> Tensor:
        """d CTC / d log-probabilities, each utterance weighted by its number of phones."""
        with torch.enable_grad():
            scores = log_probs.requires_grad_()
            seen["ctc"] = speech.ctc(scores, batch, MARGIN)[1]
            slope = torch.autograd.grad(seen["ctc"], scores)[0]
        return torch.nan_to_num(slope, 0.0, 0.0, 0.0)

    weights = torch.tensor([float(config[name]) for name in ("mel_weight", "pitch_weight", "state_weight")]).to(device)

    def backward(losses: Tensor, log_probs: Tensor, slope: Tensor) -> dict[str, Tensor]:
        optimiser.adam.zero_grad(set_to_none=True)
        torch.autograd.backward((log_probs, losses), (slope, weights))
        return {"losses": losses.detach(), "norm": optimiser.update(), "log_probs": log_probs.detach()}

    seen: dict[str, Tensor] = {}
    strength, clean, nothing, everything = (
        torch.tensor(float(value), device=device) for value in (config["augmentation"], config["clean"], 0, 1)
    )

    def passing(high: int) -> ForwardPass:
        return ForwardPass(speech, heard, tokenizer, heads, high, config["perturbation"])

    steps = {high: CapturedAround(passing(high), gradient, backward, device, args.eager) for high in BUCKETS}
    for step in run:
        batch = next(draw)
        optimiser.schedule(run.progress)
        tensors = {
            "starts": batch.starts,
            "lengths": batch.lengths,
            "speaker": speaker[batch.rows],
            "strength": strength,
            "clean": clean,
        }
        result = steps[batch.inside.shape[1]]((batch,), **tensors)
        if step % 100 == 0:
            errors, total = error_rate(
                result["log_probs"], batch.lengths, [speech.phones[i] for i in batch.rows], MARGIN
            )
            mel, pitch, states = result["losses"]
            run.report(1, **seen, mel=mel, pitch=pitch, states=states, norm=result["norm"], per=errors / total)

    tokenizer.load_state_dict(
        {n.removeprefix("0."): v for n, v in optimiser.averaged_state().items() if n.startswith("0.")}
    )
    heads.load_state_dict(
        {n.removeprefix("1."): v for n, v in optimiser.averaged_state().items() if n.startswith("1.")}
    )
    tokenizer.eval(), heads.eval()
    measured, used = {}, torch.zeros(tokenizer.config.num_tokens, device=device)
    with torch.no_grad():
        for name in sorted(set(speech.group)):
            members = np.flatnonzero(speech.validation & speech.fits & (speech.group == name)).tolist()[:400]
            errors = total = 0
            for i in range(0, len(members), 16):
                picked = members[i : i + 16]
                batch = speech.batch(picked, max(rows[i].tokens for i in picked))
                high = batch.inside.shape[1]
                log_probs, _ = passing(high)(batch.starts, batch.lengths, speaker[picked], nothing, everything)
                e, t = error_rate(log_probs, batch.lengths, [speech.phones[i] for i in picked], MARGIN)
                errors, total = errors + e, total + t
                codes = tokenizer(tokenizer.log_mel(speech.waves(batch)))[:, MARGIN : MARGIN + high]
                used += torch.bincount(codes[batch.inside], minlength=len(used))
            measured[f"validation_phone_errors_percent_{name}"] = round(100 * errors / max(1, total), 2)
    p = used / used.sum()
    measured["tokens_used"] = int((used > 0).sum())
    measured["bits_per_token"] = round(float(-(p * p.clamp(min=1e-12).log2()).sum()), 2)
    print("validation:", measured, flush=True)
    about = {"config": config["model"], "measured": measured, "hours": round(corpus.hours(), 2)}
    about["resumed"] = args.resume is not None
    run.save({n: v.cpu().contiguous() for n, v in tokenizer.state_dict().items()}, **about)
    save_file(
        {n: v.cpu().contiguous() for n, v in heads.state_dict().items()},
        args.out.with_suffix(".heads"), metadata={"alphabet": json.dumps(speech.alphabet)},
    )  # fmt: skip


if __name__ == "__main__":
    main()
