"""One sentence by two models, to look at and to listen to: a picture of both spectrograms and two sound files.

    python benchmarks/showcase.py --models student=DIR teacher=DIR --out docs/showcase [--text T] [--voice V] [--seed 0]

Writes OUT/NAME.opus for each model and OUT/spectrograms.webp (80-bin mel to 8 kHz, 20 ms a column). Needs matplotlib.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib
import torch

import mamtra
from mamtra.audio.features import mel_24k
from mamtra.tts import Audio

matplotlib.use("Agg")
from matplotlib import pyplot

TEXT = "Hello, how are you doing today? I hope you have a very nice day with great results."


def draw(sounds: dict[str, Audio], path: Path) -> None:
    """The mel spectrograms of all sounds, one below the other, on one time axis."""
    figure, axes = pyplot.subplots(len(sounds), 1, figsize=(10, 2.6 * len(sounds)), sharex=True, squeeze=False)
    for axis, (name, sound) in zip(axes[:, 0], sounds.items(), strict=True):
        mel = mel_24k(torch.from_numpy(sound.samples)[None])[0]
        extent = (0, mel.shape[1] / 50, 0, mel.shape[0])
        axis.imshow(mel, origin="lower", aspect="auto", extent=extent, vmin=-11.5, vmax=2, cmap="magma")
        axis.set_ylabel("mel bin")
        axis.set_title(
            f"{name}: {sound.seconds:.2f} s, {sound.tokens} tokens, voice {sound.voice}, seed {sound.seed}", fontsize=10
        )
    axes[-1, 0].set_xlabel("seconds")
    figure.tight_layout()
    # WebP, for a picture of noise and texture takes three times as much as PNG
    figure.savefig(path, dpi=110, pil_kwargs={"quality": 60, "method": 6})
    pyplot.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", required=True, metavar="NAME=DIR")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--text", default=TEXT)
    parser.add_argument("--voice")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    sounds = {}
    for entry in args.models:
        name, _, directory = entry.partition("=")
        sounds[name] = mamtra.load(directory or None).say(args.text, args.voice, seed=args.seed)
        sounds[name].save(args.out / f"{name}.opus")
        print(f"{name}: {sounds[name].seconds:.2f} s, real-time factor {sounds[name].rtf:.2f}")
    draw(sounds, args.out / "spectrograms.webp")


if __name__ == "__main__":
    main()
