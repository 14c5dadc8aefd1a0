"""Train the speech tokenizer: 25 Hz FSQ tokens that predict phonemes (CTC) and, given the speaker, the mel spectrum (regression).

python train_tokenizer.py --config mini.yaml --corpus DIR ... --speakers targets.npz --out tokenizer.safetensors
    [--whisper DIR] [key=value ...]

Where their weights are not 0, tokens are trained to predict pitch and, with --whisper, the states of Whisper's encoder too
(supervision.py), from inputs that are perturbed as other speakers and rooms would (perturb.py).
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from corpus import TOKEN_16, TOKEN_24, Corpus, Row, crop, drawing_weights
from perturb import perturb
from rapidfuzz.distance import Levenshtein
from safetensors.torch import save_file
from supervision import Supervision, usual_pitch, whisper_states
from torch import Tensor, nn
from training import CapturedAround, Optimiser, Run, command, resume, section

from mamtra.audio.features import mel_24k, whisper_log_mel_128
from mamtra.encoders.speech_tokenizer import MARGIN, ConvNeXtBlock, SpeechTokenizer, SpeechTokenizerConfig

BUCKETS = (50, 75, 100, 130, 170, 220, 300, 370, 450)
"""Tokens, up to 18 s: two thirds of the recordings of real speakers are longer than 12 s."""
NOT_SPOKEN = frozenset(' ˈˌː;:,.!?—…"()“”')


def phones(phonemes: str) -> str:
    """The CTC target: phonemes without stress marks, spaces and punctuation."""
    return "".join(c for c in phonemes if c not in NOT_SPOKEN)


class Reader(nn.Module):
    """Training head that reads phones at 50 Hz from digits of tokens."""

    def __init__(self, dims: int, phones: int, width: int = 256) -> None:
        super().__init__()
        self.read = nn.Linear(dims, width)
        self.spell = nn.Sequential(*[ConvNeXtBlock(width, 5, 3) for _ in range(3)])
        self.phones = nn.Linear(width, 2 * (phones + 1))

    def log_probs(self, hidden: Tensor) -> Tensor:
        """Of what `read` gives (B, N, width): phone log-probabilities (B, 2N, phones + 1)."""
        found = self.phones(self.spell(hidden.transpose(1, 2)).transpose(1, 2))
        return found.float().reshape(len(hidden), 2 * hidden.shape[1], -1).log_softmax(-1)

    def forward(self, values: Tensor) -> Tensor:
        """values (B, N, dims) -> phone log-probabilities (B, 2N, phones + 1)."""
        return self.log_probs(self.read(values))


class Heads(Reader):
    """Training heads: phones, and the 80-bin mel at 50 Hz given the speaker. Discarded after training."""

    def __init__(self, dims: int, phones: int, width: int = 256) -> None:
        super().__init__(dims, phones, width)
        self.speaker = nn.Linear(192, width)
        self.spread = nn.Linear(width, 2 * width)
        self.paint = nn.Sequential(*[ConvNeXtBlock(width, 7, 3) for _ in range(4)])
        self.mel = nn.Linear(width, 80)

    def forward(self, values: Tensor, speaker: Tensor) -> tuple[Tensor, Tensor]:
        """values (B, N, dims), speaker (B, 192) -> phone log-probabilities (B, 2N, phones + 1), mel (B, 2N, 80)."""
        hidden = self.read(values)
        spread = self.spread(hidden + self.speaker(speaker)[:, None]).reshape(len(values), 2 * values.shape[1], -1)
        painted = self.paint(spread.transpose(1, 2)).transpose(1, 2)
        return self.log_probs(hidden), self.mel(painted)


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
        corpus: with audio16 and audio24.
        tokenizer: to train.
        heads: of phones and mel.
        tokens: of the longest utterance.
        supervision: further targets, where wanted.
        perturbation: strength, see `perturb`.
        agree: whether the losses hold "agreement": how far two perturbations of an utterance are apart in the tokens.
    """

    def __init__(
        self,
        corpus: Corpus,
        tokenizer: SpeechTokenizer,
        heads: Heads,
        tokens: int,
        supervision: Supervision | None = None,
        perturbation: float = 0.0,
        agree: bool = False,
    ) -> None:
        super().__init__()
        self.tokenizer, self.heads, self.tokens = tokenizer, heads, tokens
        self.supervision, self.perturbation, self.agree = supervision, perturbation, agree
        self.audio = (corpus.audio16, corpus.audio24)

    def forward(
        self, starts: Tensor, lengths: Tensor, speaker: Tensor, strength: Tensor, usual: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Phone log-probabilities (B, 2N, V) and losses by name.

        Args:
            starts: (B,) in tokens.
            lengths: (B,) in tokens.
            speaker: (B, 192).
            strength: () of the augmentation.
            usual: (B,) log2 of the median pitch, for the supervision.
        """
        with torch.no_grad():
            wave16 = cut(self.audio[0], starts, lengths, self.tokens, TOKEN_16)
            clean = whisper_log_mel_128(wave16)
            log_mel = self.changed(clean, strength)
            mel = mel_24k(cut(self.audio[1], starts, lengths, self.tokens, TOKEN_24)).transpose(1, 2)
            frames = torch.arange(mel.shape[1], device=mel.device)
            inside = (frames >= 2 * MARGIN) & (frames < 2 * (MARGIN + lengths[:, None]))
        with torch.autocast(wave16.device.type, torch.bfloat16, enabled=wave16.is_cuda, cache_enabled=False):
            values, latents = self.tokenizer.quantise(log_mel)
            log_probs, guess = self.heads(values, speaker)
            losses = {} if self.supervision is None else self.supervision(values, starts, lengths, usual)
            if self.agree:
                _, other = self.tokenizer.quantise(self.changed(clean, strength))
                apart = (latents - other).float().square().mean(-1)
                losses["agreement"] = (apart * inside[:, ::2]).sum() / inside[:, ::2].sum()
        error = (guess.float() - mel).abs().mean(-1)
        losses["mel"] = (error * inside).sum() / inside.sum()
        return log_probs, losses

    def changed(self, log_mel: Tensor, strength: Tensor) -> Tensor:
        """The encoder's input of a training step."""
        return augment(perturb(log_mel, self.perturbation) if self.perturbation else log_mel, strength)


def cut(flat: Tensor, starts: Tensor, lengths: Tensor, tokens: int, size: int) -> Tensor:
    """Utterances padded with MARGIN tokens of silence in front and silence behind: (B, (tokens + 2 MARGIN) * size) float."""
    wave = crop(flat, (starts - MARGIN) * size, (tokens + 2 * MARGIN) * size)
    place = torch.arange(wave.shape[1], device=wave.device) - MARGIN * size
    return wave.float() / 32768 * ((place >= 0) & (place < lengths[:, None] * size))


def batches(rows: list[Row], weights: np.ndarray, per_batch: int, rng: np.random.Generator):
    """Endless (bucket, row numbers): utterances of similar length, drawn by weight."""
    pools = {}
    edges = (0, *BUCKETS)
    for low, high in zip(edges, BUCKETS, strict=False):
        members = np.array([i for i, r in enumerate(rows) if low < r.tokens <= high], int)
        if weights[members].sum() > 0:
            pools[high] = (members, weights[members] / weights[members].sum())
    mass = np.array(
        [weights[m].sum() * high for high, (m, _) in pools.items()]
    )  # batches of longer utterances hold fewer rows
    highs = list(pools)
    while True:
        high = highs[rng.choice(len(highs), p=mass / mass.sum())]
        members, p = pools[high]
        yield high, rng.choice(members, size=max(1, per_batch // high), p=p)


def error_rate(log_probs: Tensor, lengths: Tensor, targets: list[list[int]], margin: int = MARGIN) -> tuple[int, int]:
    """Greedy CTC: (edit errors, phones). `margin` tokens stand in front of every utterance."""
    errors = total = 0
    for row, length, target in zip(log_probs.argmax(-1).tolist(), lengths.tolist(), targets, strict=True):
        best = row[2 * margin : 2 * (margin + length)]
        phones_read = [p for i, p in enumerate(best) if p and (i == 0 or p != best[i - 1])]
        errors, total = errors + Levenshtein.distance(phones_read, target), total + len(target)
    return errors, total


def main() -> None:
    parser = command(__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, nargs="+", required=True)
    parser.add_argument("--speakers", type=Path, required=True, help="file written by speaker_targets.py")
    parser.add_argument("--whisper", type=Path, help="a Whisper of transformers, for states_weight")
    parser.add_argument("--eager", action="store_true", help="do not capture CUDA graphs")
    args = parser.parse_args()
    config, device = section(args.config, "tokenizer", args.changes), args.device
    torch.manual_seed(config["seed"])
    rng = np.random.default_rng(config["seed"])
    weights_of = {name: config[f"{name}_weight"] for name in ("mel", "states", "pitch", "agreement")}
    supervised = weights_of["states"] > 0 or weights_of["pitch"] > 0
    if weights_of["states"] and args.whisper is None:
        raise SystemExit("states_weight needs --whisper DIR")
    corpus = Corpus(args.corpus, device, ("audio16", "audio24", "f0") if supervised else ("audio16", "audio24"))
    rows = corpus.rows
    print(f"{len(rows)} utterances, {corpus.hours():.1f} h", flush=True)

    found = np.load(args.speakers)
    by_id = dict(zip(found["ids"].tolist(), found["embeddings"].astype(np.float32), strict=True))
    by_speaker: dict[str, list] = {}
    for row in rows:
        if row.id in by_id:
            by_speaker.setdefault(row.speaker, []).append(by_id[row.id])
    mean = {s: np.mean(e, 0) / np.linalg.norm(np.mean(e, 0)) for s, e in by_speaker.items()}
    speaker = torch.from_numpy(np.stack([by_id.get(r.id, mean[r.speaker]) for r in rows])).to(device)
    starts = torch.tensor([r.start for r in rows], device=device)
    lengths = torch.tensor([r.tokens for r in rows], device=device)
    alphabet = sorted({c for r in rows for c in phones(r.phonemes)})
    number = {c: i + 1 for i, c in enumerate(alphabet)}
    phone_ids = [[number[c] for c in phones(r.phonemes)] for r in rows]

    group = [r.source if r.source in config["fractions"] else "bulk" for r in rows]
    validation = np.array([i % 50 == 0 for i in range(len(rows))])
    sizes = np.array([r.tokens for r in rows])
    fits = np.array(
        [r.tokens <= BUCKETS[-1] and 0 < len(s) <= 2 * r.tokens - 4 for r, s in zip(rows, phone_ids, strict=True)]
    )
    weights = drawing_weights(rows, sizes, config["fractions"]) / sizes * fits * ~validation

    tokenizer = SpeechTokenizer(SpeechTokenizerConfig(**config["model"])).to(device)
    resume(tokenizer, args.resume)
    heads = Heads(tokenizer.config.dims, len(alphabet)).to(device)
    modules, supervision, usual = [tokenizer, heads], None, None
    if supervised:
        states = whisper_states(args.whisper, corpus, device) if weights_of["states"] else None
        supervision, usual = Supervision(tokenizer.config.dims, states, corpus.f0).to(device), usual_pitch(corpus)
        modules.append(supervision)
    optimiser = Optimiser(nn.ModuleList(modules), config["lr"], average=config["average"])
    draw = batches(rows, weights, config["tokens_per_batch"], rng)
    run = Run(args.out, config["steps"], config["minutes"])

    def gradient(log_probs: Tensor, frames: Tensor, targets: Tensor, counts: Tensor) -> Tensor:
        """d CTC / d log-probabilities, each utterance weighted by its number of phones."""
        with torch.enable_grad():
            scores = log_probs.requires_grad_()
            each = F.ctc_loss(scores.transpose(0, 1), targets, frames, counts, reduction="none", zero_infinity=True)
            seen["ctc"] = each.sum() / counts.sum()
            slope = torch.autograd.grad(seen["ctc"], scores)[0]
        return torch.nan_to_num(slope, 0.0, 0.0, 0.0)

    def backward(losses: dict[str, Tensor], log_probs: Tensor, slope: Tensor) -> dict[str, Tensor]:
        optimiser.adam.zero_grad(set_to_none=True)
        slopes = [torch.full_like(loss, weights_of[name]) for name, loss in losses.items()]
        torch.autograd.backward((log_probs, *losses.values()), (slope, *slopes))
        shown = {name: loss.detach() for name, loss in losses.items()}
        return {**shown, "norm": optimiser.update(), "log_probs": log_probs.detach()}

    seen: dict[str, Tensor] = {}
    strength, plain = torch.tensor(float(config["augmentation"]), device=device), torch.zeros((), device=device)
    extras = (supervision, config["perturbation"], weights_of["agreement"] > 0)
    steps = {
        high: CapturedAround(
            ForwardPass(corpus, tokenizer, heads, high, *extras), gradient, backward, device, args.eager
        )
        for high in BUCKETS
    }
    for step in run:
        high, picked = next(draw)
        index = torch.from_numpy(picked).to(device)
        targets = [phone_ids[i] for i in picked]
        flat = torch.tensor([p for t in targets for p in t], device=device)
        counts = torch.tensor([len(t) for t in targets], device=device)
        frames = 2 * (lengths[index] + 2 * MARGIN)
        optimiser.schedule(run.progress)
        tensors = {"starts": starts[index], "lengths": lengths[index], "speaker": speaker[index], "strength": strength}
        if usual is not None:
            tensors["usual"] = usual[index]
        result = steps[high]((frames, flat, counts), **tensors)
        if step % 100 == 0:
            errors, total = error_rate(result["log_probs"], lengths[index], targets)
            run.report(1, **seen, **{n: v for n, v in result.items() if n != "log_probs"}, per=errors / total)

    tokenizer.load_state_dict(
        {n.removeprefix("0."): v for n, v in optimiser.averaged_state().items() if n.startswith("0.")}
    )
    heads.load_state_dict(
        {n.removeprefix("1."): v for n, v in optimiser.averaged_state().items() if n.startswith("1.")}
    )
    tokenizer.eval(), heads.eval()
    measured, used = {}, torch.zeros(tokenizer.config.num_tokens, device=device)
    with torch.no_grad():
        for name in sorted(set(group)):
            members = np.array([i for i in range(len(rows)) if validation[i] and fits[i] and group[i] == name])[:400]
            errors = total = 0
            for i in range(0, len(members), 16):
                picked = members[i : i + 16]
                index = torch.from_numpy(picked).to(device)
                high = int(lengths[index].max())
                log_probs, _ = ForwardPass(corpus, tokenizer, heads, high)(
                    starts[index], lengths[index], speaker[index], plain
                )
                e, t = error_rate(log_probs, lengths[index], [phone_ids[i] for i in picked])
                errors, total = errors + e, total + t
                codes = tokenizer(
                    whisper_log_mel_128(cut(corpus.audio16, starts[index], lengths[index], high, TOKEN_16))
                )
                inside = torch.arange(codes.shape[1], device=device)[None] - MARGIN
                used += torch.bincount(codes[(inside >= 0) & (inside < lengths[index, None])], minlength=len(used))
            measured[f"validation_phone_errors_percent_{name}"] = round(100 * errors / max(1, total), 2)
    p = used / used.sum()
    measured["tokens_used"] = int((used > 0).sum())
    measured["bits_per_token"] = round(float(-(p * p.clamp(min=1e-12).log2()).sum()), 2)
    print("validation:", measured, flush=True)
    about = {"config": config["model"], "measured": measured, "hours": round(corpus.hours(), 2)}
    run.save({n: v.cpu().contiguous() for n, v in tokenizer.state_dict().items()}, **about)
    save_file(
        {n: v.cpu().contiguous() for n, v in heads.state_dict().items()},
        args.out.with_suffix(".heads"), metadata={"alphabet": json.dumps(alphabet)},
    )  # fmt: skip


if __name__ == "__main__":
    main()
