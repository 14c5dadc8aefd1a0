"""Two checkouts of this package compared: size, structure, copies of a mechanism, wheel, cold start, tests.

    python benchmarks/layout.py --before DIR [--moved DIR] [--after DIR] [--parts counts wheel say tests] [--runs 5]
        [--out docs/results/layout.json]

``counts`` reads the source files alone, also of `--moved`: the commit in which files had been moved to their rooms.
``say`` speaks a sentence in fresh processes, the checkouts in turn, each once before that. ``tests`` runs the whole test suite of
each, two processes side by side, and wants an idle machine. Parts that are not measured are kept from `--out` where that is of the
same two commits.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from record import benchmark, environment, show_spread, spread

from mamtra.runtime.results import markdown_table, page

TEXT = "Hello! This voice runs on your own machine."
SAY = (
    "import resource, runpy, sys\nsys.argv = ['mamtra', *sys.argv[1:]]\n"
    "try:\n    runpy.run_module('mamtra', run_name='__main__')\nexcept SystemExit as end:\n    assert not end.code\n"
    "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == 'darwin' else 1024))"
)
MECHANISMS = {
    "files that make a CUDA graph": r"cuda\.CUDAGraph\(",
    "files that write a partial file and rename it": r"\.partial[\"'}]|os\.replace\(",
    "files that write Markdown tables by hand": r"\"---\"",
    "files that ask for the commit or the CPU": r"rev-parse|/proc/cpuinfo",
}
"""What a file of src, benchmarks or recipes holds that has a mechanism of its own, as a pattern."""
ROWS = (
    ("source files", "files"), ("lines of source", "lines"), ("lines of benchmarks and recipes", "script_lines"),
    ("lines of tests", "test_lines"), ("modules beside the rooms", "loose"), ("rooms in circles of imports", "circles_of_rooms"),
    ("modules in circles of imports", "circles_of_modules"), ("longest source file, lines", "longest"),
)  # fmt: skip

MOVED = " `moved` is the commit in which files had been moved to their rooms; mechanisms were joined and features added after it."


def count(checkout: Path) -> dict[str, Any]:
    """Figures from the source files."""
    package = checkout / "src" / "mamtra"
    source = {path: path.read_text(encoding="utf-8") for path in sorted(package.rglob("*.py"))}
    scripts = [
        path.read_text(encoding="utf-8")
        for name in ("benchmarks", "recipes")
        for path in (checkout / name).rglob("*.py")
    ]
    modules = {_module(path, package): text for path, text in source.items()}
    imports = {name: _imports(text, modules) - {name} for name, text in modules.items()}
    rooms: dict[str, set[str]] = {}
    for name, targets in imports.items():
        rooms.setdefault(_room(name), set()).update({_room(target) for target in targets} - {_room(name)})
    lines = {path: len(text.splitlines()) for path, text in source.items()}
    by_room = Counter[str]()
    for path, number in lines.items():
        by_room[path.relative_to(package).parts[0]] += number
    return {
        "files": len(source),
        "lines": sum(lines.values()),
        "script_lines": sum(len(text.splitlines()) for text in scripts),
        "test_lines": sum(len(path.read_text(encoding="utf-8").splitlines()) for path in (checkout / "tests").rglob("*.py")),
        "loose": len(list(package.glob("*.py"))),
        "circles_of_rooms": len(_in_circles(rooms)),
        "circles_of_modules": len(_in_circles(imports)),
        "longest": max(lines.values()),
        "rooms": {room: number for room, number in by_room.items() if not room.endswith(".py")},
        **{title: sum(bool(re.search(shape, text)) for text in (*source.values(), *scripts) if "MECHANISMS" not in text)
           for title, shape in MECHANISMS.items()},
    }  # fmt: skip


def _module(path: Path, package: Path) -> str:
    parts = ("mamtra", *path.relative_to(package).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _room(module: str) -> str:
    return ".".join(module.split(".")[:2])


def _imports(text: str, modules: dict[str, str]) -> set[str]:
    """Modules of the package that one imports; those for type checkers alone are left out."""
    tree = ast.parse(text)
    found: set[str] = set()
    hidden = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    deeper = {name for name in found if name in modules}
    return {name for name in deeper if not any(other.startswith(f"{name}.") for other in deeper)}


def _in_circles(graph: dict[str, set[str]]) -> set[str]:
    """Nodes that lead back to themselves."""

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = list(graph[start])
        while waiting:
            node = waiting.pop()
            if node not in seen:
                seen.add(node)
                waiting += graph.get(node, ())
        return seen

    return {node for node in graph if node in reached(node)}


def wheel_bytes(checkout: Path) -> int:
    """Size of the wheel."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, str(checkout)]
        subprocess.run(command, check=True, capture_output=True)
        return next(Path(folder).glob("*.whl")).stat().st_size


