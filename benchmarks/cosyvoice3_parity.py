"""CosyVoice 3's flow and vocoder beside the original code, at published sizes with random weights: differences, seconds, memory.

    python benchmarks/cosyvoice3_parity.py REFERENCE [--libraries DIR] [--rounds 3] [--threads 2]

REFERENCE is a checkout of the original repository with its submodule Matcha-TTS, and DIR holds packages that it needs and this
environment lacks; nothing is fetched. A directory of the published layout is written with random weights (1.4 GB, in a temporary
folder), which both sides load, each in a process of its own, in turns. Every stage gets the original's output of the stage before,
so its difference is its own; the last rows let them add up. The original's own rounding is the difference between its float32 and
float64. Memory is the greatest resident size beyond that of a process that has imported everything.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import apart, benchmark, show_spread, spread
from torch import Tensor

from mamtra.acoustic.causal_hift import CausalHiFTConfig
from mamtra.acoustic.dit_flow import DiTFlowConfig
from mamtra.runtime.results import footnote, markdown_table

HOPS = (25, 50, 100)
"""New tokens of the original's hops; the last one is repeated."""
STAGES = {
    "mean": "look-ahead convolution: mean of the mel",
    "estimator": "one call of the DiT, full attention",
    "estimator_chunks": "one call of the DiT, chunk masks",
    "mel": "mel, 10 Euler steps",
    "mel_chunks": "mel by chunk masks",
    "f0": "F0, Hz",
    "source": "excitation",
    "wave": "waveform from mel and excitation",
    "wave_from_mel": "waveform from mel",
    "stream": "streamed waveform, the original's hops",
}
TIMED = {"offline": "mel and waveform in one pass", "stream": "streamed"}


def sizes(tiny: bool) -> tuple[DiTFlowConfig, CausalHiFTConfig]:
    """The published ones, or tiny ones to try the program."""
    small = DiTFlowConfig(lookahead_channels=24, dit_width=32, dit_depth=2, dit_heads=4, dit_head_dim=8)
    if tiny:
        return small, CausalHiFTConfig(base_channels=16, f0_channels=8)
    return DiTFlowConfig(), CausalHiFTConfig()


def write_directory(directory: Path, tiny: bool) -> None:
    """Flow and vocoder of the published layout, with F0 around 150 Hz."""
    sys.path.append(str(Path(__file__).resolve().parents[1]))
    from tests.foreign3 import cosyvoice3_parts

    flow, vocoder = sizes(tiny)
    cosyvoice3_parts(directory, flow=flow, vocoder=vocoder)
    state = torch.load(directory / "hift.pt", weights_only=True)
    state["generator.f0_predictor.classifier.bias"].fill_(120.0)
    state["generator.f0_predictor.classifier.weight"].mul_(1000.0)
    torch.save(state, directory / "hift.pt")


