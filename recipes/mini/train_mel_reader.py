"""Train a speech tokenizer of mel spectra on the tokens of a token set, for the reading loss of train_flow.py.

    python train_mel_reader.py --config mini.yaml --corpus DIR ... --tokens tokens.npz --tokenizer FILE --out reader.safetensors

FILE is a model directory's speech tokenizer. Until `catch_up` only the map from mel to Whisper's log-mel learns.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from corpus import TOKEN_16, TOKEN_24, Corpus, crop, drawing_weights
from mel_reader import MelReader, load_mel_reader, reading_distance
from tokens import TokenSet
from torch import Tensor
from training import Captured, Optimiser, Run, command, resume, section

from mamtra.audio.features import mel_24k
from mamtra.encoders.speech_tokenizer import SpeechTokenizerConfig, token_digits

HELD = 24
"""Every twenty-fourth row is for validation alone."""


def main(argv: list[str] | None = None) -> None:
    parser = command(__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, nargs="+", required=True)
    parser.add_argument("--tokens", type=Path, required=True, help="token set of the corpus")
    parser.add_argument("--tokenizer", type=Path, required=True, help="weights of the tokenizer that it begins with")
    args = parser.parse_args(argv)
    config, device = section(args.config, "mel_reader", args.changes), args.device
    sizes = SpeechTokenizerConfig(**section(args.config, "tokenizer")["model"] | config["model"])
    torch.manual_seed(config["seed"])
    corpus = Corpus(args.corpus, device, ("audio24", "audio16"))
    codes = torch.from_numpy(TokenSet.of_corpus(args.tokens, corpus.rows).speech.astype(np.int32)).to(device)
    tokens = config["tokens"]
    rows = np.array([i for i, row in enumerate(corpus.rows) if row.tokens >= tokens])
    validation = np.arange(len(rows)) % HELD == HELD - 1
    mass = drawing_weights([corpus.rows[i] for i in rows], 1.0 * ~validation, config["fractions"])
    model = MelReader(sizes)
    resume(model.tokenizer, args.tokenizer)
    if args.resume:
        resume(model, args.resume)
    model.to(device)
    first, both = Optimiser(model.bank, config["bank_lr"]), Optimiser(model, config["lr"], average=config["average"])

    def mel_of(starts: Tensor) -> Tensor:
        return mel_24k(crop(corpus.audio24, starts * TOKEN_24, tokens * TOKEN_24).float() / 32768).transpose(1, 2)

    def bank_step(starts: Tensor) -> dict[str, Tensor]:
        wanted = model.tokenizer.log_mel(crop(corpus.audio16, starts * TOKEN_16, tokens * TOKEN_16).float() / 32768)
        loss = (model.bands(mel_of(starts)) - wanted).abs().mean()
        return {"difference": loss.detach(), "norm": first.step(loss)}

    def step(starts: Tensor) -> dict[str, Tensor]:
        wanted = token_digits(crop(codes, starts, tokens).long(), sizes)
        inside = torch.ones(wanted.shape[:2], dtype=torch.bool, device=device)
        noise = config["noise"] * torch.rand(len(starts), 1, 1, device=device)
        with torch.autocast(wanted.device.type, torch.bfloat16, enabled=wanted.is_cuda, cache_enabled=False):
            loss = reading_distance(model, mel_of(starts), wanted, inside, config["temperature"], noise)
        return {"distance": loss.detach(), "norm": both.step(loss)}

    alone, together = Captured(bank_step, device), Captured(step, device)
    rng = np.random.default_rng(config["seed"])
    run, share = Run(args.out, config["steps"], config["minutes"]), config["catch_up"]
    for _ in run:
        picked = rng.choice(rows, size=config["batch"], p=mass)
        room = np.array([corpus.rows[i].tokens - tokens for i in picked])
        starts = np.array([corpus.rows[i].start for i in picked]) + (rng.random(len(picked)) * (room + 1)).astype(int)
        if run.progress < share:
            first.schedule(run.progress / share)
            run.report(100, **alone(starts=torch.from_numpy(starts)))
        else:
            both.schedule((run.progress - share) / (1 - share))
            run.report(100, **together(starts=torch.from_numpy(starts)))
    run.save(both.averaged_state(), config=sizes.model_dump(), hours=round(corpus.hours(), 2))
    if validation.any():
        heard, same = load_mel_reader(args.out, sizes, device), []
        with torch.inference_mode():
            for picked in torch.from_numpy(rows[validation][:400]).split(16):
                starts = torch.tensor([corpus.rows[i].start for i in picked.tolist()], device=device)
                wanted = token_digits(crop(codes, starts, tokens).long(), sizes)
                same.append((heard(mel_of(starts)).round() == wanted).flatten().cpu())
        print(
            f"digits of new rows that are read as they are: {100 * float(torch.cat(same).float().mean()):.1f}%",
            flush=True,
        )


if __name__ == "__main__":
    main()
