"""The utterances of `lists.py` by their duration: which are too short or too long for their text, beside what was heard of them.

    python benchmarks/list_durations.py --run DIR [--judged docs/results/lists.json] [--minutes 20]
                                        [--out docs/results/list_durations.json]

The LM speaks every judged utterance again with the same seed, without flow and vocoder: the number of speech tokens is the
duration. It is compared with what the text is expected to take (a linear fit to the sentences of set `dev`) and with the same
sentence's other seeds. What is done is kept in the run folder.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lists import LISTS, ROWS, WRONG_LETTERS, Row, letters, read_lists
from paired_scores import append_row, read_rows
from record import benchmark
from worker_pool import made

from mamtra import load
from mamtra.evaluate.statistics import interval, ratio, resampled_rows, within
from mamtra.runtime.files import hash_files
from mamtra.runtime.results import footnote, markdown_table
from mamtra.synthesis.pipeline import TOKEN_RATE, Request
from mamtra.synthesis.sentence import best_run, generate_tokens

SHARES = [10, 15, 20, 25]
"""Per cent by which an utterance is too short or too long."""
SHOWN = 15
MEASURES = {"expected": "what the text takes", "others": "the sentence's other seeds"}


class Speaker:
    """The LM's runs for a sentence and a seed: how many, the tokens of the first and of the kept one, and the size of the text."""

    def __init__(self) -> None:
        self._tts = load(device="cpu")

    def __call__(self, wanted: tuple[Row, int]) -> Row:
        (sentence, seed), model = wanted, self._tts.model
        [segment] = model.text.segments(sentence["text"])
        request = Request(model, self._tts.voice(), seed)
        run = best_run(request, segment.ids, 0)
        assert run is not None
        first = len(run.tokens)
        if run.attempt:
            first = len(generate_tokens(model, request.voice, segment.ids, request.seed_of(0, 0))[0])
        said = {"runs": run.attempt + 1, "first": first, "kept": len(run.tokens)}
        return {"id": sentence["id"], "seed": seed, **said, "ids": len(segment.ids), "pauses": segment.text.count(",")}


def speak(args: argparse.Namespace, wanted: Sequence[tuple[Row, int]]) -> list[Row]:
    """Rows of these utterances; what is missing in the run folder is spoken."""
    done = {(row["id"], row["seed"]) for row in read_rows(args.run / ROWS)}
    missing = [(sentence, seed) for sentence, seed in wanted if (sentence["id"], seed) not in done]
    for _, row in made(Speaker, (), missing, 0, args.minutes):
        append_row(args.run / ROWS, row)
    asked = {(sentence["id"], seed) for sentence, seed in wanted}
    return [row for row in read_rows(args.run / ROWS) if (row["id"], row["seed"]) in asked]


def fit(rows: Sequence[Row]) -> np.ndarray:
    """Tokens of an utterance, of a text id and of a pause: least squares over kept runs."""
    return np.linalg.lstsq(_sizes(rows), np.array([row["kept"] for row in rows], float), rcond=None)[0]


def _sizes(rows: Sequence[Row]) -> np.ndarray:
    return np.array([[1, row["ids"], row["pauses"]] for row in rows], float)


