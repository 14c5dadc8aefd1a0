"""The page of `mamtra web` in headless Chromium: how long it loads, when the first audio comes, and how fast it is.

    python benchmarks/web.py [--models mini-fast mini] [--packages FOLDER] [--runs 5] [--whisper DIR] [--out docs/results/web.json]
    python benchmarks/web.py --gpu=--use-angle=vulkan,... --sounds FOLDER --out docs/results/web_gpu.json
    python benchmarks/web.py --hear FOLDER --whisper DIR --out docs/results/web_gpu.json

With --whisper faster-whisper transcribes what the page has spoken; --hear adds that to a result, from the sounds that --sounds
kept. The page keeps its files, which the second visit takes. Processor time is that of all of Chromium's processes.

--gpu gives Chromium options with which it finds the GPU. Each model then speaks three times: as the page chooses, with the vocoder
on the GPU whether it is faster or not, and without a GPU.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import soundfile
from record import benchmark

from mamtra.checkpoints.find import FAST
from mamtra.runtime.results import footnote, markdown_table
from mamtra.web.packages import PACKAGES
from mamtra.web.site import write_site

sys.path.append(str(Path(__file__).resolve().parents[1]))
from tests.browser import browser, wait_for
from tests.web.test_page import served, show

SHORT = "The library opens at nine."
LONG = (
    "The night train left the station a little after ten. Most of the passengers were asleep before it reached the river. "
    "A woman by the window was reading a letter, and every few minutes she looked up and smiled. "
    "Outside, the lights of the villages grew fewer. Then the mountains began, and the train slowed down."
)
VOICE, SEED = "nora", 0
MOST_FACTOR, MOST_FIRST = 1.0, 500
"""Goals: real-time factor, and milliseconds to the first audio."""
WAYS = {"": "", "GPU": "second.spent < first.spent", "no GPU": '"gpu" in navigator'}
"""What the vocoder is computed with, and the condition of `faster.js` that is made true or false for it."""
ADAPTER = """(async () => {
  const adapter = await navigator.gpu?.requestAdapter();
  const { vendor, architecture, description } = adapter?.info ?? {};
  return adapter && { vendor, architecture, description };
})()"""
TICKS = 100
"""Of processor time in a second, as Linux counts them in /proc."""


def chromium_seconds() -> float:
    """Processor time so far of all processes that this one started and that are still alive."""
    spent, parents = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        number = int(path.parent.name)
        parents[number], spent[number] = int(fields[1]), (int(fields[11]) + int(fields[12])) / TICKS
    ours, found = {int(Path("/proc/self").resolve().name)}, 0.0
    while more := {number for number, parent in parents.items() if parent in ours and number not in ours}:
        ours |= more
        found += sum(spent[number] for number in more)
    return found


def speak(tab: Any, text: str) -> dict[str, float]:
    """One text: the milliseconds to its first audio, real-time factor by the clock and by processor time, and gaps."""
    before = chromium_seconds()
    tab[
        f"for (const [id, value] of Object.entries({{ text: {text!r}, voice: {VOICE!r}, seed: {SEED} }})) "
        "document.getElementById(id).value = value; document.getElementById('speak').requestSubmit(); 1"
    ]
    wait_for(lambda: tab["page.player.samples > 0 && !page.busy"], 300)
    spent, shown = chromium_seconds() - before, "document.getElementById('{}').textContent"
    seconds = tab["page.player.seconds"]
    return {
        "first": float(tab[shown.format("first")].split()[0]),
        "factor": float(tab[shown.format("factor")]),
        "cpu": spent / seconds,
        "gaps": float(tab[shown.format("gaps")]),
        "seconds": seconds,
    }


def force(site: Path, way: str) -> None:
    """Have the page compute the vocoder with what a way says."""
    choice = site / "faster.js"
    if (text := choice.read_text()).count(WAYS[way]) != 1:
        raise SystemExit(f"{choice} does not hold {WAYS[way]} once.")
    choice.write_text(text.replace(WAYS[way], str(way == "GPU").lower()))


def visit(site: Path, runs: int, gpu: list[str]) -> tuple[dict[str, Any], bytes]:
    """A first visit, a second one, then each text in turn after one for warming up; and the content of the last WAV file."""
    made: dict[str, Any] = {}
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile,
        browser(Path(profile), *gpu, gpu=bool(gpu)) as tab,
        served(site) as (address, _),
    ):
        for name in ("first visit", "second visit"):
            began = time.perf_counter()
            problem = show(tab, address, 300)
            if problem:
                raise SystemExit(problem)
            made[name] = time.perf_counter() - began
        threads, _, device = tab["document.getElementById('threads').textContent"].partition(", ")
        made |= {"threads": int(threads), "device": device or "WebAssembly", "adapter": tab[ADAPTER] if gpu else None}
        for name, text in (("short", SHORT), ("long", LONG)):
            found = [speak(tab, text) for _ in range(runs + 1)][1:]
            made[name] = {key: statistics.median(each[key] for each in found) for key in found[0]}
        sound = tab[
            "fetch(document.getElementById('save').href).then(each => each.arrayBuffer()).then(each => "
            "{ let text = ''; for (const byte of new Uint8Array(each)) text += String.fromCharCode(byte); return btoa(text); })"
        ]
    return made, base64.b64decode(sound)


def hear(whisper: Path, sound: bytes) -> tuple[str, str]:
    """What faster-whisper hears in the content of a WAV file, and which it is."""
    from mamtra.evaluate.judges.asr import FasterWhisper

    judge = FasterWhisper(whisper, precision="int8", beams=1)
    return judge(*soundfile.read(io.BytesIO(sound), dtype="float32")), judge.about["asr"]


def sizes(site: Path) -> dict[str, int]:
    """Bytes of the folder by what they are for."""
    files = [path for path in site.rglob("*") if path.is_file()]
    found = {
        name: sum(path.stat().st_size for path in files if path.is_relative_to(site / name))
        for name in ("model", *(package.name for package in PACKAGES))
    }
    return {**found, "page": sum(path.stat().st_size for path in files) - sum(found.values())}


def measure(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Model by model: the folder, the visits, what was heard."""
    if args.hear is not None:
        found = json.loads(args.out.read_text(encoding="utf-8"))
        for name, of in found["models"].items():
            of["heard"], found["judge"] = hear(args.whisper, (args.hear / f"{name}.wav").read_bytes())
        yield found
        return
    found = {"voice": VOICE, "seed": SEED, "runs": args.runs, "text": LONG, "gpu": args.gpu, "models": {}}
    found["packages"] = {package.name: package.version for package in PACKAGES}
    for model in args.models:
        for way in WAYS if args.gpu else [""]:
            name = f"{model}, {way}" if way else model
            with tempfile.TemporaryDirectory() as folder:
                site = write_site(Path(folder) / "page", model, args.packages)
                found["models"][name] = {"bytes": sizes(site)}
                if way:
                    force(site, way)
                made, sound = visit(site, args.runs, args.gpu)
            found["models"][name] |= made
            if args.sounds is not None:
                args.sounds.mkdir(parents=True, exist_ok=True)
                (args.sounds / f"{name}.wav").write_bytes(sound)
            yield found
            if args.whisper is not None:
                found["models"][name]["heard"], found["judge"] = hear(args.whisper, sound)
                yield found


