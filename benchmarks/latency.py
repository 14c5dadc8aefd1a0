"""Latency on a CPU: cold start, warm, first sound, by stage; and peak memory.

    python benchmarks/latency.py [--model DIR] [--voice NAME] [--threads 2] [--runs 5] [--out docs/results/latency.json]

Cold is a fresh `python -m mamtra say`; after the first run the files are in the system's page cache.
Warm is the public API in one process after a warm-up sentence. Works on Linux and macOS.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from record import benchmark, environment, say_progress, show_spread, spread

from mamtra.runtime.results import footnote, markdown_table

TEXTS = {
    "short": "Good morning.",
    "medium": "The library opens at nine, and on Saturdays there is a market on the square in front of it.",
    "long": (
        "The night train left the station a little after ten. Most of the passengers were asleep before it reached the river. "
        "A woman by the window was reading a letter, and every few minutes she looked up and smiled. "
        "Outside, the lights of the villages grew fewer. Then the mountains began, and the train slowed down. "
        "Nobody spoke. When the sun came up, the sea was there on the left, wide and quiet. "
        "She folded the letter, put it into her coat, and stood up before anyone else did."
    ),
}
COLD_TEXT = "Hello! This voice runs on your own machine."
# measured in the fresh process itself: from outside, the memory of the parent at the fork would count
PEAK = (
    "import resource, sys\nfrom mamtra import load\nmodel, voice, text = sys.argv[1:]\n"
    "load(model or None, device='cpu').say(text, voice or None)\n"
    "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == 'darwin' else 1024))"
)


def cold_start(model: str | None, voice: str | None, threads: int, runs: int) -> dict[str, Any]:
    """Wall seconds of the command line from nothing to a sound file."""
    options = [*(["--model", model] if model else []), *(["--voice", voice] if voice else [])]
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "x.wav"
        command = [sys.executable, "-m", "mamtra", "say", COLD_TEXT, "-o", str(out), "--device", "cpu", "-q", *options]
        for _ in range(runs):
            out.unlink(missing_ok=True)
            began = time.perf_counter()
            subprocess.run(command, check=True, env=environment(threads))
            seconds.append(time.perf_counter() - began)
            if not out.stat().st_size:
                raise SystemExit("the command wrote no sound")
    return spread(seconds)


def peak_memory(model: str | None, voice: str | None, threads: int, text: str) -> int:
    """Peak resident size in bytes of a fresh process that speaks one text."""
    command = [sys.executable, "-c", PEAK, model or "", voice or "", text]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment(threads))
    return int(done.stdout.split()[-1])


def warm(tts: Any, voice: str | None, runs: int, tick: Callable[[], None]) -> dict[str, Any]:
    """Real-time factor and time to the first sound of each text."""
    found = {}
    for name, text in TEXTS.items():
        factors, firsts, seconds, chunks = [], [], [], []
        for run in range(runs):
            began = time.perf_counter()
            pieces = []
            for piece in tts.stream(text, voice, seed=run):
                if not pieces:
                    firsts.append(1000 * (time.perf_counter() - began))
                pieces.append(piece)
            seconds.append(sum(piece.seconds for piece in pieces))
            factors.append((time.perf_counter() - began) / seconds[-1])
            chunks.append(sum(bool(piece.text) for piece in pieces))
            tick()
        found[name] = {
            "characters": len(text),
            "sentences": chunks[0],
            "seconds_of_sound": statistics.median(seconds),
            "rtf": spread(factors),
            "first_sound_ms": spread(firsts),
        }
    return found


class Timed:
    """Wraps a part of a model and adds up the time of its `inference`."""

    def __init__(self, part: Any) -> None:
        self.part, self.seconds = part, 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.part, name)

    def inference(self, *args: Any, **kwargs: Any) -> Any:
        began = time.perf_counter()
        result = self.part.inference(*args, **kwargs)
        self.seconds += time.perf_counter() - began
        return result


def stages(tts: Any, voice: str | None, runs: int, tick: Callable[[], None]) -> dict[str, Any]:
    """Milliseconds of each stage of one sentence, the medium one."""

    from mamtra.synthesis.model import Model
    from mamtra.synthesis.sentence import generate_tokens
    from mamtra.synthesis.token2wav import tokens_to_samples

    flow, vocoder = Timed(tts.model.flow), Timed(tts.model.vocoder)
    model = Model(tts.model.directory, parts={"lm": tts.model.lm, "flow": flow, "vocoder": vocoder})
    chosen = tts.voice(voice)
    rows: dict[str, list[float]] = {
        name: [] for name in ("text_ms", "lm_ms", "lm_ms_per_token", "flow_ms", "vocoder_ms")
    }
    tokens = []
    for run in range(-1, runs):  # the first one is the warm-up
        flow.seconds = vocoder.seconds = 0.0
        began = time.perf_counter()
        ids = tts.model.text.segments(TEXTS["medium"])[0].ids
        read = time.perf_counter()
        codes, _ = generate_tokens(model, chosen, ids, max(0, run))
        drawn = time.perf_counter()
        tokens_to_samples(model, chosen, codes, seed=0)
        if run >= 0:
            tokens.append(len(codes))
            for name, seconds in (
                ("text_ms", read - began), ("lm_ms", drawn - read), ("lm_ms_per_token", (drawn - read) / max(1, len(codes))),
                ("flow_ms", flow.seconds), ("vocoder_ms", vocoder.seconds),
            ):  # fmt: skip
                rows[name].append(1000 * seconds)
            tick()
    return {"tokens": statistics.median(tokens), **{name: spread(values) for name, values in rows.items()}}


def measure(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The whole benchmark; fresh processes first, while this one is small."""
    cold = cold_start(args.model, args.voice, args.threads, args.runs)
    peak = peak_memory(args.model, args.voice, args.threads, TEXTS["long"])

    import torch

    from mamtra import load

    torch.set_num_threads(args.threads)
    tts = load(args.model, device="cpu")
    tts.say(TEXTS["medium"], args.voice)
    with say_progress("warm") as progress:
        task = progress.add_task("warm", total=args.runs * (len(TEXTS) + 1))

        def tick() -> None:
            progress.advance(task)

        by_text = warm(tts, args.voice, args.runs, tick)
        by_stage = stages(tts, args.voice, args.runs, tick)
    yield {
        "seeds": [0, args.runs - 1],
        "model": {
            "name": tts.model.name,
            "voice": tts.voice(args.voice).name,
            "flow_steps": tts.model.generation.flow_steps,
        },
        "cold_seconds": cold,
        "peak_bytes": peak,
        "warm": by_text,
        "stages": by_stage,
    }


