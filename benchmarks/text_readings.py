"""How many texts of tests/text/readings*.tsv are read right, kind by kind, here and by other normalisers.

    python benchmarks/text_readings.py [--before DIRECTORY] [--others PYTHON] [--out docs/results/text.json]

`--before` is the source tree of an older version. `--others` is a Python interpreter of an environment with
`pip install wetext nemo_text_processing`; those that it lacks are left out. `--render` only writes the page again.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).resolve().parents[1] / "tests" / "text"
READINGS = _FOLDER / "readings.tsv"
UNSEEN = _FOLDER / "readings_unseen.tsv"
OTHERS = {"wetext": "wetext", "nemo": "nemo_text_processing"}
OURS = ("mamtra", "before")
TITLES = {"mamtra": "MamTra", "before": "MamTra before", "wetext": "wetext", "nemo": "NeMo text processing"}
KINDS = {
    "roman": "Roman numerals, initials and the pronoun I", "title_street": "titles, streets, abbreviations",
    "angle": "angle brackets and HTML", "signs": "signs, powers, units, mathematics", "capitals": "words in capitals",
    "markdown": "Markdown and LaTeX", "entity": "HTML entities", "lines": "line breaks",
    "money_noun": "amounts before nouns", "date": "dates", "currency": "currencies", "range": "ranges and scores",
    "time": "times and durations", "file": "addresses and files", "digits": "digits that name",
    "chemistry": "letters with digits", "heteronym": "heteronyms", "vowel": "utterances of one vowel",
    "name": "names and interjections", "quote": "single quotes", "long": "very long numbers", "plain": "plain sentences",
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A text and how it is read.

    Attributes:
        kind: one of `KINDS`.
        written: the text.
        readings: right ones; words, with "/" where a pause is due, or phonemes of one word.
        phonemes: whether the readings are phonemes.
    """

    kind: str
    written: str
    readings: list[str]
    phonemes: bool


def read_rows(path: Path = READINGS) -> list[Row]:
    """The rows of a readings file."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            continue
        kind, written, readings = line.split("\t")
        phonemes = re.fullmatch(r"/[^/]+/", readings) is not None
        alternatives = [readings.strip("/")] if phonemes else readings.split(" | ")
        written = re.sub(r"\\(\\|n)", lambda match: "\n" if match[1] == "n" else "\\", written)
        rows.append(Row(kind, written, alternatives, phonemes))
    return rows


def _words(text: str) -> tuple[list[str], set[int]]:
    """The words of a text, and after how many letters a pause is marked."""
    words: list[str] = []
    pauses: set[int] = set()
    letters = 0
    for word, _mark in re.findall(r"([a-z']+)|([.,;:!?/\n—|])", text.lower().replace("’", "'")):
        if word := word.strip("'"):
            words.append(word)
            letters += len(word)
        else:
            pauses.add(letters)
    return words, pauses


def matches(row: Row, text: str, phonemes: str | None = None, spelt: bool = True) -> bool:
    """Whether a text as normalised (or its phonemes) is one of the right readings of a row.

    Args:
        row: what is due.
        text: normalised text.
        phonemes: of the text; None where the normaliser makes none, and then rows of phonemes are wrong.
        spelt: whether words are compared one by one; else letters only, because what is to be spelt is left to later steps.
    """
    if row.phonemes:
        return phonemes is not None and row.readings[0] in re.split(r"[^\wˈˌᵊᵻɐ]+", phonemes)
    said, pauses = _words(text)
    for reading in row.readings:
        due, breaks = _words(reading)
        same = said == due if spelt else "".join(said) == "".join(due)
        if same and breaks <= pauses:
            return True
    return False


def _mamtra() -> Callable[[str], dict[str, str]]:
    import mamtra
    from mamtra.text.frontend import TextFrontend

    front = TextFrontend.load(Path(mamtra.__path__[0]) / "assets" / "mini")

    def read(written: str) -> dict[str, str]:
        texts = [segment.text for segment in front.segments(written)]
        return {"text": "\n".join(texts), "phonemes": " ".join(map(front._g2p, texts))}

    return read


def _wetext() -> Callable[[str], dict[str, str]]:
    from wetext import Normalizer

    normalizer = Normalizer(lang="en", operator="tn")
    return lambda written: {"text": normalizer.normalize(written)}


def _nemo() -> Callable[[str], dict[str, str]]:
    from nemo_text_processing.text_normalization.normalize import Normalizer

    normalizer = Normalizer(input_case="cased", lang="en")
    return lambda written: {"text": normalizer.normalize(written, punct_post_process=True)}


READERS = {"mamtra": _mamtra, "wetext": _wetext, "nemo": _nemo}


def read_all(reader: str, texts: Iterable[str]) -> list[dict[str, str]]:
    """What a reader makes of each text; nothing where it refuses one."""
    read, said = READERS[reader](), []
    for written in texts:
        try:
            said.append(read(written))
        except Exception as error:
            said.append({"text": "", "error": f"{type(error).__name__}: {error}"[:200]})
    return said


def _elsewhere(python: str, reader: str, texts: list[str], source: Path | None = None) -> list[dict[str, str]] | None:
    """`read_all` in another interpreter, or with another source tree; None where it cannot be run or reads nothing."""
    environment = dict(os.environ) | ({"PYTHONPATH": str(source / "src")} if source else {})
    done = subprocess.run(
        [python, str(Path(__file__).resolve()), "--read-with", reader],
        input=json.dumps(texts), capture_output=True, text=True, env=environment, check=False,
    )  # fmt: skip
    if done.returncode:
        print(f"{reader} is left out: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return None
    said = json.loads(done.stdout.splitlines()[-1])
    if all("error" in each for each in said):
        print(f"{reader} is left out, since it reads nothing: {said[0]['error']}", file=sys.stderr)
        return None
    return said


def _version(python: str, package: str) -> str:
    code = f"from importlib.metadata import version; print(version({package!r}))"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=False).stdout.strip()


def _score(rows: list[Row], found: list[dict[str, str]], *, ours: bool, listed: bool) -> dict[str, Any]:
    """Right readings by kind, and the wrong ones where they are to be listed."""
    pairs = list(zip(rows, found, strict=True))
    right = [matches(row, one["text"], one.get("phonemes"), spelt=ours) for row, one in pairs]
    missed = [
        {"written": row.written, "said": one["text"] + (f" /{one['phonemes']}/" if row.phonemes else "")}
        for (row, one), good in zip(pairs, right, strict=True)
        if listed and not good
    ]
    return {"right": dict(Counter(row.kind for row, good in zip(rows, right, strict=True) if good)), "missed": missed}


def measure(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The whole benchmark."""
    from record import made_with

    versions = made_with()["versions"]
    sets = {"mended": read_rows(args.readings), "unseen": read_rows(args.unseen)}
    texts = [row.written for rows in sets.values() for row in rows]
    said: dict[str, list[dict[str, str]] | None] = {"mamtra": read_all("mamtra", texts)}
    if args.before:
        said["before"] = _elsewhere(sys.executable, "mamtra", texts, args.before)
        commit = ["git", "-C", str(args.before), "rev-parse", "HEAD"]
        done = subprocess.run(commit, capture_output=True, text=True, check=False)
        versions["mamtra before"] = done.stdout.strip()
    for reader, package in OTHERS.items() if args.others else ():
        said[reader] = _elsewhere(args.others, reader, texts)
        versions[package] = _version(args.others, package)
    scored: dict[str, Any] = {}
    start = 0
    for name, rows in sets.items():
        scored[name] = {
            "rows": dict(Counter(row.kind for row in rows)),
            "spoken_rows": dict(Counter(row.kind for row in rows if not row.phonemes)),
            "systems": {
                system: _score(rows, found[start : start + len(rows)], ours=system in OURS, listed=system == "mamtra")
                for system, found in said.items()
                if found is not None
            },
        }
        start += len(rows)
    yield {"versions": versions, "sets": scored}


