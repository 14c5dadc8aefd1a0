"""What streaming saves: the work of flow and vocoder with caches and from scratch for each hop; and the seams.

    python benchmarks/streaming_work.py [--model DIR] [--voice NAME] [--seconds 5 10 20 30] [--threads 2]
        [--out docs/results/streaming_work.json]

The speech tokens are the model's own. Frames are mel frames that a network computes, FLOPs are torch's count of its matrix
products, attentions and convolutions. "From scratch" runs both networks over everything so far at each hop.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from record import benchmark, say_progress

from mamtra.runtime.results import footnote, markdown_table

TEXT = (
    "The night train left the station a little after ten, and most of the passengers were asleep before it reached the river. "
    "A woman by the window was reading a letter, and every few minutes she looked up and smiled. "
    "Outside, the lights of the villages grew fewer, then the mountains began, and the train slowed down. "
)
TOKENS_A_SECOND = 25


def tokens_of(tts: Any, voice: Any, count: int) -> list[int]:
    """`count` speech tokens of the model's own, sentence after sentence."""
    from mamtra.synthesis.retries import segment_seed
    from mamtra.synthesis.sentence import generate_tokens

    tokens: list[int] = []
    index = 0
    while len(tokens) < count:
        for segment in tts.model.text.segments(TEXT):
            tokens += generate_tokens(tts.model, voice, segment.ids, segment_seed(0, index))[0]
            index += 1
        if not tokens:
            raise SystemExit("the model says nothing")
    return tokens[:count]


class Work:
    """Context that counts frames and FLOPs of both networks."""

    def __init__(self, model: Any) -> None:
        from torch.utils.flop_counter import FlopCounterMode

        self.model = model
        self.frames = {"flow": 0, "vocoder": 0}
        self._counter = FlopCounterMode(display=False)
        self._decode = None

    def __enter__(self) -> Work:
        decode = self.model.vocoder.decode

        def counted(mel: Any, *rest: Any) -> Any:
            self.frames["vocoder"] += mel.shape[2]
            return decode(mel, *rest)

        self.model.vocoder.decode = counted
        self._hook = self.model.flow.encoder_proj.register_forward_hook(self._passed)
        self._counter.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._counter.__exit__(*error)
        self._hook.remove()
        del self.model.vocoder.decode

    def _passed(self, module: Any, args: Any, output: Any) -> None:
        self.frames["flow"] += output.shape[1]

    @property
    def gflops(self) -> float:
        return self._counter.get_total_flops() / 1e9

    def facts(self) -> dict[str, Any]:
        return {"flow_frames": self.frames["flow"], "vocoder_frames": self.frames["vocoder"], "gflops": self.gflops}


def hops_of(sound: Any, tokens: list[int]) -> tuple[list[int], Any]:
    """The end of each hop in tokens, and the samples of all of them."""
    import numpy as np

    ends, pieces, at = [], [], 0
    while len(tokens) - at >= (count := sound.wanted):
        pieces.append(sound.push(tokens[at : at + count]))
        at += count
        ends.append(at)
    pieces.append(sound.push(tokens[at:], final=True))
    return [*ends, len(tokens)], np.concatenate(pieces)


def from_scratch(model: Any, voice: Any, tokens: list[int], ends: list[int]) -> None:
    """Flow and vocoder over everything so far, at each hop."""
    import torch

    prompt = (voice.prompt_speech[None], voice.prompt_mel[None], voice.embedding[None])
    for end in ends:
        mel = model.flow.inference(
            torch.tensor([tokens[:end]]),
            *prompt,
            steps=model.generation.flow_steps,
            streaming=True,
            finalize=end == len(tokens),
        )
        noise = model.vocoder.noise(torch.Generator().manual_seed(0))(mel.shape[2] * model.vocoder.config.hop)
        model.vocoder.inference(mel, noise=noise)


def differences(found: Any, wanted: Any) -> dict[str, float]:
    """Largest absolute difference, and RMS of the difference over RMS of the reference."""
    import numpy as np

    error = found.astype(np.float64) - wanted
    return {
        "max_abs": float(np.abs(error).max()),
        "relative_rms": float(np.sqrt(np.square(error).mean() / np.square(wanted.astype(np.float64)).mean())),
        "peak": float(np.abs(wanted).max()),
    }


def mel_of(model: Any, voice: Any, tokens: list[int], streaming: bool) -> Any:
    import torch

    prompt = (voice.prompt_speech[None], voice.prompt_mel[None], voice.embedding[None])
    options = {"steps": model.generation.flow_steps, "streaming": streaming}
    return model.flow.inference(torch.tensor([tokens]), *prompt, **options).numpy()


