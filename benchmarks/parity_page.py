"""The page of `parity.py`, from its record alone."""

from __future__ import annotations

from typing import Any

from cosyvoice3_parity import STAGES
from parity_vectors import together

from mamtra.runtime.results import footnote, markdown_table

INTRODUCTION = """\
Every behaviour of the published code of CosyVoice 2, and what CosyVoice 3 does differently; what a directory of theirs does with
this package by default, and how far the two were found apart. [cosyvoice.md](cosyvoice.md#like-the-original-or-not) says which of
it `--not-like-original` changes. All weights are random: the published weights have not been tested. CosyVoice 3's figures are
those [at full size](results/cosyvoice3_parity.md)."""

HOW = """\
Vectors are inputs, weights and outputs of the original at tiny sizes in float32, in the folder that `MAMTRA_GOLDEN` names. It says
its sizes itself, so another folder may hold others; tests that need one are skipped without it. The compact fixtures of the
repository (`tests/fixtures/parity`) stand in for them everywhere else: outputs of this package that were only written by a run in
which all tests of the vectors passed (`python -m tests.parity.make`)."""


def render(result: dict[str, Any]) -> str:
    """The page."""
    parts = result["parts"]
    shown = {"original": _original, "prompts": _prompts, "speeds": _speeds, "full": _full, "fixtures": _fixtures}
    return "\n\n".join([
        "# Parity with CosyVoice 2 and 3",
        INTRODUCTION,
        _behaviours(result["behaviours"], parts),
        *(show(parts[name]) for name, show in shown.items() if name in parts),
        "## How it was measured",
        HOW,
        *_footnotes(parts),
    ]) + "\n"  # fmt: skip


def _footnotes(parts: dict[str, Any]) -> list[str]:
    """Circumstances, each once: several parts are often measured in one run."""
    found: dict[str, list[str]] = {}
    for name, part in parts.items():
        found.setdefault(footnote(part["made"]), []).append(f"`{name}`")
    return [f"{', '.join(names)}: {note[0].lower()}{note[1:]}" for note, names in found.items()]


def _number(value: float) -> str:
    if not value:
        return "0"
    return f"{value:.1e}".replace("e-0", "e-") if value < 0.01 else f"{value:.2g}"


def _distance(one: dict[str, Any]) -> str:
    if not one["below"]:
        return f"{one['what']}: {one['difference']:.0f} of {one['of']:,.0f}"
    return f"{one['what']}: {_number(one['difference'])} of {one['of']:.2g} (bound {_number(one['below'])})"


def _behaviours(rows: list[dict[str, Any]], parts: dict[str, Any]) -> str:
    found = parts.get("vectors", {}).get("tests", {})
    lines = []
    for row in rows:
        noted: dict[str, dict[str, Any]] = {}
        for one in (one for test in row["tests"] for one in found.get(test, [])):
            known = noted.get(one["what"])
            noted[one["what"]] = one if known is None else together(known, one)
        said = [_counted(row["measured"], parts)] if row["measured"] else [_distance(one) for one in noted.values()]
        tests = "<br>".join(f"`{test.removeprefix('tests/')}`" for test in row["tests"])
        lines.append((row["behaviour"], row["original"], row["ours"], "<br>".join(said) or "as said", tests))
    return "\n\n".join([
        "Differences of numbers are the greatest absolute ones, with the greatest value and the bound of the test; of ids and "
        "lengths it is the number that differ. Tests are in `tests/`.",
        markdown_table(("behaviour", "original", "ours", "difference", "tested by"), lines, numbers=False),
    ])  # fmt: skip


def _counted(what: str, parts: dict[str, Any]) -> str:
    """A difference that a part below measures, or CosyVoice 3's comparison at full size."""
    if what.startswith("third "):
        stages = parts["third"]["stages"] if "third" in parts else {}
        found = [(STAGES[name], stages[name]) for name in what.split()[1:] if name in stages]
        return "<br>".join(f"{title}: {_number(one['difference'])} of RMS {one['rms']:.2g}" for title, one in found)
    if what == "prompts" and "prompts" in parts:
        rows = [row for row in parts["prompts"]["rows"] if "refused" not in row]
        changed = sum(row["like_original"]["tokens_changed"] for row in rows)
        return f"{changed} of {sum(row['tokens'] for row in rows):,} speech tokens"
    if "original" not in parts or what == "prompts":
        return "not measured"
    if what == "texts":
        rows = parts["original"]["texts"].values()
        return f"{sum(row['other_ids'] for row in rows)} of {sum(row['texts'] for row in rows)} texts"
    rows = parts["original"]["modes"]
    return f"{sum(sum(row['unlike'].values()) for row in rows)} of {sum(row['inputs'] for row in rows):,} inputs"


