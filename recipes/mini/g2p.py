"""Train the letter-to-sound network of the embedded voice from its lexicon.

    python recipes/mini/g2p.py src/mamtra/assets/mini

Reads lexicon.txt.xz of that directory and writes letter_to_sound.safetensors beside it. The first five letters of a
held-out word begin no training word, so that inflections of one stem are never in both sets.
"""

from __future__ import annotations

import argparse
import time
import zlib
from itertools import pairwise
from pathlib import Path

import torch
from torch.nn import functional as F

from mamtra.evaluate.alignment import edit_distance
from mamtra.text.english.letter_to_sound_network import LetterToSoundNetwork, save_letter_to_sound
from mamtra.text.english.lexicon import DEFAULT, Lexicon
from mamtra.text.english.spelt_words import LETTERS, best_path, letter_ids, split_sounds

HELD_OUT_PERCENT = 3
Pair = tuple[str, list[str]]


def load_pairs(path: Path) -> tuple[list[Pair], list[Pair]]:
    """Training and held-out (word, sounds) pairs: plain words that CTC can align at two positions per letter."""
    train, held = [], []
    for word, readings in Lexicon.load(path).words():
        lower = word.lower()
        sounds = split_sounds(readings[DEFAULT])
        repeats = sum(a == b for a, b in pairwise(sounds))
        if len(word) < 3 or word.isupper() or set(lower) - set(LETTERS) or len(sounds) + repeats > 2 * len(word):
            continue
        held_out = zlib.crc32(lower[:5].encode()) % 100 < HELD_OUT_PERCENT
        (held if held_out else train).append((lower, sounds))
    return train, held


class Batches:
    """Batches of words of equal length, with all tensors on the device from the start."""

    def __init__(self, pairs: list[Pair], sounds: dict[str, int], size: int, device: torch.device) -> None:
        pairs = sorted(pairs, key=lambda pair: (len(pair[0]), pair[0]))
        self.letters, self.targets, self.lengths = [], [], []
        # One shuffled pool per word length, so that no padding is needed.
        start = 0
        while start < len(pairs):
            end = start
            while end < len(pairs) and len(pairs[end][0]) == len(pairs[start][0]):
                end += 1
            group = pairs[start:end]
            longest = max(len(p[1]) for p in group)
            rows = [[sounds[s] for s in p[1]] + [0] * (longest - len(p[1])) for p in group]
            self.letters.append(torch.tensor([letter_ids(p[0]) for p in group], device=device))
            self.targets.append(torch.tensor(rows, device=device))
            self.lengths.append(torch.tensor([len(p[1]) for p in group], device=device))
            start = end
        self.size = size

    def epoch(self, generator: torch.Generator) -> list[tuple[int, torch.Tensor]]:
        """(pool, rows) of every batch, in random order."""
        plan = []
        for pool, letters in enumerate(self.letters):
            order = torch.randperm(len(letters), generator=generator).to(letters.device)
            plan += [(pool, rows) for rows in order.split(self.size)]
        return [plan[i] for i in torch.randperm(len(plan), generator=generator).tolist()]


@torch.inference_mode()
def score(network: LetterToSoundNetwork, pairs: list[Pair], names: list[str], device: torch.device) -> str:
    """Phoneme and word accuracy, and word accuracy ignoring stress, on held-out words."""
    network.eval()
    errors = total = right = right_plain = 0
    for word, sounds in pairs:
        path = network(torch.tensor([letter_ids(word)], device=device))[0].argmax(-1).tolist()
        said = split_sounds(best_path(path, names))
        errors += edit_distance(said, sounds)
        total += len(sounds)
        right += said == sounds
        right_plain += [s[-1] for s in said] == [s[-1] for s in sounds]
    network.train()
    count = len(pairs)
    return (
        f"phonemes {100 * (1 - errors / total):.2f}%  words {100 * right / count:.2f}%  "
        f"words without stress {100 * right_plain / count:.2f}%  ({count} words)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="directory with lexicon.txt.xz; the weights are written there")
    parser.add_argument("--minutes", type=float, default=None, help="training time (default 3 on CUDA, 12 on a CPU)")
    parser.add_argument("--batch", type=int, default=None, help="words per step (default 1024 on CUDA, 128 on a CPU)")
    parser.add_argument("--rate", type=float, default=None, help="peak learning rate (default 3e-3, on a CPU 2e-3)")
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=None, help="CPU threads")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    generator = torch.Generator().manual_seed(args.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    cuda = device.type == "cuda"
    budget = 60 * (args.minutes or (3.0 if cuda else 12.0))
    rate = args.rate or (3e-3 if cuda else 2e-3)

    train, held = load_pairs(args.model / "lexicon.txt.xz")
    names = sorted({sound for _, sounds in train for sound in sounds})
    held = [pair for pair in held if set(pair[1]) <= set(names)]
    shape = {"width": 128, "layers": 4, "heads": 4, "kernel": 5}
    network = LetterToSoundNetwork(len(names), **shape).to(device)
    average = LetterToSoundNetwork(len(names), **shape).to(device)
    average.load_state_dict(network.state_dict())
    parameters = sum(p.numel() for p in network.parameters())
    print(f"{len(train)} words, {len(held)} held out, {len(names)} sounds, {parameters} parameters, {device}")

    classes = {name: number for number, name in enumerate(names, start=1)}
    batches = Batches(train, classes, args.batch or (1024 if cuda else 128), device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.01, fused=cuda)
    started, step, epoch, done = time.monotonic(), 0, 0, 0.0
    running = torch.zeros((), device=device)
    while done < 1.0:
        plan = batches.epoch(generator)
        for pool, rows in plan:
            # The schedule follows wall-clock time: warm-up, then decay to zero at the end of the time budget.
            done = (time.monotonic() - started) / budget
            if done >= 1.0:
                break
            factor = min(1.0, (step + 1) / 150) * max(0.0, 1.0 - done)
            for group in optimizer.param_groups:
                group["lr"] = rate * factor
            letters, targets = batches.letters[pool][rows], batches.targets[pool][rows]
            lengths = batches.lengths[pool][rows]
            with torch.autocast(device.type, torch.bfloat16, enabled=cuda):
                log_probs = network(letters, dropout=args.dropout)
            frames = torch.full_like(lengths, log_probs.shape[1])
            loss = F.ctc_loss(log_probs.transpose(0, 1), targets, frames, lengths, zero_infinity=True)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            step += 1
            running += (loss.detach() - running) * 0.02
            if step % 10 == 0:
                keep = min(0.99, step / (step + 100))
                with torch.no_grad():
                    for slow, fast in zip(average.parameters(), network.parameters(), strict=True):
                        slow.lerp_(fast, 1 - keep)
        epoch += 1
        if epoch % (5 if cuda else 1) == 0:
            minutes = (time.monotonic() - started) / 60
            print(f"epoch {epoch} step {step} {minutes:.1f} min loss {running.item():.4f}", flush=True)
    out = args.model / "letter_to_sound.safetensors"
    save_letter_to_sound(out, average, names, shape)
    print(f"held out: {score(average.cpu(), held, names, torch.device('cpu'))} -> {out}")


if __name__ == "__main__":
    main()
