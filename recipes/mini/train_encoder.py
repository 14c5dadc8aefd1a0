"""Train the speech tokenizer on for other speakers, while its tokens stay those that language model, flow and voices know.

python train_encoder.py --config mini.yaml --corpus DIR ... --tokenizer PLACE --whisper DIR --out FILE [key=value ...]

PLACE is a model directory or a file of train_tokenizer.py: the given tokenizer. Known voices (all sources but "real") keep its
tokens, also where their sound is perturbed. Real speakers get the tokens that a known voice would have had: `Listener` learns the
tokens of the known voices from the states of Whisper's encoder, which hardly depend on who speaks, and then listens to the others
(where that makes their phones easier to read). A reader of phones that has learned the tokens of the known voices, and learns no
more, has to find the words of all of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from corpus import crop
from listening import Listener, hear, whisper_states
from perturb import perturb
from speech import Batch, Reader, Speech, by_length, error_rate, over_corpus
from torch import Tensor, nn
from train_tokenizer import augment
from trained import load_network
from training import Optimiser, Run, command, section

from mamtra.encoders.speech_tokenizer import MARGIN, SpeechTokenizer

REAL, NEW = "real", "new"
HELD = 12
"""One of so many real speakers is not trained on: the group `NEW`, by which the weights are chosen."""
TRIED_EVERY = 30.0
"""Seconds between two trials of the weights."""


def digit_logits(latents: Tensor, levels: int, temperature: float) -> Tensor:
    """Logits (..., levels) of the digits by their squared distance from latents (...)."""
    places = torch.arange(levels, device=latents.device) - (levels - 1) / 2
    return -((latents[..., None] - places) ** 2) / temperature


def distance(logits: Tensor, wanted: Tensor, inside: Tensor) -> Tensor:
    """Cross entropy of digits (B, N, dims, levels) to wanted probabilities, summed over dims, mean over the tokens inside."""
    each = -(wanted.float() * logits.log_softmax(-1)).sum((-1, -2))
    return (each * inside).sum() / inside.sum()


def middle(latents: Tensor) -> Tensor:
    """Without the MARGIN of silence around it."""
    return latents[:, MARGIN:-MARGIN]


class Training:
    """The two parts of a training.

    Args:
        speech: to train on.
        config: section `encoder`.
        shipped: the given tokenizer.
        states: of Whisper's encoder, see `whisper_states`.
        run: which is told how it goes.
    """

    def __init__(self, speech: Speech, config: dict, shipped: SpeechTokenizer, states: Tensor, run: Run) -> None:
        self.speech, self.config, self.run, self.sizes = speech, config, run, shipped.config
        self.rng = np.random.default_rng(config["seed"])
        self.heard = hear(speech.corpus, states)
        self.known = over_corpus(speech, lambda batch: middle(shipped.latents(speech.log_mel(batch))))
        self.reader = Reader(self.sizes.dims, len(speech.alphabet)).to(speech.device)
        self.listener = Listener(self.heard.shape[1], self.sizes.dims, self.sizes.levels).to(speech.device)
        self.cast = {"device_type": torch.device(speech.device).type, "dtype": torch.bfloat16, "cache_enabled": False}
        self.cast["enabled"] = self.cast["device_type"] == "cuda"

    def probabilities(self, latents: Tensor) -> Tensor:
        """Of the digits (..., levels)."""
        return digit_logits(latents, self.sizes.levels, self.config["temperature"]).softmax(-1)

    def catch_up(self) -> None:
        """The reader and the listener learn the tokens of the known voices."""
        heads = nn.ModuleList((self.reader, self.listener))
        optimiser, share = Optimiser(heads, self.config["heads_lr"], average=0.99), self.config["catch_up"]
        fractions = {**self.config["fractions"], REAL: 0.0}
        draw, levels = self.speech.draw(fractions, self.config["tokens_per_batch"], self.rng), self.sizes.levels
        for step in self.run:
            if self.run.progress > share:
                break
            optimiser.schedule(self.run.progress / share)
            batch = next(draw)
            high = batch.inside.shape[1]
            latents = crop(self.known, batch.starts, high)
            wrong = torch.rand(latents.shape[:2], device=latents.device)[..., None] < self.config["wrong_tokens"]
            other = torch.randint_like(latents, levels) - (levels - 1) // 2
            with torch.autocast(**self.cast):
                log_probs = self.reader(torch.where(wrong, other, latents.round()) * batch.inside[..., None])
                logits = self.listener(crop(self.heard, batch.starts, high) * batch.inside[..., None])
            losses = {
                "ctc": self.speech.ctc(log_probs, batch)[1],
                "listener": distance(logits, self.probabilities(latents), batch.inside),
            }
            optimiser.step(sum(losses.values()))
            if step % 200 == 0:
                self.run.report(1, **losses)
        heads.load_state_dict(optimiser.averaged_state())
        heads.eval().requires_grad_(False)

    @torch.no_grad()
    def wanted(self) -> Tensor:
        """Probabilities (tokens, dims, levels) float16: those of the given tokens; for a real speaker the listener's,
        if the reader finds its phones more easily in them."""
        found, listened = (self.probabilities(self.known), over_corpus(self.speech, self.listen).softmax(-1))
        hardness = [self.hardness(one.argmax(-1).float() - (self.sizes.levels - 1) // 2) for one in (found, listened)]
        real = [i for i, row in enumerate(self.speech.rows) if row.source == REAL]
        chosen = [i for i in real if hardness[1][i] < hardness[0][i]]
        for row in (self.speech.rows[i] for i in chosen):
            found[row.start : row.start + row.tokens] = listened[row.start : row.start + row.tokens]
        print(f"{len(chosen)} of {len(real)} recordings get the listener's tokens", flush=True)
        return found.half()

    def hardness(self, digits: Tensor) -> list[float]:
        """CTC of every row of the corpus by the reader, from digits (tokens, dims)."""
        found = [0.0] * len(self.speech.rows)
        for rows in by_length(self.speech.rows, 10_000):
            batch = self.speech.batch(rows, max(self.speech.rows[i].tokens for i in rows))
            values = crop(digits, batch.starts, batch.inside.shape[1]) * batch.inside[..., None]
            for row, nats in zip(rows, self.speech.ctc(self.reader(values), batch)[0].tolist(), strict=True):
                found[row] = nats
        return found

    def listen(self, batch: Batch) -> Tensor:
        """The listener's logits (B, N, dims, levels)."""
        return self.listener(crop(self.heard, batch.starts, batch.inside.shape[1]) * batch.inside[..., None])

    def encoder(self, tokenizer: SpeechTokenizer, save: Callable[[dict[str, Tensor]], None]) -> None:
        """The encoder learns. In the end it has the averaged weights of that moment when new speakers were read best;
        `save` gets their state each time."""
        config, wanted = self.config, self.wanted()
        trial, best, tried = deepcopy(tokenizer).eval(), np.inf, time.time()
        optimiser = Optimiser(tokenizer, config["lr"], average=config["average"])

        def try_weights() -> float:
            trial.load_state_dict(optimiser.averaged_state())
            errors = self.misread(
                self.group(NEW), lambda batch: middle(trial.latents(self.speech.log_mel(batch))).round()
            )
            if errors <= best:
                tokenizer_state = {name: value.cpu().contiguous() for name, value in trial.state_dict().items()}
                save(tokenizer_state)
                chosen.update(tokenizer_state)
            print(f"new speakers: {errors:.2f}% of the phones misread", flush=True)
            return min(errors, best)

        chosen: dict[str, Tensor] = {}
        draw = self.speech.draw(config["fractions"], config["tokens_per_batch"], self.rng)
        strength = torch.tensor(float(config["augmentation"]), device=self.speech.device)
        for step in self.run:
            optimiser.schedule((self.run.progress - config["catch_up"]) / (1 - config["catch_up"]))
            batch = next(draw)
            with torch.no_grad():
                clean = self.speech.log_mel(batch)
                changed = augment(perturb(clean, config["perturbation"]), strength)
                same = torch.rand(len(clean), 1, 1, device=clean.device) < config["clean"]
            with torch.autocast(**self.cast):
                values, latents = tokenizer.quantise(torch.where(same, clean, changed))
                log_probs = self.reader(middle(values) * batch.inside[..., None])
            logits = digit_logits(middle(latents), self.sizes.levels, config["temperature"])
            losses = {
                "distance": distance(logits, crop(wanted, batch.starts, batch.inside.shape[1]), batch.inside),
                "ctc": self.speech.ctc(log_probs, batch)[1],
            }
            norm = optimiser.step(losses["distance"] + config["ctc_weight"] * losses["ctc"])
            if step % 100 == 0:
                self.run.report(1, **losses, norm=norm)
            if time.time() - tried > TRIED_EVERY:
                best, tried = try_weights(), time.time()
        try_weights()
        tokenizer.load_state_dict(chosen)

    def group(self, name: str) -> list[int]:
        """Validation rows of a group."""
        speech = self.speech
        return np.flatnonzero(speech.validation & speech.fits & (speech.group == name)).tolist()[:400]

    @torch.no_grad()
    def misread(self, rows: list[int], digits: Callable[[Batch], Tensor]) -> float:
        """Phones of these rows that the reader misses, %."""
        errors = total = 0
        for at in range(0, len(rows), 16):
            picked = rows[at : at + 16]
            batch = self.speech.batch(picked, max(self.speech.rows[i].tokens for i in picked))
            log_probs = self.reader(digits(batch) * batch.inside[..., None])
            missed, phones = error_rate(log_probs, batch.lengths, [self.speech.phones[i] for i in picked])
            errors, total = errors + missed, total + phones
        return 100 * errors / max(1, total)

    @torch.no_grad()
    def measure(self, tokenizer: SpeechTokenizer) -> dict[str, float]:
        """Of validation rows: phones misread in the given, the listener's and the trained tokens; share of trained ones given."""
        speech, found = self.speech, {}
        flat = {
            "given": self.known.round(),
            "listener": over_corpus(speech, self.listen).argmax(-1).float() - (self.sizes.levels - 1) // 2,
            "trained": over_corpus(speech, lambda batch: middle(tokenizer.latents(speech.log_mel(batch)))).round(),
        }
        for group in filter(self.group, sorted(set(speech.group))):
            rows = self.group(group)
            places = [
                p for i in rows for p in range(speech.rows[i].start, speech.rows[i].start + speech.rows[i].tokens)
            ]
            for name, digits in flat.items():
                errors = self.misread(rows, lambda batch, of=digits: crop(of, batch.starts, batch.inside.shape[1]))
                same = digits[places] == flat["given"][places]
                found[f"{group}_{name}_phone_errors_percent"] = round(errors, 2)
                if name == "trained":
                    found[f"{group}_{name}_equal_digits_percent"] = round(100 * float(same.float().mean()), 2)
                    found[f"{group}_{name}_equal_tokens_percent"] = round(100 * float(same.all(-1).float().mean()), 2)
        return found


