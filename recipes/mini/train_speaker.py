"""Train the speaker encoder, a narrow CAM++, on the embeddings of the published one, then embed every utterance.

    python train_speaker.py --config mini.yaml --corpus DIR ... --targets targets.npz --out speaker.safetensors
        --embeddings rows.npz [--published FILE]

With --published it begins as the published one, of whose sizes it has to be (`model={}`), and learns to be stored compactly.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from campplus import embed, embed_corpus, load_published
from change_voices import CHANGED, original_of
from corpus import TOKEN_16, Corpus, crop, drawing_weights
from rounding import plain_names, round_weights
from torch import Tensor
from training import Captured, Optimiser, Run, command, resume, section

from mamtra.encoders.campplus import CAMPPlus, CAMPPlusConfig


def noise_on(wave: Tensor, levels: Sequence[float], fraction: float) -> Tensor:
    """White noise under a fraction of the rows (B, T), between two levels relative to each, dB."""
    low, high = levels
    level = low + (high - low) * torch.rand(len(wave), 1, device=wave.device)
    chosen = torch.rand(len(wave), 1, device=wave.device) < fraction
    strength = wave.square().mean(1, keepdim=True).sqrt() * 10 ** (level / 20)
    return wave + chosen * strength * torch.randn_like(wave)


def main(argv: list[str] | None = None) -> None:
    parser = command(__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, nargs="+", required=True)
    parser.add_argument("--targets", type=Path, required=True, help="file written by speaker_targets.py")
    parser.add_argument("--embeddings", type=Path, required=True, help="output file for the embeddings of all rows")
    parser.add_argument("--published", type=Path, help="weights of the published CAM++ to begin with")
    args = parser.parse_args(argv)
    config, device = section(args.config, "speaker", args.changes), args.device
    torch.manual_seed(config["seed"])
    corpus = Corpus(args.corpus, device, ("audio16",))
    found = np.load(args.targets)
    by_key = dict(zip(found["keys"].tolist(), found["embeddings"].astype(np.float32), strict=True))
    known = np.array([i for i, r in enumerate(corpus.rows) if r.key in by_key and r.tokens >= 40])
    rows = [corpus.rows[i] for i in known]
    targets = torch.from_numpy(np.stack([by_key[row.key] for row in rows])).to(device)
    lengths, begin = (np.array([getattr(row, name) for row in rows]) for name in ("tokens", "start"))
    speaker_of = {row.key: row.speaker for row in corpus.rows if row.source != CHANGED}
    people = [  # also behind a changed voice
        speaker_of.get(original_of(row), row.speaker) if row.source == CHANGED else row.speaker for row in rows
    ]
    validation = np.isin(people, sorted(set(people))[::12])
    count = Counter(row.speaker for row in rows)
    mass = np.array([count[row.speaker] ** -0.5 for row in rows])  # rare speakers are the ones that teach
    mass = drawing_weights(rows, mass * ~validation, config["fractions"])
    model = CAMPPlus(CAMPPlusConfig(**config["model"])).to(device)
    resume(model, args.resume)
    if args.published:
        model.load_state_dict(load_published(args.published).state_dict())
    if config["storage"]:
        round_weights(model, config["storage"])
    optimiser = Optimiser(model, config["lr"], average=config["average"])

    def step_of(samples: int):
        def step(starts: Tensor, row: Tensor) -> dict[str, Tensor]:
            wave = crop(corpus.audio16, starts, samples).float() / 32768
            wave = noise_on(wave, config["noise"], config["noisy"])
            with torch.autocast(wave.device.type, torch.bfloat16, enabled=wave.is_cuda, cache_enabled=False):
                guess = embed(model, wave)
            loss = (1 - (guess * targets[row]).sum(-1)).mean()
            return {"distance": loss.detach(), "norm": optimiser.step(loss)}

        return Captured(step, device)

    steps = [(int(s * 16000), step_of(int(s * 16000))) for s in config["seconds"]]
    rng = np.random.default_rng(config["seed"])
    run = Run(args.out, config["steps"], config["minutes"])
    model.train(not args.published)  # the statistics of the published one are better than those of a batch
    for number in run:
        samples, step = steps[number % len(steps)]
        picked = rng.choice(len(known), size=config["batch"], p=mass)
        room = np.maximum(lengths[picked] * TOKEN_16 - samples, 0)
        starts = begin[picked] * TOKEN_16 + (rng.random(len(picked)) * room).astype(np.int64)
        optimiser.schedule(run.progress)
        run.report(200, **step(starts=torch.from_numpy(starts), row=torch.from_numpy(picked)))
    model.load_state_dict(optimiser.averaged_state())
    embeddings = embed_corpus(model, corpus, device)
    np.savez_compressed(args.embeddings, embeddings=embeddings)
    likeness = (torch.from_numpy(embeddings[known].astype(np.float32)) * targets.cpu()).sum(-1).numpy()
    original = np.array([row.source != CHANGED for row in rows])
    measured = {
        "cosine_to_teacher_seen_speakers": round(float(likeness[original & ~validation].mean()), 4),
        "cosine_to_teacher_new_speakers": round(float(likeness[original & validation].mean()), 4),
    }
    print("measured:", measured, flush=True)
    state = plain_names({n: v.cpu().contiguous() for n, v in model.state_dict().items()})
    run.save(state, config=model.config.model_dump(), resumed=args.resume is not None, measured=measured)


if __name__ == "__main__":
    main()
