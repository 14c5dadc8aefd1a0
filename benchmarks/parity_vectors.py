"""How far every test of the original's vectors found this package from the original: the tests note it, this collects it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]


def collect(tests: list[str], vectors: Path | None) -> dict[str, list[dict[str, Any]]]:
    """Run tests and return what each noted, by its name without parameters.

    Args:
        tests: as pytest takes them.
        vectors: folder of the original's vectors; `MAMTRA_GOLDEN` where None.
    """
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    environment = dict(os.environ, PYTHONPATH=paths, **({"MAMTRA_GOLDEN": str(vectors)} if vectors else {}))
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *tests]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        if done.returncode or not report.is_file():
            raise SystemExit(f"{done.stdout[-4000:]}\nThe tests of the vectors did not pass.")
        return noted(ElementTree.parse(report).getroot())


def noted(report: ElementTree.Element) -> dict[str, list[dict[str, Any]]]:
    """Of pytest's report the greatest distance of each thing that a test compared."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for case in report.iter("testcase"):
        test = f"{case.attrib['classname'].replace('.', '/')}.py::{case.attrib['name'].partition('[')[0]}"
        for entry in case.iter("property"):
            if entry.attrib["name"] != "parity":
                continue
            one = json.loads(entry.attrib["value"])
            things = found.setdefault(test, {})
            things[one["what"]] = together(things[one["what"]], one) if one["what"] in things else one
    return {test: list(things.values()) for test, things in found.items()}


def together(first: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Two comparisons as one: the greater distance; of things that have to be equal all that differ."""
    if first["below"]:
        return max(first, other, key=lambda one: one["difference"])
    return {**first, "difference": first["difference"] + other["difference"], "of": first["of"] + other["of"]}