def inputs(tokens: int, prompt: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Tokens; tokens, mel and embedding of the prompt."""
    made = torch.Generator().manual_seed(0)
    token, before = (torch.randint(0, 6561, (1, count), generator=made) for count in (tokens, prompt))
    return token, before, torch.randn(1, 2 * prompt, 80, generator=made) - 5, torch.randn(1, 192, generator=made)


def estimator_inputs(frames: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """x, mu, t, spks, cond of both branches of the guidance."""
    made = torch.Generator().manual_seed(1)
    x, mu, cond = (torch.randn(2, 80, frames, generator=made) for _ in range(3))
    return x, mu, torch.full((2,), 0.3), torch.randn(2, 80, generator=made), cond


def ends(tokens: int, prompt: int) -> list[tuple[int, int]]:
    """(tokens made before, tokens read) of the original's hops before the last one."""
    found, done, hops = [], 0, [HOPS[0] + -prompt % 25, *HOPS[1:]]
    while tokens - done >= hops[0] + 3:
        found.append((done, done + hops[0] + 3))
        done += hops[0]
        hops = hops[1:] or hops
    return [*found, (done, tokens)]


class Original:
    """The original's modules, filled from a directory."""

    def __init__(self, directory: Path, tiny: bool, reference: Path, libraries: Path | None) -> None:
        sys.path.append(str(Path(__file__).resolve().parents[1]))
        from tests.parity.make_cosyvoice3 import open_original, original_flow, original_vocoder

        open_original(reference, libraries)
        flow, vocoder = sizes(tiny)
        self.flow, self.vocoder = original_flow(flow), original_vocoder(vocoder)
        state = torch.load(directory / "flow.pt", weights_only=True, mmap=True)
        self.flow.load_state_dict({name: value for name, value in state.items() if isinstance(value, Tensor)})
        state = torch.load(directory / "hift.pt", weights_only=True)
        self.vocoder.load_state_dict({name.removeprefix("generator."): value for name, value in state.items()})

    def mel(self, token: Tensor, voice: tuple[Tensor, ...], streaming: bool = False, finalize: bool = True) -> Tensor:
        from tests.parity.make_cosyvoice3 import original_mel

        return original_mel(self.flow, token, *voice, streaming, finalize)

    def estimator(self, chunks: bool, *given: Tensor) -> Tensor:
        x, mu, t, spks, cond = given
        return self.flow.decoder.estimator(x, torch.ones_like(x[:, :1]), mu, t, spks, cond, streaming=chunks)

    def mean(self, token: Tensor) -> Tensor:
        hidden = self.flow.pre_lookahead_layer(self.flow.input_embedding(token))
        return hidden.repeat_interleave(2, dim=1).transpose(1, 2)

    def wave(self, mel: Tensor) -> Tensor:
        return self.vocoder.inference(mel)[0]

    def stream(self, token: Tensor, voice: tuple[Tensor, ...]) -> Tensor:
        """The original's hops: the flow over all tokens so far, then the vocoder over all frames so far."""
        mel, waves, given = torch.zeros(1, 80, 0), [], 0
        hops = ends(token.shape[1], voice[0].shape[1])
        for done, read in hops:
            last = (done, read) == hops[-1]
            found = self.mel(token[:, :read], voice, streaming=not last, finalize=last)
            mel = torch.cat([mel, found[:, :, 2 * done :]], dim=2)
            waves.append(self.vocoder.inference(mel, finalize=last)[0][:, given:])
            given += waves[-1].shape[1]
        return torch.cat(waves, dim=1)


class Ours:
    """The modules of this package, read from the directory."""

    def __init__(self, directory: Path, *_: Any) -> None:
        from mamtra.checkpoints.cosyvoice.files import find_settings
        from mamtra.checkpoints.cosyvoice.parts import load_flow, load_vocoder
        from mamtra.checkpoints.cosyvoice.yaml import Settings

        settings = Settings(find_settings(directory))
        self.flow, self.vocoder = load_flow(directory, settings), load_vocoder(directory, settings)

    def mel(self, token: Tensor, voice: tuple[Tensor, ...], streaming: bool = False, finalize: bool = True) -> Tensor:
        return self.flow.inference(token, *voice, streaming=streaming, finalize=finalize)

    def estimator(self, chunks: bool, *given: Tensor) -> Tensor:
        x, mu, t, spks, cond = given
        return self.flow.decoder.estimator(x, None, mu, t, spks, cond, 50 if chunks else 0)

    def mean(self, token: Tensor) -> Tensor:
        return self.flow.encode(self.flow.input_embedding(token))

    def wave(self, mel: Tensor) -> Tensor:
        return self.vocoder.inference(mel)

    def stream(self, token: Tensor, voice: tuple[Tensor, ...]) -> Tensor:
        """The same hops with caches: every frame is computed once."""
        from mamtra.acoustic.flow_stream import FlowStream
        from mamtra.acoustic.vocoder_stream import VocoderStream

        flow, noise = FlowStream(self.flow, *voice), self.vocoder.noise(torch.Generator())
        vocoder, waves, read = VocoderStream(self.vocoder, noise), [], 0
        hops = ends(token.shape[1], voice[0].shape[1])
        for hop in hops:
            last = hop == hops[-1]
            waves.append(vocoder.push(flow.push(token[:, read : hop[1]], last), last))
            read = hop[1]
        return torch.cat(waves, dim=1)

    def original_stream(self, token: Tensor, voice: tuple[Tensor, ...]) -> Tensor:
        """The original's hops, last one with full attention, by our modules: what `like_original` streams."""
        from mamtra.acoustic.vocoder_stream import VocoderStream

        vocoder, waves = VocoderStream(self.vocoder, self.vocoder.noise(torch.Generator()), 8), []
        hops = ends(token.shape[1], voice[0].shape[1])
        for done, read in hops:
            last = (done, read) == hops[-1]
            mel = self.mel(token[:, :read], voice, streaming=not last, finalize=last)
            waves.append(vocoder.push(mel[:, :, 2 * done :], last))
        return torch.cat(waves, dim=1)


def peak() -> int:
    """Greatest resident size of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@torch.inference_mode()
def outputs(folder: Path, kind: str, counts: tuple[int, int], *where: Any) -> None:
    """Write NAME.npy of every stage; ours starts each from the original's output of the one before."""
    torch.set_num_threads(where[-1])
    side: Any = {"original": Original, "ours": Ours}[kind](*where[:-1])
    token, *voice = inputs(*counts)
    given = estimator_inputs(2 * sum(counts))

    def keep(name: str, value: Tensor) -> None:
        np.save(folder / f"{kind}-{name}.npy", value.float().numpy())

    def original(name: str) -> Tensor:
        return torch.from_numpy(np.load(folder / f"original-{name}.npy"))

    keep("mean", side.mean(token))
    for name, chunks in (("estimator", False), ("estimator_chunks", True)):
        keep(name, side.estimator(chunks, *given))
    for name, chunks in (("mel", False), ("mel_chunks", True)):
        keep(name, side.mel(token, voice, streaming=chunks))
    mel = original("mel")
    if kind == "original":
        wave, source = side.vocoder.inference(mel)
        keep("f0", side.vocoder.f0_predictor(mel.double()))
        keep("source", source)
        keep("wave", side.vocoder.decode(mel, source))
        keep("wave_from_mel", wave)
        keep("stream", side.stream(token, voice))
        side.flow.decoder.estimator.double()
        keep("rounding-estimator", side.estimator(False, *(value.double() for value in given)))
        vocoder = side.vocoder.double()
        vocoder.stft_window = vocoder.stft_window.double()
        keep("rounding-wave", vocoder.decode(mel.double(), source.double()))
        f0 = vocoder.f0_upsamp(original("f0").double()[:, None]).transpose(1, 2)
        keep("rounding-source", vocoder.m_source(f0)[0].transpose(1, 2))
        (folder / "original-done").touch()
        return
    f0 = side.vocoder.predict_f0(mel)
    keep("f0", f0)
    keep("source", side.vocoder.source(original("f0")))
    keep("wave", side.vocoder.decode(mel, original("source")))
    keep("wave_from_mel", side.wave(mel))
    keep("stream", side.original_stream(token, voice))
    (folder / "ours-done").touch()


@torch.inference_mode()
def timings(folder: Path, kind: str, counts: tuple[int, int], *where: Any) -> None:
    """Write seconds of one round to KIND.json; the utterance has no prompt here."""
    torch.set_num_threads(where[-1])
    # What both import is not counted.
    import mamtra.acoustic.flow_stream
    import mamtra.checkpoints.cosyvoice.parts  # noqa: F401

    idle = peak()
    side: Any = {"original": Original, "ours": Ours}[kind](*where[:-1])
    token, *voice = inputs(counts[0], 0)
    runs: dict[str, Callable[[], Tensor]] = {
        "offline": lambda: side.wave(side.mel(token, voice)),
        "stream": lambda: side.stream(token, voice),
    }
    side.estimator(False, *estimator_inputs(16))  # pages of the weights
    side.wave(torch.zeros(1, 80, 16))  # and the fixed noise
    found = {}
    for name, run in runs.items():
        began = time.perf_counter()
        run()
        found[name] = time.perf_counter() - began
    found["peak_bytes"] = peak() - idle
    (folder / f"{kind}.json").write_text(json.dumps(found))


def differences(folder: Path) -> dict[str, dict[str, float]]:
    """Greatest absolute difference of every stage, with the RMS of the original, and its own rounding where known."""
    found = {}
    for name in STAGES:
        ours, wanted = (np.load(folder / f"{kind}-{name}.npy").astype(np.float64) for kind in ("ours", "original"))
        entry = {"difference": float(np.abs(ours - wanted).max()), "rms": float(np.sqrt(np.square(wanted).mean()))}
        exact = folder / f"original-rounding-{name}.npy"
        if exact.is_file():
            entry["rounding"] = float(np.abs(np.load(exact) - wanted).max())
        found[name] = entry
    return found


def measure(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Differences first, then rounds of both sides in turns; with --keep what was made already is used again."""
    torch.set_num_threads(args.threads)
    counts = (args.tokens, args.prompt)
    result: dict[str, Any] = {
        "tokens": args.tokens,
        "prompt": args.prompt,
        "hops": len(ends(args.tokens, 0)),
        "seed": 0,
    }
    with tempfile.TemporaryDirectory() as place:
        folder = args.keep or Path(place)
        if not (folder / "model" / "hift.pt").is_file():
            apart(write_directory, folder / "model", args.tiny)
        where = (folder / "model", args.tiny, args.reference, args.libraries, args.threads)
        for kind in ("original", "ours"):
            if not (folder / f"{kind}-done").is_file():
                apart(outputs, folder, kind, counts, *where)
        result["stages"] = differences(folder)
        yield result
        rounds: dict[str, list[dict[str, float]]] = {"original": [], "ours": []}
        for _ in range(args.rounds):
            for kind, rows in rounds.items():
                apart(timings, folder, kind, counts, *where)
                rows.append(json.loads((folder / f"{kind}.json").read_text()))
            result["seconds"] = {
                name: {
                    **{kind: spread([row[name] for row in rows]) for kind, rows in rounds.items()},
                    "ratio": spread(
                        [o[name] / t[name] for o, t in zip(rounds["ours"], rounds["original"], strict=True)]
                    ),
                }
                for name in TIMED
            }
            result["peak_bytes"] = {kind: max(row["peak_bytes"] for row in rows) for kind, rows in rounds.items()}
            yield result


def render(result: dict[str, Any]) -> str:
    """The page."""
    seconds = result["tokens"] / 25
    page = (
        "# CosyVoice 3 beside the original code\n\n"
        f"Flow and vocoder of Fun-CosyVoice3-0.5B's sizes with random weights (seed {result['seed']}), float32: "
        f"{result['tokens']} speech tokens ({seconds:g} s) after a prompt of {result['prompt']}. Each stage starts from the "
        "original's output of the stage before. `rounding` is how far the original's float32 is from its own float64.\n\n"
    )
    rows = [
        (
            STAGES[name],
            f"{entry['difference']:.2g}",
            f"{entry['rms']:.2g}",
            f"{entry['rounding']:.2g}" if "rounding" in entry else "",
        )
        for name, entry in result["stages"].items()
    ]
    page += markdown_table(("stage", "largest difference", "RMS of the original", "rounding"), rows)
    if "seconds" in result:
        rows = [
            (
                TIMED[name],
                *(show_spread(found[kind], 1) for kind in ("original", "ours")),
                show_spread(found["ratio"], 2),
            )
            for name, found in result["seconds"].items()
        ]
        page += (
            f"\n\nSeconds without a prompt, both sides in turns; the stream has {result['hops']} hops, for each of which the "
            "original runs flow and vocoder over everything so far, and ours over what is new:\n\n"
        )
        page += markdown_table(("", "original", "ours", "ratio, ours to original"), rows)
    if "peak_bytes" in result:
        memory = {kind: value / 2**30 for kind, value in result["peak_bytes"].items()}
        page += (
            f"\n\nPeak memory beyond the imports, weights included, of one pass and a stream: {memory['original']:.2f} GiB the "
            f"original, {memory['ours']:.2f} GiB ours, which keeps the keys and values of a stream."
        )
    return f"{page}\n\n{footnote(result)}"


def options(parser: argparse.ArgumentParser) -> None:
    """Of the command line."""
    parser.add_argument("reference", type=Path, nargs="?", help="checkout of the original repository")
    parser.add_argument("--libraries", type=Path, help="folder with packages that the original needs")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="work in this folder, and go on from what is in it")
    parser.add_argument("--tiny", action="store_true", help="tiny modules, to try the program")
    parser.add_argument("--tokens", type=int, default=75)
    parser.add_argument("--prompt", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)


def main(argv: list[str] | None = None) -> None:
    benchmark("cosyvoice3_parity", __doc__ or "", measure, render, options, argv)


if __name__ == "__main__":
    main()