def _cell(scored: dict[str, Any], system: str, kinds: Iterable[str]) -> str:
    kinds = list(kinds)
    counted = scored["rows" if system in OURS else "spoken_rows"]
    due = sum(counted.get(kind, 0) for kind in kinds)
    right = sum(scored["systems"][system]["right"].get(kind, 0) for kind in kinds)
    return f"{100 * right / due:.0f} % ({right} of {due})" if due else "-"


def render(results: dict[str, Any]) -> str:
    """The page, from the record alone."""
    from mamtra.runtime.results import footnote, markdown_table

    mended, unseen = results["sets"]["mended"], results["sets"]["unseen"]
    systems = [name for name in TITLES if name in mended["systems"]]
    header = ("kind", *(TITLES[name] for name in systems))
    lines = [(KINDS.get(kind, kind), *(_cell(mended, name, [kind]) for name in systems)) for kind in mended["rows"]]
    lines.append(("all of these", *(_cell(mended, name, mended["rows"]) for name in systems)))
    lines.append(("unseen texts of all kinds", *(_cell(unseen, name, unseen["rows"]) for name in systems)))
    parts = [
        "# Readings of written text\n",
        f"Texts read right, by kind, of the {sum(mended['rows'].values())} in tests/text/readings.tsv: small inputs that people",
        "type or paste, with the readings that a careful American reader gives them. They were chosen to be hard, and the rules of",
        "MamTra were mended on them, so its figure tells that these are solved, not more; some were exchanged for others later.",
        f"The {sum(unseen['rows'].values())} texts of readings_unseen.tsv, of the same kinds and by the same hand, were written",
        "after the rules, and no rule was mended on them.\n",
        markdown_table(header, lines),
        "\nA text counts when all of its words are those of an accepted reading, in order, and a pause is marked where one is",
        "due. For MamTra words are compared one by one. The other normalisers leave spelling (FBI, U-S-A) to later steps, so",
        "for them only the letters are compared, and texts whose reading is phonemes (heteronyms, names) are not counted. They",
        "are made for sentences without markup.\n",
    ]
    missed = [(one["written"], one["said"]) for part in (mended, unseen) for one in part["systems"]["mamtra"]["missed"]]
    if missed:
        shown = ((json.dumps(written, ensure_ascii=False), said.replace("\n", " ")) for written, said in missed)
        parts += ["## Read wrongly by MamTra\n", markdown_table(("written", "said"), shown) + "\n"]
    return "\n".join([*parts, "## How it was measured\n", footnote(results), ""])


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--readings", type=Path, default=READINGS)
    parser.add_argument("--unseen", type=Path, default=UNSEEN, help="readings that no rule was mended on")
    parser.add_argument("--before", type=Path, help="source tree of an older version")
    parser.add_argument("--others", help="Python interpreter of an environment with the other normalisers")


def main(argv: list[str] | None = None) -> None:
    if sys.argv[1:2] == ["--read-with"]:  # in the interpreter of another normaliser, which has nothing of this package
        print(json.dumps(read_all(sys.argv[2], json.load(sys.stdin))))
        return
    from record import benchmark

    benchmark("text", __doc__, measure, render, options, argv)


if __name__ == "__main__":
    main()