def measure_length(model: Any, voice: Any, tokens: list[int]) -> dict[str, Any]:
    """All figures of one length."""
    from mamtra.synthesis.streaming import HopSchedule, SegmentStream, prompt_store
    from mamtra.synthesis.token2wav import tokens_to_samples

    prompts = prompt_store(model)
    with Work(model) as prompt:
        prompts.stream(voice)
    rows = {}
    for name, schedule in (("growing", HopSchedule()), ("even", HopSchedule(growth=1))):
        flow = prompts.stream(voice)
        with Work(model) as kept:
            ends, wave = hops_of(SegmentStream(model, flow, seed=0, schedule=schedule), tokens)
        with Work(model) as scratch:
            from_scratch(model, voice, tokens, ends)
        rows[name] = {
            "hops": ends,
            "cached": kept.facts(),
            "scratch": scratch.facts(),
            "memory_bytes": flow.bytes,
            "seams": differences(wave, tokens_to_samples(model, voice, tokens, seed=0, chunked=True)),
        }
    with Work(model) as once:
        from_scratch(model, voice, tokens, [len(tokens)])
    return {
        "tokens": len(tokens),
        "prompt": prompt.facts(),
        "one_pass": once.facts(),
        "schedules": rows,
        "chunked_mel_to_whole": differences(mel_of(model, voice, tokens, True), mel_of(model, voice, tokens, False)),
    }


def measure(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The whole benchmark."""
    import torch

    from mamtra import load

    torch.set_num_threads(args.threads)
    tts = load(args.model, device="cpu")
    voice = tts.voice(args.voice)
    longest = tokens_of(tts, voice, round(max(args.seconds) * TOKENS_A_SECOND))
    lengths = {}
    with say_progress("streaming work") as progress:
        for seconds in progress.track(args.seconds):
            tokens = longest[: round(seconds * TOKENS_A_SECOND)]
            lengths[f"{seconds:g}"] = measure_length(tts.model, voice, tokens)
    model = {
        "name": tts.model.name,
        "voice": voice.name,
        "prompt_tokens": len(voice.prompt_speech),
        "flow_steps": tts.model.generation.flow_steps,
    }
    yield {"seed": 0, "model": model, "lengths": lengths}


def render(results: dict[str, Any]) -> str:
    """The page, from the record alone."""
    model = results["model"]
    work, seams, mels = [], [], []
    for seconds, row in results["lengths"].items():
        once = row["one_pass"]["gflops"]
        for name, found in row["schedules"].items():
            kept, scratch = found["cached"], found["scratch"]
            work.append((
                seconds, name, len(found["hops"]),
                f"{kept['flow_frames']} / {scratch['flow_frames']}", f"{kept['vocoder_frames']} / {scratch['vocoder_frames']}",
                f"{kept['gflops']:.1f} / {scratch['gflops']:.1f}", f"{scratch['gflops'] / kept['gflops']:.1f}",
                f"{kept['gflops'] / once:.2f}", f"{found['memory_bytes'] / 2**20:.0f}",
            ))  # fmt: skip
            seam = found["seams"]
            seams.append(
                (seconds, name, f"{seam['max_abs']:.1e}", f"{seam['relative_rms']:.1e}", f"{seam['peak']:.2f}")
            )
        mel = row["chunked_mel_to_whole"]
        mels.append((seconds, f"{mel['max_abs']:.2f}", f"{100 * mel['relative_rms']:.1f} %"))
    prompt = next(iter(results["lengths"].values()))["prompt"]
    parts = [
        "# What streaming saves\n",
        f"Model {model['name']}, voice {model['voice']} with a prompt of {model['prompt_tokens']} tokens,",
        f"{model['flow_steps']} flow steps. Growing hops are the default (at least 20 tokens, then 25, 50, 100), even ones stay at",
        "25. Pairs are: with caches / from scratch at each hop.\n",
        markdown_table(
            (
                "seconds",
                "hops",
                "number",
                "flow frames",
                "vocoder frames",
                "GFLOPs",
                "ratio",
                "to one pass",
                "cache, MiB",
            ),
            work,
        ),
        f"\nThe prompt's {prompt['flow_frames']} frames ({prompt['gflops']:.1f} GFLOPs) are computed once for each voice and not",
        "counted in the stream; from scratch and in one pass they are part of the work. The ratio is the GFLOPs from scratch over",
        "those of the stream, the next column those of the stream over one chunked pass over all tokens.\n",
        "## Seams\n",
        "Streamed samples against one chunked pass over the same tokens and the same noise: difference, its RMS over that of the",
        "signal, and the peak of the signal.\n",
        markdown_table(("seconds", "hops", "max abs", "relative RMS", "peak"), seams),
        "\nChunked attention gives another result than full attention, which `say` uses. Mel of the one against mel of the other",
        "(natural log):\n",
        markdown_table(("seconds", "max abs", "relative RMS"), mels),
        "\n## How it was measured\n",
        footnote(results),
        "",
    ]
    return "\n".join(parts)


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", help="model directory or name; default: the built-in one")
    parser.add_argument("--voice", help="default: that of the model")
    parser.add_argument("--seconds", type=float, nargs="+", default=[5, 10, 20, 30])
    parser.add_argument("--threads", type=int, default=2)


def main(argv: list[str] | None = None) -> None:
    benchmark("streaming_work", __doc__, measure, render, options, argv)


if __name__ == "__main__":
    main()
