"""The walks of docs/architecture.md lead through files and names that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLACE = re.compile(r"`([\w/]+\.py)(?:: ([\w.]+))?`((?:, `\w+`)*)")


def test_every_place_exists():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    places = [place for place in PLACE.findall(page) if "NAME" not in place[0]]
    assert len(places) > 40
    for file, name, more in places:
        path = ROOT / "src" / "mamtra" / file
        path = path if path.is_file() else ROOT / file
        assert path.is_file(), file
        source = path.read_text(encoding="utf-8")
        for wanted in filter(None, [name.rpartition(".")[2], *re.findall(r"\w+", more)]):
            assert re.search(rf"(def|class) {wanted}\b|^{wanted}\b", source, re.M), f"{file}: {wanted}"


def test_no_file_has_more_than_400_lines():
    files = [path for folder in ("src", "recipes", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    assert len(files) > 200
    long = {path.name: lines for path in files if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 400}
    assert not long