def _original(part: dict[str, Any]) -> str:
    counts = ("texts", "segments", "ids", "other_segments", "other_ids", "stops")
    texts = [(name, *(f"{row[count]:,}" for count in counts)) for name, row in part["texts"].items()]
    languages = list(part["modes"][0]["languages"])
    modes = []
    for row in part["modes"]:
        found = (row["languages"][name] for name in languages)
        cells = ("stops" if other is None else other for other in found)
        modes.append((row["mode"], row["inputs"], *cells, _number(row["mel"]), _number(row["embedding"])))
    libraries = ", ".join(f"{name} {number}" for name, number in part["libraries"].items())
    return "\n\n".join([
        "## Beside the published code",
        f"The front end of the published code (commit {part['original_commit'][:7]}; text normalised by {part['front_end']}; "
        f"{libraries}) and ours, with one directory: the same texts, then the number of results that are not equal. At some texts "
        "wetext's parser asserts and the original stops; ours reads them as written.",
        markdown_table(("", "number", "segments", "ids", "other segments", "other ids", "original stops"), texts),
        "## Modes and languages",
        "What language model and flow get: text ids, prompt text, speech tokens of both prompts, mel and speaker embedding, with "
        f"{part['recordings']} prompts (recordings at five sample rates; stored speakers have one). A language's figure is the "
        "number of inputs that differ: ids at all, mel and embedding by more than 5e-3. The last two columns are their greatest "
        "differences.",
        markdown_table(("mode", "inputs", *languages, "mel", "embedding"), modes),
    ])  # fmt: skip


def _prompts(part: dict[str, Any]) -> str:
    lines = []
    for row in part["rows"]:
        about = (row["recording"], f"{row['rate']:,}")
        if "refused" in row:
            lines.append((*about, "refused, as by the original", *[""] * 6))
            continue
        like, other = row["like_original"], row["not_like_original"]
        lines.append((
            *about, f"{row['seconds']:.1f}", *(_number(like[name]) for name in ("mel", "log_mel", "filter_bank")),
            f"{like['tokens_changed']} of {row['tokens']}", _number(other["mel"]), f"{other['tokens_changed']} of {row['tokens']}",
        ))  # fmt: skip
    return "\n\n".join([
        "## Prompts at six sample rates",
        "Real recordings, resampled to 24 kHz for the mel and to 16 kHz for Whisper's log-mel and Kaldi's filter bank, against the "
        "definitions computed sample by sample in float64. Tokens are those of the embedded voice's speech tokenizer that change. "
        "The last two columns are the same with `--not-like-original`, which resamples with soxr.",
        markdown_table(
            ("recording", "Hz", "seconds", "mel", "log-mel", "filter bank", "tokens", "mel, soxr", "tokens, soxr"), lines
        ),
    ])  # fmt: skip


def _speeds(part: dict[str, Any]) -> str:
    lines = []
    for row in part["rows"]:
        lengths = ", ".join(f"{frames} to {made}" for frames, _, made in row["lengths"])
        other = sum(wanted != made for _, wanted, made in row["lengths"])
        lines.append((row["speed"], lengths, other, _number(row["difference"])))
    return "\n\n".join([
        "## Speeds",
        "Mel frames (standard normal) at another speed against the definition in float64.",
        markdown_table(("speed", "frames", "other lengths", "difference"), lines),
    ])  # fmt: skip


def _full(part: dict[str, Any]) -> str:
    lines = []
    for row in part["rows"]:
        audio = f"{row['audio_seconds']:.1f}" if "audio_seconds" in row else "-"
        spent = (f"{row[name]:.1f}" for name in ("seconds", "processor_seconds"))
        lines.append((row["call"], *spent, f"{row['peak_bytes'] / 2**20:,.0f}", audio))
    return "\n\n".join([
        "## At full size",
        "`mamtra convert` and `mamtra say` in fresh processes, on the CPU in float32, with a directory of the published sizes and "
        "random weights. Memory in MiB beyond a process that has only imported PyTorch, mapped files included. "
        "[Converting a language model](results/conversion.md) has a page of its own.",
        markdown_table(("call", "seconds", "processor seconds", "memory", "speech, s"), lines),
    ])  # fmt: skip


def _fixtures(part: dict[str, Any]) -> str:
    lines = [
        (one["what"], one["of"], f"{one['difference']:.2f}") for things in part["cases"].values() for one in things
    ]
    return "\n\n".join([
        "## Compact fixtures",
        "Outputs that were compared with those kept, and the greatest difference as a part of its bound; whole numbers are equal.",
        markdown_table(("fixture", "outputs", "of the bound"), lines),
    ])  # fmt: skip
