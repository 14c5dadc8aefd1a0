"""How far this package is from the published CosyVoice 2 code, behaviour by behaviour.

    python benchmarks/parity.py [--parts vectors fixtures speeds] [--vectors DIR] [--recordings FILE ...]
        [--original DIR [DIR]] [--python PYTHON] [--out docs/parity.json]

``vectors`` runs the tests that compare with vectors of the original (`MAMTRA_GOLDEN`, or `--vectors`) and takes the distances that
they found; ``fixtures`` does the same with the compact fixtures of the repository. ``prompts`` takes `--recordings` at six sample
rates through both prompt paths and compares with the definitions computed in float64, ``speeds`` does the same with mel frames.
``original`` gives texts and recordings to the published code's front end and to ours; it is run by `--python`, which has the code's
requirements, with the code and Matcha-TTS in the folders of `--original`. ``third`` takes over what `cosyvoice3_parity.py` has
measured at full size. ``full`` converts a directory of the published sizes with
random weights and speaks with both (5 GB of temporary files). Parts that are not measured are kept from `--out`.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from parity_page import render
from parity_vectors import ROOT, collect
from record import apart, benchmark, environment, made_with

from mamtra.acoustic.flow import FlowConfig
from mamtra.acoustic.hift import HiFTConfig
from mamtra.cost.presets import cosyvoice2_config

BEHAVIOURS = Path(__file__).with_suffix(".tsv")
PARTS = ("vectors", "fixtures", "speeds", "prompts", "original", "third", "full")
THIRD = ROOT / "docs" / "results" / "cosyvoice3_parity.json"
RUN = (
    "import resource, sys\nimport torch\nscale = 1 if sys.platform == 'darwin' else 1024\n"
    "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale\nidle = peak()\n"
    "import runpy\nsys.argv = ['mamtra', *sys.argv[1:]]\n"
    "try:\n    runpy.run_module('mamtra', run_name='__main__')\nexcept SystemExit as end:\n    assert not end.code\n"
    "print(peak() - idle)"
)
TEXT = "it is."


def behaviours() -> list[dict[str, Any]]:
    """The rows of parity.tsv; `tests` is a list."""
    with BEHAVIOURS.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return [{**row, "tests": row["tests"].split()} for row in rows]


def write_directory(directory: Path) -> None:
    """CosyVoice 2 as it is published, with random weights."""
    sys.path.append(str(ROOT))
    from tests.foreign import cosyvoice_directory
    from tests.tiny_onnx import write_onnx_files

    cosyvoice_directory(directory, lm=cosyvoice2_config(), flow=FlowConfig(), vocoder=HiFTConfig(), prompt=50)
    write_onnx_files(directory, 192)


def vectors(args: argparse.Namespace) -> dict[str, Any]:
    """Distances by test."""
    tests = sorted({test for row in behaviours() for test in row["tests"]})
    return {"tests": collect(["-m", "golden", *tests], args.vectors)}


def fixtures(args: argparse.Namespace) -> dict[str, Any]:
    """Distances of the compact fixtures by their file."""
    return {"cases": collect(["tests/parity/test_parity.py"], args.vectors)}


def speeds(args: argparse.Namespace) -> dict[str, Any]:
    """See `parity_prompts.speeds`."""
    from parity_prompts import speeds as measure

    return {"rows": measure()}


def prompts(args: argparse.Namespace) -> dict[str, Any]:
    """See `parity_prompts.prompts`."""
    from parity_prompts import prompts as measure

    with tempfile.TemporaryDirectory() as folder:
        return {"rows": list(measure(args.recordings, Path(folder)))}


def original(args: argparse.Namespace) -> dict[str, Any]:
    """See `parity_original`."""
    from parity_prompts import at_rates

    git = ["git", "-C", str(args.original[0]), "rev-parse", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True).stdout.strip()
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    with tempfile.TemporaryDirectory() as folder:
        recordings = [str(path) for path in at_rates(args.recordings, Path(folder)) if not path.stem.endswith(".8000")]
        words = [str(args.python), str(Path(__file__).with_name("parity_original.py"))]
        folders = json.dumps([str(path.resolve()) for path in args.original])
        done = subprocess.run(
            [*words, folders, folder, *recordings], env=environment(args.threads) | {"PYTHONPATH": paths},
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
    if done.returncode:
        raise SystemExit("The original's front end could not be run; see above.")
    return {"original_commit": commit, "recordings": len(recordings), **json.loads(done.stdout.splitlines()[-1])}


def processor_seconds() -> float:
    """Of all finished child processes, on all cores."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def third(args: argparse.Namespace) -> dict[str, Any]:
    """Flow and vocoder of CosyVoice 3 beside the original; the circumstances are those of that measurement."""
    known = json.loads(THIRD.read_text(encoding="utf-8"))
    made = {name: known[name] for name in ("command", "commit", "hardware", "versions")}
    return {"made": made, "stages": known["stages"]}


