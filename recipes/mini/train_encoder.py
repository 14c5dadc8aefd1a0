"""Train the speech tokenizer's encoder alone: any speaker gets the tokens that the bulk voice would have had for the same speech.

python train_encoder.py --config mini.yaml --corpus DIR ... --known tokens.npz --whisper DIR --out FILE [--resume FILE]

The token set holds the tokens of the corpus that language models and flow know. A reader learns phones and pitch from those of
the bulk voice, then rests. The encoder, which begins as layers of Whisper, learns the tokens of the bulk voice itself, and of
speech in other voices with its timing (parallel_voices.py); and the reader must find phones and pitch of all others.
"""

from __future__ import annotations

import math
from operator import itemgetter
from pathlib import Path

import numpy as np
import torch
from change_voices import families
from corpus import TOKEN_16, crop
from digits import digit_distance
from listening import TONES, begin_as_whisper, first_waves, hear
from perturb import perturb
from rounding import plain_names, round_weights
from speech import Batch, Speech, cut, error_rate
from tokens import TokenSet
from torch import Tensor, nn
from train_tokenizer import augment, recall_losses
from training import CapturedAround, Optimiser, Run, command, resume, section

from mamtra.encoders.speech_tokenizer import (
    MARGIN,
    ConvNeXtBlock,
    SpeechTokenizer,
    SpeechTokenizerConfig,
    token_digits,
)

REAL, NEW, PARALLEL = "real", "new", "parallel"
HELD = 12
"""One of so many real speakers is not trained on: the group `NEW`, by which the weights are chosen."""
TRIED_EVERY = 0.15
"""Of the training: between two trials of the weights."""