def render(result: dict[str, Any]) -> str:
    """The page."""
    models = result["models"]
    rows = [
        [
            model,
            f"{of['first visit']:.1f}",
            f"{of['second visit']:.1f}",
            f"{of['short']['first']:.0f}",
            f"{of['long']['first']:.0f}",
            f"{of['long']['factor']:.2f}",
            f"{of['long']['cpu']:.2f}",
            f"{of['long']['gaps']:.0f}",
            of["threads"],
            of.get("device", "WebAssembly"),
        ]
        for model, of in models.items()
    ]
    head = [
        "",
        "first visit, s",
        "second, s",
        "first audio, short text, ms",
        "long text, ms",
        "real-time factor",
        "CPU s per s",
    ]
    table = markdown_table([*head, "gaps", "threads", "vocoder"], rows)
    parts = list(next(iter(models.values()))["bytes"])
    folder = [[model, *(f"{of['bytes'][part] / 1e6:.1f}" for part in parts)] for model, of in models.items()]
    goals = [
        [model, f"{of['long']['factor']:.2f}", f"{MOST_FACTOR:g}", f"{of['short']['first']:.0f}", MOST_FIRST]
        for model, of in models.items()
    ]
    reached = markdown_table(["", "real-time factor", "at most", "first audio, ms", "at most"], goals)
    packages = ", ".join(f"{name} {version}" for name, version in result["packages"].items())
    heard = [f"{model}:\n\n> {of['heard']}\n\n" for model, of in models.items() if "heard" in of]
    said = (
        f"## What a listener hears\n\n{result.get('judge')}. The text:\n\n> {result['text']}\n\n{''.join(heard)}"
        if heard
        else ""
    )
    graphics = "without a GPU"
    if result.get("gpu"):
        adapter = next(iter(models.values()))["adapter"] or {}
        graphics = f"with the GPU {' '.join(map(str, adapter.values()))} (`{' '.join(result['gpu'])}`)"
    return f"""# The page in the browser{" with a GPU" if result.get("gpu") else ""}

Headless Chromium {graphics}, {packages}, voice {result["voice"]}, seed {result["seed"]}; medians of {
        result["runs"]
    } runs
after one for warming up. A visit is timed from the address to a voice that is ready; the second one takes the files that the first
one kept. The first audio includes the wait that the page takes after gaps. CPU seconds are those of all of Chromium's processes per
second of sound; times by the clock are as good as the machine was idle.

{table}

Megabytes of the folder, of which a visit loads all but 17 for WebGPU and the voices that are not chosen:

{markdown_table(["", *parts], folder)}

## Goals

{reached}

{said}{footnote(result)}
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Those of this benchmark."""
    parser.add_argument("--models", nargs="+", default=[FAST, "mini"])
    parser.add_argument("--packages", type=Path, help="folder with the npm packages; npm fetches them without it")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument(
        "--gpu", type=lambda given: given.split(","), default=[], help="Chromium's options for one, by commas"
    )
    parser.add_argument("--sounds", type=Path, help="folder for what was spoken last")
    parser.add_argument("--hear", type=Path, help="add what --whisper hears in --sounds of an earlier run to --out")
    parser.add_argument("--whisper", type=Path, help="a folder of faster-whisper's")
    parser.set_defaults(threads=2)


def main(argv: list[str] | None = None) -> None:
    """Run from the command line."""
    benchmark("web", __doc__, measure, render, options, argv)


if __name__ == "__main__":
    main()
