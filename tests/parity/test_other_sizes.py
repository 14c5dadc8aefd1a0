"""The tests of the original's vectors take all sizes from the vectors."""

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

from tests.parity.cases import CASES
from tests.parity.other_sizes import write

ROOT = Path(__file__).parents[2]


def test_vectors_of_other_sizes_pass(tmp_path):
    folder, report = tmp_path / "vectors", tmp_path / "report.xml"
    write(folder)
    files = sorted({file for case in CASES.values() for file in case.vectors} | {"tests/audio/test_sinc_resample.py"})
    words = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-m",
        "golden",
        "-p",
        "no:cacheprovider",
        f"--junitxml={report}",
        *files,
    ]
    done = subprocess.run(
        words, cwd=ROOT, env=os.environ | {"MAMTRA_GOLDEN": str(folder)}, capture_output=True, text=True
    )
    counts = ElementTree.parse(report).getroot().find("testsuite").attrib
    assert done.returncode == 0, done.stdout[-3000:]
    assert int(counts["tests"]) > 40 and counts["skipped"] == "0"