def render(results: dict[str, Any]) -> str:
    """The page, from the record alone."""
    model, stage = results["model"], results["stages"]
    texts = [
        (
            name, row["characters"], row["sentences"], f"{row['seconds_of_sound']:.1f}",
            show_spread(row["rtf"], 3), show_spread(row["first_sound_ms"], 0),
        )
        for name, row in results["warm"].items()
    ]  # fmt: skip
    names = {
        "text_ms": "text to phonemes", "lm_ms": "language model", "lm_ms_per_token": "language model, one token",
        "flow_ms": "flow", "vocoder_ms": "vocoder",
    }  # fmt: skip
    parts = [
        "# Speed on a CPU\n",
        *(f"{note}\n" for note in [results.get("note")] if note),
        f"Model {model['name']}, voice {model['voice']}, {model['flow_steps']} flow steps,",
        f"{results['hardware']['threads']} threads. Median (minimum to maximum) of {results['cold_seconds']['runs']} runs.\n",
        markdown_table(("", "value"), [
            ("fresh process to sound file, s", show_spread(results["cold_seconds"], 2)),
            ("peak memory of a fresh process, long text, MiB", f"{results['peak_bytes'] / 2**20:.0f}"),
        ]),
        "\n## Warm\n",
        markdown_table(("text", "characters", "sentences", "s of sound", "real-time factor", "first sound, ms"), texts),
        f"\n## Stages of one sentence of {stage['tokens']:.0f} tokens ({stage['tokens'] / 25:.1f} s)\n",
        markdown_table(("stage", "ms"), [(label, show_spread(stage[name], 2)) for name, label in names.items()]),
        "\n## How it was measured\n",
        footnote(results),
        "",
    ]  # fmt: skip
    return "\n".join(parts)


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", help="model directory or name; default: the built-in one")
    parser.add_argument("--voice", help="default: that of the model")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=5)


def main(argv: list[str] | None = None) -> None:
    benchmark("latency", __doc__, measure, render, options, argv)


if __name__ == "__main__":
    main()