def full(args: argparse.Namespace) -> dict[str, Any]:
    """Seconds and memory of converting, and of speaking before and after, as a user calls them."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        apart(write_directory, place / "published")
        calls = {
            "convert 1:1": ["convert", f"{place}/published", f"{place}/hybrid", "--ratio", "1:1"],
            "convert 1:0": ["convert", f"{place}/published", f"{place}/same", "--ratio", "1:0"],
            **{f"say, {title}": ["say", TEXT, "--model", f"{place}/{name}", "--voice", "ann", "--device", "cpu", "-q",
                                 "-o", f"{place}/{name}.wav"]
               for title, name in (("as published", "published"), ("converted 1:0", "same"), ("converted 1:1", "hybrid"))},
        }  # fmt: skip
        for name, words in calls.items():
            began, used = time.perf_counter(), processor_seconds()
            done = subprocess.run(
                [sys.executable, "-W", "ignore", "-c", RUN, *words],
                env=environment(args.threads), capture_output=True, text=True,
            )  # fmt: skip
            if done.returncode:
                raise SystemExit(done.stderr)
            row = {
                "call": name, "seconds": time.perf_counter() - began, "processor_seconds": processor_seconds() - used,
                "peak_bytes": int(done.stdout.split()[-1]),
            }  # fmt: skip
            sound = Path(words[-1])
            if sound.suffix == ".wav":
                from mamtra.audio.io import read_audio

                wave, rate = read_audio(sound)
                row["audio_seconds"] = len(wave) / rate
            rows.append(row)
            print(row, file=sys.stderr, flush=True)
    return {"rows": rows}


def measure(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The parts asked for, and those that were measured before."""
    wanting = {"prompts": args.recordings, "original": args.original and args.recordings}
    for part in args.parts:
        if not wanting.get(part, True):
            raise SystemExit(f"The part {part} needs --recordings{' and --original' * (part == 'original')}.")
    known = json.loads(args.out.read_text(encoding="utf-8")) if args.out.is_file() else {}
    parts = {name: known["parts"][name] for name in PARTS if name in known.get("parts", {})}
    for name in args.parts:
        parts[name] = {"made": made_with(args.threads), **globals()[name](args)}
        yield {"behaviours": behaviours(), "parts": {part: parts[part] for part in PARTS if part in parts}}


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=["vectors", "fixtures", "speeds"])
    parser.add_argument("--vectors", type=Path, help="folder of the original's vectors")
    parser.add_argument("--recordings", type=Path, nargs="+", default=[], metavar="FILE")
    parser.add_argument(
        "--original", type=Path, nargs="+", default=[], metavar="DIR", help="the published code, Matcha-TTS"
    )
    parser.add_argument(
        "--python", type=Path, default=Path(sys.executable), help="that has the published code's requirements"
    )
    parser.add_argument("--threads", type=int, default=2)


def main(argv: list[str] | None = None) -> None:
    sys.path.append(str(ROOT))
    benchmark("parity", __doc__, measure, render, options, argv, folder="docs")


if __name__ == "__main__":
    main()
