"""Sentences with lists and repeated words: how often an item is left out or said twice, with and without the check of the text.

    python benchmarks/lists.py --run DIR --whisper DIR [--engine] [--plain FILE] [--seeds 5] [--minutes 60]
        [--out docs/results/lists.json]

Every sentence of lists.tsv (the set `test`; `dev` is what the check was made with) is spoken by the first run of the LM, and by
the run that `mamtra say` keeps after its check (mamtra.synthesis.coverage). Where the first run is kept, both are the same sound
and are transcribed once. With --engine the source engine says them too: what is wrong there is the judge's mistake or its own.
FILE has plain sentences, one a line: they are spoken with one seed, and transcribed where a run was repeated, since all others stay
as they are. What is done is kept in the run folder.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from paired_scores import append_row, read_rows
from record import benchmark
from voice_stages import RATE, Engine
from worker_pool import made

from mamtra import TTS, load
from mamtra.evaluate.alignment import edit_distance
from mamtra.evaluate.error_rates import comparable, count_errors, english_normaliser
from mamtra.evaluate.judges.asr import open_transcriber
from mamtra.evaluate.judges.batches import judge_all
from mamtra.evaluate.statistics import grouped_difference, interval, ratio, resampled_rows, within
from mamtra.runtime.files import hash_files
from mamtra.runtime.results import footnote, markdown_table
from mamtra.synthesis.coverage import misread
from mamtra.synthesis.pipeline import Request, speak
from mamtra.synthesis.retries import AGAIN, ONCE, Retries
from mamtra.synthesis.sentence import whole_segment

LISTS = Path(__file__).with_name("lists.tsv")
ROWS, ENGINE_ROWS = "rows.jsonl", "engine.jsonl"
PLAIN = "plain"
WRONG_LETTERS = 3
COST_TEXTS = 6
DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]

Row = dict[str, Any]
Sound = tuple[np.ndarray, int]


def read_lists(name: str) -> list[Row]:
    """Sentences of a set of lists.tsv, the first one of every kind, then the second ones: a part of them is a fair sample."""
    with LISTS.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE) if row["set"] == name]
    return sorted(rows, key=lambda row: row["id"].rpartition("-")[2])


def read_plain(path: Path | None) -> list[Row]:
    """Sentences of a text file."""
    lines = path.read_text(encoding="utf-8").splitlines() if path else []
    return [{"id": f"{PLAIN}-{n}", "category": PLAIN, "text": text} for n, text in enumerate(lines, 1)]


def letters(text: str) -> str:
    """What is compared of a text: the letters of its normalised words, digits spelt."""
    words = comparable(text, english_normaliser()[0])
    return "".join(DIGITS[int(c)] if c in "0123456789" else c for c in words if c.isalnum())


def is_wrong(text: str, hypothesis: str) -> bool:
    """Whether the hypothesis differs from the text by as much as a short word."""
    return edit_distance(letters(text), letters(hypothesis)) >= WRONG_LETTERS


def utter(tts: TTS, text: str, seed: int, retries: Retries) -> tuple[np.ndarray, int]:
    """Samples, and the number of runs of the segment that took most."""
    segments = tts.model.text.segments(text)
    chunks = list(speak(Request(tts.model, tts.voice(), seed, retries=retries), segments, whole_segment))
    samples = np.concatenate([np.zeros(0, np.float32), *(chunk.samples for chunk in chunks)])
    return samples, max(chunk.attempts for chunk in chunks)


def speak_and_hear(args: argparse.Namespace, lists: Sequence[Row], plain: Sequence[Row]) -> dict[str, str]:
    """Speak and transcribe what is missing in the run folder; returns what the judge is."""
    done = {(row["id"], row["seed"]) for row in read_rows(args.run / ROWS)}
    wanted = [(s, 0) for s in (*lists, *plain)] + [(s, seed) for seed in range(1, args.seeds) for s in lists]
    wanted = [(sentence, seed) for sentence, seed in wanted if (sentence["id"], seed) not in done]
    transcriber = open_transcriber(args.whisper, args.threads, args.device)
    together, waiting = getattr(transcriber, "batch_size", 1), list[tuple[Row, dict[str, Sound]]]()

    def hear() -> None:
        heard = iter(judge_all(transcriber, [sound for _, said in waiting for sound in said.values()]))
        for row, said in waiting:
            append_row(args.run / ROWS, {**row, **{name: next(heard) for name in said}})
        waiting.clear()

    for (sentence, seed), (runs, said) in made(Speaker, (args.speaker_device,), wanted, args.workers, args.minutes):
        waiting.append(({"id": sentence["id"], "seed": seed, "runs": runs}, said))
        if sum(len(said) for _, said in waiting) >= together:
            hear()
    hear()
    return transcriber.about


def hear_engine(args: argparse.Namespace, lists: Sequence[Row]) -> list[Row]:
    """Rows of what is heard of the source engine, which says a sentence in one way; what is missing is transcribed."""
    path = args.run / ENGINE_ROWS
    done = {row["id"] for row in read_rows(path)}
    if missing := [sentence for sentence in lists if sentence["id"] not in done]:
        engine, transcriber = Engine(load(device="cpu")), open_transcriber(args.whisper, args.threads, args.device)
        for sentence in missing:
            append_row(path, {"id": sentence["id"], "kept": transcriber(engine(sentence["text"]), RATE)})
    return with_sentences(read_rows(path), lists)


class Speaker:
    """Says a sentence with a seed: the number of runs, and the sounds that are to be heard."""

    def __init__(self, device: str) -> None:
        self._tts = load(device=device)

    def __call__(self, wanted: tuple[Row, int]) -> tuple[int, dict[str, Sound]]:
        (sentence, seed), rate = wanted, self._tts.sample_rate
        kept, runs = utter(self._tts, sentence["text"], seed, AGAIN)
        said = {"kept": (kept, rate)}
        if runs > 1:
            said["first"] = utter(self._tts, sentence["text"], seed, ONCE)[0], rate
        elif sentence["category"] == PLAIN:
            said = {}
        return runs, said


def with_sentences(rows: Sequence[Row], sentences: Sequence[Row]) -> list[Row]:
    """Rows of these sentences, each with its sentence; where only one run was made, it is the first one too."""
    by_id = {sentence["id"]: sentence for sentence in sentences}
    return [{**by_id[row["id"]], "first": row.get("kept", ""), **row} for row in rows if row["id"] in by_id]


def summarise(rows: Sequence[Row], engine: Sequence[Row] = ()) -> dict[str, Any]:
    """Figures of the first runs, of those that are kept and of the engine, with intervals over sentences and their seeds."""
    names = sorted({row["id"] for row in rows})
    groups = np.array([names.index(row["id"]) for row in rows])
    ones, picked = np.ones(len(rows)), resampled_rows(groups)
    normalise = english_normaliser()[0]
    again = np.array([row["runs"] > 1 for row in rows])
    figures: dict[str, Any] = {
        "sentences": len(names),
        "seeds": len({row["seed"] for row in rows}),
        "utterances": len(rows),
        "repeated": int(again.sum()),
        "runs_per_utterance": float(np.mean([row["runs"] for row in rows])),
    }
    parts: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]] = {"wrong": {}, "wer": {}}
    for name in ("first", "kept"):
        wrong = np.array([is_wrong(row["text"], row[name]) for row in rows], float)
        errors = np.array([count_errors(row["text"], row[name], normalise) for row in rows], float)
        parts["wrong"][name], parts["wer"][name] = (wrong, ones), (errors[:, 0], errors[:, 1])
    for key, systems in parts.items():
        for name, (part, whole) in systems.items():
            value = 100 * float(ratio(within(part, groups), within(whole, groups)))
            figures[f"{name}_{key}"] = [value, *(100 * x for x in interval(ratio(part, whole, picked)))]
        value, ci = grouped_difference((*systems["first"], groups), (*systems["kept"], groups))
        figures[f"difference_{key}"] = [100 * value, *(100 * x for x in ci)]
    wrong = parts["wrong"]["first"][0] > 0
    figures |= over_engine(engine, names, {key: (*parts[key]["kept"], groups) for key in parts})
    figures["wrong_and_repeated"] = int((wrong & again).sum())
    figures["wrong_and_not_repeated"] = int((wrong & ~again).sum())
    figures["right_and_repeated"] = int((~wrong & again).sum())
    return figures


def over_engine(
    rows: Sequence[Row], names: Sequence[str], kept: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]]
) -> dict[str, list[float]]:
    """Figures of the source engine, and how much higher those of the kept runs are; nothing without rows.

    Args:
        rows: of `hear_engine`.
        names: ids of the sentences, in their order.
        kept: parts, wholes and sentences of the kept runs, by figure.
    """
    figures: dict[str, list[float]] = {}
    if rows:
        normalise, groups = english_normaliser()[0], np.array([names.index(row["id"]) for row in rows])
        errors = np.array([count_errors(row["text"], row["kept"], normalise) for row in rows], float)
        wrong = np.array([is_wrong(row["text"], row["kept"]) for row in rows], float)
        for key, part, whole in (("wrong", wrong, np.ones(len(rows))), ("wer", errors[:, 0], errors[:, 1])):
            value, spread = float(ratio(within(part, groups), within(whole, groups))), resampled_rows(groups)
            figures[f"engine_{key}"] = [100 * x for x in (value, *interval(ratio(part, whole, spread)))]
            value, ci = grouped_difference((part, whole, groups), kept[key])
            figures[f"over_engine_{key}"] = [100 * x for x in (value, *ci)]
    return figures


def summarise_plain(rows: Sequence[Row]) -> dict[str, Any]:
    """How many plain sentences were repeated, and the difference that it makes to the word error rate."""
    normalise = english_normaliser()[0]
    words = np.array([len(comparable(row["text"], normalise).split()) for row in rows], float)
    change = np.zeros(len(rows))
    for number, row in enumerate(rows):
        if row["runs"] > 1:
            first, kept = (count_errors(row["text"], row[name], normalise)[0] for name in ("first", "kept"))
            change[number] = kept - first
    spread = interval(ratio(change, words, resampled_rows(np.arange(len(rows)))))
    return {
        "utterances": len(rows),
        "repeated": int(sum(row["runs"] > 1 for row in rows)),
        "difference_wer": [100 * float(ratio(change, words)), *(100 * x for x in spread)],
    }


def measure_cost(sentences: Sequence[Row]) -> dict[str, float]:
    """Processor time of the check over that of speaking, for the same texts in turn."""
    tts = load(device="cpu")
    request, shares = Request(tts.model, tts.voice()), []
    for sentence in sentences:
        segment = tts.model.text.segments(sentence["text"])[0]
        start = time.process_time()
        [chunk] = whole_segment(Request(tts.model, tts.voice(), retries=ONCE), segment.ids, 0)
        middle = time.process_time()
        misread(request.attention(segment.ids, [0] * chunk.tokens))
        shares.append((time.process_time() - middle) / (middle - start))
    return {"texts": len(shares), "share_of_speaking": float(np.median(shares))}


def render(results: dict[str, Any]) -> str:
    """The page."""

    def shown(figures: dict[str, Any], name: str, digits: int) -> str:
        value, low, high = figures[name]
        return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"

    lists, plain = results["lists"], results["plain"]
    systems = {
        "first run": "first", "kept run": "kept", "difference": "difference", "source engine": "engine",
        "kept run, minus source engine": "over_engine",
    }  # fmt: skip
    rows = [
        [title, shown(lists, f"{name}_wrong", 1), shown(lists, f"{name}_wer", 2)]
        for title, name in systems.items() if f"{name}_wer" in lists
    ]  # fmt: skip
    kinds = [
        [kind, f["utterances"], f["repeated"], f"{f['first_wrong'][0]:.0f}", f"{f['kept_wrong'][0]:.0f}"]
        for kind, f in results["kinds"].items()
    ]
    found = ["wrong_and_repeated", "wrong_and_not_repeated", "right_and_repeated"]
    about_plain = [
        f"Of {plain['utterances']} plain sentences of the training texts {plain['repeated']} were repeated; difference in WER "
        f"{shown(plain, 'difference_wer', 2)} points."
    ] if plain else []  # fmt: skip
    return "\n".join([
        "# Lists and repeated words", "",
        f"Sentences with lists and repeated words (`benchmarks/lists.tsv`, set {results['set']}) in the default voice: "
        f"{lists['utterances']} utterances of {lists['sentences']} of its {results['in_set']} sentences.",
        f"Wrong: at least {WRONG_LETTERS} letters of what the speech recogniser hears differ from the text.",
        "First run: of the LM, whatever it says. Kept run: as `mamtra say` speaks, which repeats a run that leaves words out, says",
        "them twice or is too short, up to five runs in all; the repeated ones read words that come again in quotation marks. An",
        "utterance that keeps its first run is the same to the bit.",
        "In brackets: 95% bootstrap intervals over sentences and seeds. The same sentences [by duration](list_durations.md).", "",
        markdown_table(["", "wrong, % of utterances", "WER %"], rows), "",
        "## What the check finds", "",
        markdown_table(["first run wrong, repeated", "wrong, not repeated", "right, repeated", "runs per utterance"],
              [[*(lists[name] for name in found), f"{lists['runs_per_utterance']:.2f}"]]), "",
        *about_plain,
        f"The check takes {100 * results['cost']['share_of_speaking']:.1f}% of the processor time of speaking a sentence "
        f"(median of {results['cost']['texts']}).", "",
        "## Where words are lost", "",
        "In the LM. One head of layer 13 attends to the place in the text that is being spoken",
        "(`recipes/mini/find_alignment.py`); in the runs that go wrong it jumps to another occurrence of a repeated word,",
        "and the run still comes to an end on its own. Nothing is cut off at the length limit or at the edges.",
        "",
        "## By kind", "",
        markdown_table(["", "utterances", "repeated", "wrong %, first run", "wrong %, kept run"], kinds), "",
        "## How it was measured", "",
        f"ASR: {results['judge']['asr']}.",
        footnote(results), "",
    ])  # fmt: skip


def measure(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Everything that is measured."""
    if args.run is None or args.whisper is None:
        raise SystemExit("give --run and --whisper")
    torch.set_num_threads(args.threads)
    lists, plain = read_lists(args.set), read_plain(args.plain)
    judge = speak_and_hear(args, lists, plain)
    engine = hear_engine(args, lists) if args.engine else []
    rows = read_rows(args.run / ROWS)
    spoken, plainly = with_sentences(rows, lists), with_sentences(rows, plain)
    if not spoken:
        raise SystemExit("nothing was spoken in this time: run this again")
    kinds = {kind: [row for row in spoken if row["category"] == kind] for kind in {s["category"]: 0 for s in lists}}
    yield {
        "set": args.set,
        "in_set": len(lists),
        "sha256": hash_files(LISTS),
        "judge": judge,
        "lists": summarise(spoken, engine),
        "kinds": {kind: summarise(found) for kind, found in kinds.items() if found},
        "plain": summarise_plain(plainly) if plainly else None,
        "cost": measure_cost(lists[:COST_TEXTS]),
        "rows": [{key: row[key] for key in ("id", "seed", "runs", "first", "kept")} for row in spoken],
    }


def options(parser: argparse.ArgumentParser) -> None:
    """Of the command line."""
    parser.add_argument("--set", default="test", choices=("test", "dev"))
    parser.add_argument("--plain", type=Path, help="plain sentences, one a line")
    parser.add_argument("--run", type=Path, help="folder of what is spoken and heard; give it again to continue")
    parser.add_argument("--whisper", help="as for mamtra evaluate")
    parser.add_argument("--device", default="cpu", help="of the transcriber")
    parser.add_argument("--speaker-device", default="cpu", help="of the model")
    parser.add_argument("--workers", type=int, default=0, help="processes that speak, each with one thread")
    parser.add_argument("--engine", action="store_true", help="judge the source engine too (pip install hibari-tts)")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=600, help="stop then and report what is done")
    parser.add_argument("--threads", type=int, default=2)


def main(argv: list[str] | None = None) -> None:
    benchmark("lists", __doc__, measure, render, options, argv)


if __name__ == "__main__":
    main()