def say(checkout: Path, threads: int) -> tuple[float, int]:
    """Seconds and peak resident bytes of a fresh process that speaks a sentence."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", SAY, "say", TEXT, "-o", f"{folder}/x.wav", "--device", "cpu", "-q"]
        began = time.perf_counter()
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=_paths(checkout, threads))
        return time.perf_counter() - began, int(done.stdout.split()[-1])


def run_tests(checkout: Path, threads: int) -> dict[str, Any]:
    """Seconds of the whole suite, and what it says at the end."""
    command = [sys.executable, "-m", "pytest", "-n", "2", "-p", "no:cacheprovider"]
    began = time.perf_counter()
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, env=_paths(checkout, threads))
    seconds = time.perf_counter() - began
    said = re.findall(r"\d+ (?:passed|failed|skipped|errors?)", done.stdout.strip().splitlines()[-1])
    return {"test_seconds": seconds, "tests": ", ".join(said)}


def _paths(checkout: Path, threads: int) -> dict[str, str]:
    paths = os.pathsep.join([str(checkout / "src"), str(checkout)])
    return environment(threads) | {"PYTHONPATH": paths, "OMP_WAIT_POLICY": "PASSIVE"}


def _commit(checkout: Path) -> str:
    command = ["git", "-C", str(checkout), "rev-parse", "HEAD"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def measure(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Both checkouts, written after each part."""
    places = {"before": args.before.resolve(), "after": args.after.resolve()}
    known = json.loads(args.out.read_text(encoding="utf-8")) if args.out.is_file() else {}
    found: dict[str, Any] = {}
    for name, place in places.items():
        earlier, commit = known.get(name, {}), _commit(place)
        found[name] = {**(earlier if earlier.get("commit") == commit else {}), "commit": commit}
    if any(len(one) == 1 for one in found.values()):  # figures of one side alone say nothing
        found = {name: {"commit": one["commit"]} for name, one in found.items()}
    if "counts" in args.parts:
        for name, place in places.items():
            found[name] |= count(place)
        if args.moved:
            found["moved"] = {"commit": _commit(args.moved), **count(args.moved.resolve())}
        yield found
    if "wheel" in args.parts:
        for name, place in places.items():
            found[name]["wheel_bytes"] = wheel_bytes(place)
        yield found
    if "say" in args.parts:
        times: dict[str, list[tuple[float, int]]] = {name: [] for name in places}
        for _ in range(args.runs + 1):
            for name, place in places.items():
                times[name].append(say(place, args.threads))
        for name, runs in times.items():
            seconds, peaks = zip(*runs[1:], strict=True)
            found[name] |= {"say_seconds": spread(seconds), "say_peak_bytes": spread(peaks)}
        yield found
    if "tests" in args.parts:
        for name, place in places.items():
            found[name] |= run_tests(place, args.threads)
        yield found


def render(result: dict[str, Any]) -> str:
    """The page, from the record alone."""
    names = [name for name in ("before", "moved", "after") if name in result]
    sides = [result[name] for name in names]
    shown = {
        key: lambda side, key=key: f"{side[key]:,}" for _, key in (*ROWS, *zip(MECHANISMS, MECHANISMS, strict=True))
    }
    shown["wheel_bytes"] = lambda side: f"{side['wheel_bytes'] / 2**20:.1f}"
    shown["say_seconds"] = lambda side: show_spread(side["say_seconds"], 2)
    shown["say_peak_bytes"] = lambda side: show_spread(side["say_peak_bytes"], 0, 2**-20)
    shown["test_seconds"] = lambda side: f"{side['test_seconds'] / 60:.1f}"
    shown["tests"] = lambda side: side["tests"]
    titles = {
        **{key: title for title, key in ROWS}, **{title: title for title in MECHANISMS}, "wheel_bytes": "wheel, MiB",
        "say_seconds": "cold `mamtra say` of a sentence, s", "say_peak_bytes": "its peak memory, MiB",
        "tests": "tests", "test_seconds": "time of the tests with two processes, minutes",
    }  # fmt: skip
    commits = [f"{side['commit'][:7]} ({name})" for name, side in zip(names, sides, strict=True)]
    rows = [
        (title, *(shown[key](side) if key in side else "" for side in sides))
        for key, title in titles.items()
        if key in sides[-1]
    ]
    return page(
        result,
        "# Layout before and after",
        f"Commits {', '.join(commits)}. A room is a "
        "folder of the package. Imports for type checkers do not count. Timings are medians (least to greatest), in turn."
        + (MOVED if "moved" in names else ""),
        markdown_table(("", *names), rows),
        *_rooms(names, sides),
    )  # fmt: skip


def _rooms(names: list[str], sides: list[dict[str, Any]]) -> list[str]:
    """Where the lines are; nothing where they were not counted."""
    if not all("rooms" in side for side in sides):
        return []
    last = sides[-1]["rooms"]
    rows = [
        (f"`{room}`", *(f"{side['rooms'][room]:,}" if room in side["rooms"] else "" for side in sides))
        for room in sorted(last, key=last.__getitem__, reverse=True)
    ]
    return ["## Lines of each room", markdown_table(("", *names), rows)]


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--before", type=Path, help="checkout to compare with")
    parser.add_argument("--moved", type=Path, help="checkout to count beside the two")
    parser.add_argument("--after", type=Path, default=Path(), help="this one by default")
    parser.add_argument("--parts", nargs="+", choices=("counts", "wheel", "say", "tests"), default=["counts", "wheel"])
    parser.add_argument("--runs", type=int, default=5, help="counted runs of `say`")
    parser.add_argument("--threads", type=int, default=2)


def main(argv: list[str] | None = None) -> None:
    benchmark("layout", __doc__, measure, render, options, argv)


if __name__ == "__main__":
    main()
