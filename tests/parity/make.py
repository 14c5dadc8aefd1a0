"""Write the parity fixtures: `MAMTRA_GOLDEN=DIR python -m tests.parity.make [NAME ...]`.

A fixture is only written when every test that compares the same code with vectors of the original has passed in this run.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import torch
from safetensors.numpy import save_file

from tests.parity.cases import CASES
from tests.parity.fixture import FOLDER, Case, difference, packed

MOST_BYTES = 300_000


def vector_tests(case: Case) -> int:
    """Run the tests of the original's vectors that cover a case; how many passed. Leaves the program where one did not."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        words = [sys.executable, "-m", "pytest", "-m", "golden", f"--junitxml={report}", *case.vectors]
        done = subprocess.run(words, capture_output=True, text=True)
        counts = ElementTree.parse(report).getroot().find("testsuite").attrib if report.is_file() else {}
    total, skipped = int(counts.get("tests", 0)), int(counts.get("skipped", 0))
    if done.returncode or not total or skipped:
        sys.exit(f"{done.stdout}\nNot written: {total} tests of the vectors ran, {skipped} skipped, not all passed.")
    return total


def write(name: str) -> None:
    case = CASES[name]
    passed = vector_tests(case)
    arrays: dict[str, np.ndarray] = {}
    with tempfile.TemporaryDirectory() as folder:
        for output in case.outputs(Path(folder)):
            if output.name in arrays and (problem := difference(output, arrays)):
                sys.exit(f"Not written: two ways to compute {name} differ, {problem}.")
            arrays = packed(output) | arrays
    about = {
        "written_by": "python -m tests.parity.make",
        "vector_tests_passed": str(passed),
        "vector_tests": " ".join(case.vectors),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }
    FOLDER.mkdir(parents=True, exist_ok=True)
    save_file(arrays, FOLDER / f"{name}.safetensors", metadata=about)
    print(f"{name}: {len(arrays)} arrays after {passed} tests of the vectors")


def main() -> None:
    for name in sys.argv[1:] or CASES:
        write(name)
    size = sum(path.stat().st_size for path in FOLDER.iterdir())
    print(f"{size} bytes in all")
    if size > MOST_BYTES:
        sys.exit(f"The fixtures take more than {MOST_BYTES} bytes; keep fewer elements.")


if __name__ == "__main__":
    main()
