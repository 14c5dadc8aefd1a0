"""Train a speaker encoder of mel spectra on the embeddings of the published CAM++, for the speaker loss of train_flow.py.

    python train_mel_speaker.py --config mini.yaml --corpus DIR ... --campplus FILE --speakers rows.npz --out mel.safetensors

FILE and rows.npz, with every row of the corpus, are those of speaker_targets.py. Until `catch_up` only the map from mel to filter
bank learns.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import torch
from campplus import load_published
from corpus import TOKEN_16, TOKEN_24, Corpus, crop, drawing_weights
from mel_speaker import MelSpeaker, centred, noisy
from torch import Tensor
from training import Captured, Optimiser, Run, command, section

from mamtra.audio.features import kaldi_fbank_80, mel_24k

HELD = 12
"""Every twelfth speaker is for validation alone."""


def main(argv: list[str] | None = None) -> None:
    parser = command(__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, nargs="+", required=True)
    parser.add_argument("--campplus", type=Path, required=True, help="weights of the published CAM++")
    parser.add_argument("--speakers", type=Path, required=True, help="its embeddings, one per row of the corpus")
    args = parser.parse_args(argv)
    config, device = section(args.config, "mel_speaker", args.changes), args.device
    torch.manual_seed(config["seed"])
    corpus = Corpus(args.corpus, device, ("audio24", "audio16"))
    targets = torch.from_numpy(np.load(args.speakers)["embeddings"].astype(np.float32)).to(device)
    if len(targets) != len(corpus.rows):
        raise SystemExit("the embeddings were made from another corpus")
    longest = round(25 * max(config["seconds"]))
    rows = [i for i, row in enumerate(corpus.rows) if row.tokens >= longest]
    speakers = [corpus.rows[i].speaker for i in rows]
    count, held = Counter(speakers), set(sorted(set(speakers))[::HELD])
    validation = np.array([name in held for name in speakers])
    mass = np.array([count[name] ** -0.5 for name in speakers])
    mass = drawing_weights([corpus.rows[i] for i in rows], mass * ~validation, config["fractions"])
    model = MelSpeaker()
    model.speaker.load_state_dict(load_published(args.campplus).state_dict())
    model.to(device)
    first, both = Optimiser(model.bank, config["bank_lr"]), Optimiser(model, config["lr"], average=config["average"])

    def mel_of(starts: Tensor, tokens: int) -> Tensor:
        return mel_24k(crop(corpus.audio24, starts * TOKEN_24, tokens * TOKEN_24).float() / 32768).transpose(1, 2)

    def bank_step(starts: Tensor) -> dict[str, Tensor]:
        bank = kaldi_fbank_80(crop(corpus.audio16, starts * TOKEN_16, longest * TOKEN_16).float() / 32768)
        found = model.bank(centred(mel_of(starts, longest)))[:, : bank.shape[1]]
        loss = (centred(found) - centred(bank)).abs().mean()
        return {"difference": loss.detach(), "norm": first.step(loss)}

    def step_of(tokens: int):
        def step(starts: Tensor, row: Tensor) -> dict[str, Tensor]:
            mel = noisy(mel_of(starts, tokens), config["noise"] * torch.rand(len(row), 1, 1, device=device))
            with torch.autocast(mel.device.type, torch.bfloat16, enabled=mel.is_cuda, cache_enabled=False):
                found = model(mel)
            loss = (1 - (found * targets[row]).sum(-1)).mean()
            return {"distance": loss.detach(), "norm": both.step(loss)}

        return Captured(step, device)

    sizes = [round(25 * seconds) for seconds in config["seconds"]]
    banks, steps = Captured(bank_step, device), [(size, step_of(size)) for size in sizes]
    rng = np.random.default_rng(config["seed"])
    run = Run(args.out, config["steps"], config["minutes"])
    for number in run:
        size, step = steps[number % len(steps)]
        picked = rng.choice(rows, size=config["batch"], p=mass)
        alone = run.progress < config["catch_up"]
        size = longest if alone else size
        room = np.array([corpus.rows[i].tokens - size for i in picked])
        starts = np.array([corpus.rows[i].start for i in picked]) + (rng.random(len(picked)) * (room + 1)).astype(int)
        starts, row = torch.from_numpy(starts), torch.from_numpy(picked)
        if alone:
            first.schedule(run.progress / config["catch_up"])
            run.report(100, **banks(starts=starts))
        else:
            both.schedule((run.progress - config["catch_up"]) / (1 - config["catch_up"]))
            run.report(100, **step(starts=starts, row=row))
    state = both.averaged_state()
    model.load_state_dict(state)
    measured = {}
    with torch.inference_mode():
        for name, chosen in (("seen", ~validation), ("new", validation)):
            picked = np.array(rows)[chosen][:: max(1, int(chosen.sum()) // 400)]
            starts = torch.tensor([corpus.rows[i].start for i in picked], device=device)
            found = torch.cat([model(mel_of(part, sizes[-1])) for part in starts.split(32)])
            cosine = (found * targets[torch.from_numpy(picked).to(device)]).sum(-1)
            measured[f"cosine_{name}_speakers"] = round(float(cosine.mean()), 4)
    print("measured:", measured, flush=True)
    run.save(state, measured=measured, hours=round(corpus.hours(), 2))


if __name__ == "__main__":
    main()