def hold_speakers(speech: Speech) -> None:
    """Every twelfth real speaker becomes the group `NEW`, for validation alone."""
    names = sorted({row.speaker for row in speech.rows if row.source == REAL})
    new = np.isin([row.speaker for row in speech.rows], names[::HELD])
    speech.group[new] = NEW
    speech.validation |= new


def main(argv: list[str] | None = None) -> None:
    parser = command(__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, nargs="+", required=True)
    parser.add_argument("--tokenizer", type=Path, required=True, help="the given one")
    parser.add_argument("--whisper", type=Path, required=True, help="a Whisper of transformers")
    args = parser.parse_args(argv)
    config = section(args.config, "encoder", args.changes)
    torch.manual_seed(config["seed"])

    speech = Speech(args.corpus, args.device, ("audio16", "f0"), config["fractions"])
    hold_speakers(speech)
    print(f"{len(speech.rows)} utterances, {speech.corpus.hours():.1f} h", flush=True)
    states = whisper_states(args.whisper, speech.corpus, args.device).clone()
    shipped, tokenizer = (load_network(args.tokenizer, "speech_tokenizer").to(args.device) for _ in range(2))
    tokenizer.requires_grad_(True)
    run = Run(args.out, config["steps"], config["minutes"])
    training = Training(speech, config, shipped, states, run)
    about = {"config": tokenizer.config.model_dump(), "hours": round(speech.corpus.hours(), 2), "resumed": True}
    training.catch_up()
    print("before:", training.measure(tokenizer), flush=True)
    training.encoder(tokenizer, lambda state: run.save(state, **about))
    measured = training.measure(tokenizer.eval())
    print("validation:", measured, flush=True)
    run.save({n: v.cpu().contiguous() for n, v in tokenizer.state_dict().items()}, **about, measured=measured)


if __name__ == "__main__":
    main()