class Reader(nn.Module):
    """Reads phones and pitch from the digits of tokens."""

    def __init__(self, dims: int, phones: int, width: int = 256) -> None:
        super().__init__()
        self.read = nn.Linear(dims, width)
        self.spell = nn.Sequential(*[ConvNeXtBlock(width, 5, 3) for _ in range(4)])
        self.phones = nn.Linear(width, 2 * (phones + 1))
        self.recall = nn.Sequential(*[ConvNeXtBlock(width, 7, 3) for _ in range(3)])
        self.tones = nn.Linear(width, TONES)

    def forward(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """values (B, N, dims) -> phone log-probabilities (B, 2N, phones + 1), and the tones of `hear` (B, N, 4)."""
        hidden = self.read(values).transpose(1, 2)
        spelled = self.phones(self.spell(hidden).transpose(1, 2)).float()
        log_probs = spelled.reshape(len(values), 2 * values.shape[1], -1).log_softmax(-1)
        return log_probs, self.tones(self.recall(hidden).transpose(1, 2)).float()


class Training:
    """Both trainings.

    Args:
        speech: to train on.
        known: tokens of the corpus (N,) int64.
        config: section `encoder`.
    """

    def __init__(self, speech: Speech, known: Tensor, config: dict) -> None:
        self.speech, self.config, self.device = speech, config, speech.device
        self.sizes = SpeechTokenizerConfig(**config["model"])
        self.has = torch.tensor(np.isin(speech.group, ("bulk", PARALLEL)), device=self.device)
        first = [speech.rows[family[0]].start for family in families(speech.rows)]
        self.given = torch.tensor(first, device=self.device)
        self.digits = token_digits(known, self.sizes)
        self.heard = hear(speech.corpus, torch.zeros(2 * len(known), 0, dtype=torch.float16, device=self.device))
        self.reader = Reader(self.sizes.dims, len(speech.alphabet)).to(self.device)
        self.rng = np.random.default_rng(config["seed"])
        device = torch.device(self.device)
        self.cast = {
            "device_type": device.type,
            "dtype": torch.bfloat16,
            "cache_enabled": False,
            "enabled": device.type == "cuda",
        }

    def draw(self, fractions: dict[str, float]):
        """Endless batches."""
        return self.speech.draw(fractions, self.config["tokens_per_batch"], self.rng)

    def ctc_slope(self, seen: dict[str, Tensor], margin: int):
        """See `CapturedAround`: the gradient of CTC, which cannot be captured."""

        def gradient(log_probs: Tensor, batch: Batch) -> Tensor:
            with torch.enable_grad():
                scores = log_probs.requires_grad_()
                seen["ctc"] = self.speech.ctc(scores, batch, margin)[1]
                slope = torch.autograd.grad(seen["ctc"], scores)[0]
            return torch.nan_to_num(slope, 0.0, 0.0, 0.0)

        return gradient

    def teach_reader(self, run: Run) -> None:
        """The reader learns the tokens of the bulk voice, some of them wrong."""
        config, share, levels = self.config, self.config["catch_up"], self.sizes.levels
        optimiser = Optimiser(self.reader, config["reader_lr"], average=0.99)
        seen: dict[str, Tensor] = {}

        def forward(given: Tensor, starts: Tensor, lengths: Tensor, span: Tensor) -> tuple[Tensor, Tensor]:
            digits = crop(self.digits, given, len(span))
            wrong = torch.rand(digits.shape[:2], device=digits.device)[..., None] < config["wrong_tokens"]
            other = torch.randint_like(digits, levels) - (levels - 1) // 2
            inside = span < lengths[:, None]
            with torch.autocast(**self.cast):
                log_probs, tones = self.reader(torch.where(wrong, other, digits) * inside[..., None])
            return log_probs, recall_losses(tones, crop(self.heard, starts, len(span)).float(), lengths)[0]

        def backward(pitch: Tensor, log_probs: Tensor, slope: Tensor) -> dict[str, Tensor]:
            optimiser.adam.zero_grad(set_to_none=True)
            torch.autograd.backward((log_probs, pitch), (slope, torch.ones_like(pitch)))
            return {"pitch": pitch.detach(), "norm": optimiser.update()}

        step_of = CapturedAround(forward, self.ctc_slope(seen, 0), backward, self.device, eager=False)
        draw = self.draw({**{source: 0.0 for source in config["fractions"]}, PARALLEL: 0.1})
        for step in run:
            if run.progress > share:
                break
            batch = next(draw)
            optimiser.schedule(run.progress / share)
            span = torch.arange(batch.inside.shape[1], device=self.device)
            result = step_of(
                (batch,), given=self.given[batch.rows], starts=batch.starts, lengths=batch.lengths, span=span
            )
            if step % 200 == 0:
                run.report(1, reader_ctc=seen["ctc"], reader_pitch=result["pitch"])
        self.reader.load_state_dict(optimiser.averaged_state())
        self.reader.eval().requires_grad_(False)

    def teach_encoder(self, tokenizer: SpeechTokenizer, run: Run) -> dict[str, Tensor]:
        """The encoder learns; those of its averaged weights that read new speakers best."""
        round_weights(tokenizer, self.config["storage"])
        config, sizes, speech = self.config, self.sizes, self.speech
        optimiser = Optimiser(tokenizer, config["lr"], average=config["average"])
        seen: dict[str, Tensor] = {}

        def forward(starts: Tensor, lengths: Tensor, given: Tensor, has: Tensor, span: Tensor) -> tuple[Tensor, Tensor]:
            inside = span < lengths[:, None]
            with torch.no_grad():
                plain = tokenizer.log_mel(cut(speech.corpus.audio16, starts, lengths, len(span), TOKEN_16))
                changed = augment(perturb(plain, config["perturbation"]), self.strength)
                same = torch.rand(len(plain), 1, 1, device=plain.device) < config["clean"]
                log_mel = torch.where(same, plain, changed)
            with torch.autocast(**self.cast):
                values, latents = tokenizer.quantise(log_mel)
                log_probs, tones = self.reader(values[:, MARGIN:-MARGIN] * inside[..., None])
            near = digit_distance(
                latents[:, MARGIN:-MARGIN], crop(self.digits, given, len(span)), inside & has[:, None],
                sizes.levels, config["temperature"],
            )  # fmt: skip
            pitch = recall_losses(tones, crop(self.heard, starts, len(span)).float(), lengths)[0]
            return log_probs, torch.stack((near, pitch))

        def backward(losses: Tensor, log_probs: Tensor, slope: Tensor) -> dict[str, Tensor]:
            optimiser.adam.zero_grad(set_to_none=True)
            torch.autograd.backward((log_probs, losses), (config["ctc_weight"] * slope, self.weights))
            return {"losses": losses.detach(), "norm": optimiser.update()}

        self.strength = torch.tensor(float(config["augmentation"]), device=self.device)
        self.weights = torch.tensor([1.0, float(config["pitch_weight"])], device=self.device)
        step_of = CapturedAround(forward, self.ctc_slope(seen, 0), backward, self.device, eager=False)
        draw, share, tried = self.draw(config["fractions"]), config["catch_up"], 0.0
        best: tuple[float, dict[str, Tensor]] = (math.inf, {})
        for step in run:
            optimiser.schedule((run.progress - share) / (1 - share))
            batch = next(draw)
            span = torch.arange(batch.inside.shape[1], device=self.device)
            result = step_of(
                (batch,), starts=batch.starts, lengths=batch.lengths, given=self.given[batch.rows], has=self.has[batch.rows],
                span=span,
            )  # fmt: skip
            if step % 100 == 0:
                near, pitch = result["losses"]
                run.report(1, **seen, distance=near, pitch=pitch, norm=result["norm"])
            if run.progress - tried > TRIED_EVERY:
                tried = run.progress
                best = min(best, self.trial(optimiser), key=itemgetter(0))
        return min(best, self.trial(optimiser), key=itemgetter(0))[1]

    def trial(self, optimiser: Optimiser) -> tuple[float, dict[str, Tensor]]:
        """The phones that are missed in speech of new speakers with the averaged weights, %, and these."""
        state = plain_names(optimiser.averaged_state())
        found = self.measure(state, rows=100)
        print(found, flush=True)
        return found.get(f"{NEW}_phone_errors_percent", 0.0), state

    @torch.no_grad()
    def measure(self, state: dict[str, Tensor], rows: int = 300) -> dict[str, float]:
        """Of validation rows, with these weights as they are stored: phones that the reader misses in the known tokens and in the
        encoder's, and digits that are as wanted."""
        speech, found = self.speech, {}
        tokenizer = SpeechTokenizer(self.sizes).to(self.device).eval()
        tokenizer.load_state_dict(state)
        round_weights(tokenizer, self.config["storage"])
        for group in sorted(set(speech.group)):
            chosen = np.flatnonzero(speech.validation & speech.fits & (speech.group == group)).tolist()[:rows]
            missed, phones, same, digits = [0, 0], 0, 0.0, 0
            for at in range(0, len(chosen), 16):
                picked = chosen[at : at + 16]
                batch = speech.batch(picked, max(speech.rows[i].tokens for i in picked))
                latents = tokenizer.latents(tokenizer.log_mel(speech.waves(batch)))[:, MARGIN:-MARGIN]
                made, inside = latents.round(), batch.inside[..., None]
                wanted = crop(self.digits, self.given[picked], batch.inside.shape[1])
                targets = [speech.phones[i] for i in picked]
                for which, values in enumerate((crop(self.digits, batch.starts, batch.inside.shape[1]), made)):
                    missed[which] += error_rate(self.reader(values * inside)[0], batch.lengths, targets)[0]
                phones += sum(map(len, targets))
                wants = (self.has[picked][:, None] & batch.inside)[..., None]
                same, digits = (
                    same + float(((made == wanted) & wants).sum()),
                    digits + int(wants.sum()) * self.sizes.dims,
                )
            if phones:
                found[f"{group}_known_phone_errors_percent"] = round(100 * missed[0] / phones, 2)
                found[f"{group}_phone_errors_percent"] = round(100 * missed[1] / phones, 2)
            if digits:
                found[f"{group}_wanted_digits_percent"] = round(100 * same / digits, 2)
        return found


def hold_speakers(speech: Speech) -> None:
    """Every twelfth real speaker becomes the group `NEW`, for validation alone; as other voices too."""
    names = sorted({row.speaker for row in speech.rows if row.source == REAL})
    held = {row.key for row in speech.rows if row.speaker in set(names[::HELD])}
    first = [speech.rows[family[0]].key in held for family in families(speech.rows)]
    new = np.array([row.key in held for row in speech.rows])
    speech.group[new] = NEW
    speech.validation |= np.array(first)


def main(argv: list[str] | None = None) -> None:
    parser = command(__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, nargs="+", required=True)
    parser.add_argument("--known", type=Path, required=True, help="token set of the corpus")
    parser.add_argument("--whisper", type=Path, required=True, help="a Whisper of transformers, such as whisper-base")
    args = parser.parse_args(argv)
    config = section(args.config, "encoder", args.changes)
    torch.manual_seed(config["seed"])
    speech = Speech(args.corpus, args.device, ("audio16", "f0"), config["fractions"])
    hold_speakers(speech)
    print(f"{len(speech.rows)} utterances, {speech.corpus.hours():.1f} h", flush=True)
    known = TokenSet.of_corpus(args.known, speech.rows)
    training = Training(speech, torch.from_numpy(known.speech).to(args.device), config)
    tokenizer = SpeechTokenizer(training.sizes).to(args.device)
    if args.resume:
        resume(tokenizer, args.resume)
    else:
        begin_as_whisper(tokenizer, args.whisper, first_waves(speech.corpus))
    run = Run(args.out, config["steps"], config["minutes"])
    training.teach_reader(run)
    state = training.teach_encoder(tokenizer, run)
    measured = training.measure(state)
    print("validation:", measured, flush=True)
    about = {"config": config["model"], "measured": measured, "hours": round(speech.corpus.hours(), 2)}
    run.save(state, **about, resumed=args.resume is not None, keeps_tokens=True)


if __name__ == "__main__":
    main()