def compare(rows: Sequence[Row], coefficients: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
    """Duration of every first and kept run over the one that it is compared with, by measure."""
    expected = _sizes(rows) @ coefficients
    others = np.array([
        np.median([other["first"] for other in rows if other["id"] == row["id"] and other["seed"] != row["seed"]])
        for row in rows
    ])  # fmt: skip
    return {
        measure: {name: np.array([row[name] for row in rows]) / base for name in ("first", "kept")}
        for measure, base in (("expected", expected), ("others", others))
    }


def heard_change(text: str, hypothesis: str) -> int:
    """-1 where at least a short word is missing from what was heard, 1 where as much was added, else 0."""
    change = len(letters(hypothesis)) - len(letters(text))
    return (change >= WRONG_LETTERS) - (change <= -WRONG_LETTERS)


def agreement(flagged: np.ndarray, heard: np.ndarray) -> dict[str, Any]:
    """Of two yes-or-no judgements of the same utterances."""
    both, expected = float((flagged == heard).mean()), flagged.mean() * heard.mean()
    chance = float(expected + (1 - flagged.mean()) * (1 - heard.mean()))
    return {
        "flagged": int(flagged.sum()),
        "both": int((flagged & heard).sum()),
        "kappa": (both - chance) / (1 - chance) if chance < 1 else 1.0,
    }


def area(scores: np.ndarray, heard: np.ndarray) -> float | None:
    """Chance that an utterance with the fault has a higher score than one without: 0.5 for a measure that knows nothing."""
    with_it, without = scores[heard], scores[~heard]
    if not len(with_it) or not len(without):
        return None
    differences = with_it[:, None] - without[None]
    return float((differences > 0).mean() + 0.5 * (differences == 0).mean())


def summarise(rows: Sequence[Row], judged: Sequence[Row], ratios: dict[str, dict[str, np.ndarray]]) -> dict[str, Any]:
    """Figures of the first runs by both measures, beside what was heard and what the check of the text repeated."""
    change = np.array([row["first_heard"] for row in judged])
    again = np.array([row["runs"] > 1 for row in judged])
    names = sorted({row["id"] for row in rows})
    groups = np.array([names.index(row["id"]) for row in rows])
    ones, picked = np.ones(len(rows)), resampled_rows(groups)
    found: dict[str, Any] = {
        "utterances": len(rows),
        "same_number_of_runs": sum(row["runs"] == other["runs"] for row, other in zip(rows, judged, strict=True)),
        "short": int((change < 0).sum()),
        "long": int((change > 0).sum()),
        "short_not_repeated": int(((change < 0) & ~again).sum()),
        "check": agreement(again, change != 0),
        "measures": {},
        "share": {},
    }
    for measure, of in ratios.items():
        found["measures"][measure] = {
            "short_area": area(-of["first"], change < 0),
            "long_area": area(of["first"], change > 0),
            "shares": {
                str(share): {
                    "short": agreement(of["first"] < 1 - share / 100, change < 0),
                    "long": agreement(of["first"] > 1 + share / 100, change > 0),
                    "short_not_repeated": int(((of["first"] < 1 - share / 100) & (change < 0) & ~again).sum()),
                }
                for share in SHARES
            },
        }
    for name in ("first", "kept"):
        heard = np.array([row[f"{name}_heard"] for row in judged]) < 0
        for key, part in (
            ("heard", heard),
            *((measure, of[name] < 1 - SHOWN / 100) for measure, of in ratios.items()),
        ):
            value = 100 * float(ratio(within(part.astype(float), groups), within(ones, groups)))
            spread = interval(ratio(part.astype(float), ones, picked))
            found["share"][f"{name}_{key}"] = [value, *(100 * x for x in spread)]
    return found


def measure(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Everything that is measured."""
    if args.run is None:
        raise SystemExit("give --run")
    torch.set_num_threads(args.threads)
    told = json.loads(args.judged.read_text(encoding="utf-8"))
    sentences = {row["id"]: row for row in read_lists(told["set"])}
    rows = speak(args, [(sentences[row["id"]], row["seed"]) for row in told["rows"]])
    dev = speak(args, [(row, 0) for row in read_lists("dev")])
    by_place = {(row["id"], row["seed"]): row for row in told["rows"]}
    judged = []
    for row in rows:
        other, text = by_place[row["id"], row["seed"]], sentences[row["id"]]["text"]
        heard = {f"{name}_heard": heard_change(text, other[name]) for name in ("first", "kept")}
        judged.append({"runs": other["runs"], **heard})
    if len(rows) < len(told["rows"]) or not dev:
        raise SystemExit("not all was spoken in this time: run this again")
    coefficients = fit(dev)
    yield {
        "sha256": hash_files(LISTS),
        "judged": {key: told[key] for key in ("commit", "judge")},
        "dev": len(dev),
        "fit": coefficients.tolist(),
        "lists": summarise(rows, judged, compare(rows, coefficients)),
        "rows": [{key: row[key] for key in ("id", "seed", "runs", "first", "kept")} for row in rows],
    }


def render(results: dict[str, Any]) -> str:
    """The page."""
    found, (start, each, pause) = results["lists"], (1000 / TOKEN_RATE * value for value in results["fit"])

    def shown(name: str) -> str:
        value, low, high = found["share"][name]
        return f"{value:.1f} [{low:.1f}, {high:.1f}]"

    shares = [
        [title, shown(f"first_{key}"), shown(f"kept_{key}")]
        for key, title in (
            ("heard", "the speech recogniser"),
            *((key, f"duration, against {title}") for key, title in MEASURES.items()),
        )
    ]
    rows = [
        [title, f"{share}%", part["short"]["flagged"], part["short"]["both"], f"{part['short']['kappa']:.2f}",
         part["short_not_repeated"], part["long"]["flagged"], part["long"]["both"], f"{part['long']['kappa']:.2f}"]
        for key, title in MEASURES.items() for share, part in found["measures"][key]["shares"].items()
    ]  # fmt: skip
    areas = [[title, *(_two(found["measures"][key][name]) for name in ("short_area", "long_area"))]
             for key, title in MEASURES.items()]  # fmt: skip
    return "\n".join([
        "# Lists by duration", "",
        f"The {found['utterances']} utterances of [lists and repeated words](lists.md) again, by the LM alone with the same seeds:",
        f"how long the speech is beside what it should take. {found['same_number_of_runs']} of them took as many runs as before.",
        f"Expected: {start:.0f} ms, {each:.1f} ms for each text id (a phoneme, mark or gap), {pause:.0f} ms more for each comma,",
        f"a fit to the {results['dev']} sentences of set dev. Other seeds: the median of the first runs with them.",
        f"Heard as left out: the speech recogniser's text is at least {WRONG_LETTERS} letters shorter than the text",
        f"({found['short']} first runs); as added: as much longer ({found['long']}).",
        "In brackets: 95% bootstrap intervals over sentences and seeds.", "",
        "## Words left out, % of utterances", "",
        f"By duration: more than {SHOWN}% shorter.", "",
        markdown_table(["by", "first run", "kept run"], shares), "",
        "## Agreement with what was heard, first runs", "",
        f"Missed by the check: of the {found['short_not_repeated']} that were heard as left out and not repeated,",
        "those that are too short. Kappa is 1 for full agreement and 0 for that of chance.", "",
        markdown_table(["duration against", "beyond", "too short", "heard too", "kappa", "missed by the check",
                        "too long", "heard too", "kappa"], rows), "",
        "Area under the curve, that is at all thresholds (0.5 knows nothing, 1 everything):", "",
        markdown_table(["duration against", "left out", "added"], areas), "",
        f"The check by attention and pace, for comparison: {found['check']['flagged']} repeated, {found['check']['both']} of the "
        f"{found['short'] + found['long']} that were heard as left out or added, kappa {found['check']['kappa']:.2f}.", "",
        "## How it was measured", "",
        f"ASR: {results['judged']['judge']['asr']}, at {results['judged']['commit']}.",
        footnote(results), "",
    ])  # fmt: skip


def _two(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def options(parser: argparse.ArgumentParser) -> None:
    """Of the command line."""
    parser.add_argument("--run", type=Path, help="folder of what is spoken; give it again to continue")
    parser.add_argument("--judged", type=Path, default=Path("docs/results/lists.json"), help="what was heard")
    parser.add_argument("--minutes", type=float, default=20, help="stop then and report what is done")
    parser.add_argument("--threads", type=int, default=1)


def main(argv: list[str] | None = None) -> None:
    benchmark("list_durations", __doc__, measure, render, options, argv)


if __name__ == "__main__":
    main()
