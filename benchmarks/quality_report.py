"""From scores to figures, and from figures to the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from record import footnotes, table
from speaking import Sentence

from mamtra.evaluate.error_rates import Errors, comparable, count_errors, english_normaliser
from mamtra.evaluate.score_file import ScoreFile
from mamtra.evaluate.statistics import difference, interval, ratio, resamples

WORST = 15
GRAM = 4
ROUNDS = 3


def judge_of(scores: ScoreFile) -> dict[str, str]:
    """The judges and their rules."""
    fingerprint = scores.fingerprint
    metrics = fingerprint["metrics"]
    rated = (
        {"mos": metrics["mos"]} if "mos" in metrics else {"mos_missing": "DistilMOS was not asked for or is missing"}
    )
    return {
        "asr": fingerprint["asr"],
        "asr_sha256": fingerprint.get("asr_sha256", ""),
        "normaliser": fingerprint["rules"]["english"],
        **rated,
    }


def summarise(
    sentences: Sequence[Sentence], scores: ScoreFile, made: dict[str, dict[str, Any]], first: dict[str, Any] | None
) -> dict[str, Any]:
    """All figures of one system.

    Args:
        scores: of the sentences.
        made: records of the synthesis, by id; empty where the sound comes from elsewhere.
        first: figures of the first system, to compare with.
    """
    normalise, _ = english_normaliser()
    items = [scores.rows[s.id] for s in sentences]
    texts = [(comparable(i["reference"], normalise), comparable(i.get("hypothesis", ""), normalise)) for i in items]
    counts = np.array([count_errors(i["reference"], i.get("hypothesis", ""), normalise) for i in items], float).T
    word_errors, words, char_errors, chars = counts
    figures: dict[str, Any] = {
        "utterances": len(items),
        "missing": sum("error" in item for item in items),
        "seconds": sum(item.get("seconds", 0.0) for item in items),
        **with_ci("wer", 100 * word_errors, words),
        **with_ci("cer", 100 * char_errors, chars),
        "word_errors": word_errors.tolist(),
    }
    rated = np.array([item["mos"] for item in items if "mos" in item])
    if len(rated):
        figures |= with_ci("distillmos", rated, np.ones(len(rated)))
    if first is not None:
        change, spread = difference(100 * np.array(first["word_errors"]), words, 100 * word_errors, words)
        figures["wer_against_first"], figures["wer_against_first_ci95"] = change, list(spread)
    figures["guards"] = guards(items, texts, made)
    figures["categories"] = by_category(sentences, [Errors(*map(int, column)) for column in counts.T])
    order = np.argsort(-word_errors / np.maximum(1, words), kind="stable")[:WORST]
    figures["worst"] = [
        {"id": items[i]["id"], "reference": texts[i][0], "hypothesis": texts[i][1]} for i in order if word_errors[i]
    ]
    timed = [made[s.id] for s in sentences if "computing" in made.get(s.id, {})]
    if timed:
        figures["rtf"] = sum(one["computing"] for one in timed) / max(1e-9, sum(one["seconds"] for one in timed))
    return figures


def with_ci(name: str, parts: np.ndarray, wholes: np.ndarray) -> dict[str, Any]:
    """Sum of parts over sum of wholes, and its 95% bootstrap interval, under NAME and NAME_ci95."""
    spread = ratio(parts, wholes, resamples(len(parts)))
    return {name: float(ratio(parts, wholes)), f"{name}_ci95": list(interval(spread))}


def loops(hypothesis: str, reference: str) -> bool:
    """Whether four words in a row come three times or more, and more often than in the text."""

    def grams(text: str) -> Counter:
        parts = text.split()
        return Counter(tuple(parts[i : i + GRAM]) for i in range(len(parts) - GRAM + 1))

    wanted = grams(reference)
    return any(times >= ROUNDS and times > wanted[gram] for gram, times in grams(hypothesis).items())


def is_truncated(hypothesis: str, reference: str, finish_reason: str | None) -> bool:
    """Whether the model ran into its length limit, or less than half of the words are in the hypothesis (none is "empty")."""
    return finish_reason == "length" or 0 < 2 * len(hypothesis.split()) < len(reference.split())


def guards(
    items: Sequence[dict[str, Any]], texts: Sequence[tuple[str, str]], made: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """Ids of utterances that failed, by kind of failure; silence and speaking rate over all."""
    found: dict[str, Any] = {"empty": [], "looping": [], "truncated": []}
    for item, (reference, hypothesis) in zip(items, texts, strict=True):
        reason = made.get(item["id"], {}).get("finish_reason")
        verdicts = (not hypothesis, loops(hypothesis, reference), is_truncated(hypothesis, reference, reason))
        for kind, failed in zip(("empty", "looping", "truncated"), verdicts, strict=True):
            found[kind] += [item["id"]] if failed else []
    silence = np.array([item.get("silence_share", 1.0) for item in items])
    speed = np.array([item["words_per_second"] for item in items if item.get("words_per_second")] or [0.0])
    return found | {
        "silence_share_mean": float(silence.mean()),
        "silence_share_max": float(silence.max()),
        "words_per_second_median": float(np.median(speed)),
        "words_per_second_p5": float(np.percentile(speed, 5)),
        "words_per_second_p95": float(np.percentile(speed, 95)),
    }


def by_category(sentences: Sequence[Sentence], counts: Sequence[Errors]) -> dict[str, dict[str, Any]]:
    """Word error rate of each category of the list."""
    found = {}
    for name in dict.fromkeys(s.category for s in sentences):
        inside = [c for s, c in zip(sentences, counts, strict=True) if s.category == name]
        errors, words = (
            np.array(part, float) for part in zip(*((c.word_errors, c.words) for c in inside), strict=True)
        )
        found[name] = {"utterances": len(inside), **with_ci("wer", 100 * errors, words)}
    return found


def with_interval(row: dict[str, Any], name: str, digits: int) -> str:
    if name not in row:
        return "-"
    low, high = row[f"{name}_ci95"]
    return f"{row[name]:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def render(results: dict[str, Any]) -> str:
    """The page, from the record alone."""
    systems, judge = results["systems"], results["judge"]
    first = systems[0]["name"]
    main = [
        (
            row["name"],
            with_interval(row, "wer", 2),
            with_interval(row, "wer_against_first", 2),
            with_interval(row, "cer", 2),
            with_interval(row, "distillmos", 2),
            f"{row['seconds']:.0f}",
            f"{row['rtf']:.3f}" if "rtf" in row else "-",
        )
        for row in systems
    ]
    failures = []
    for row in systems:
        g = row["guards"]
        failures.append((
            row["name"], row["missing"], len(g["empty"]), len(g["looping"]), len(g["truncated"]),
            f"{100 * g['silence_share_mean']:.1f} ({100 * g['silence_share_max']:.0f})",
            f"{g['words_per_second_median']:.2f} ({g['words_per_second_p5']:.2f} to {g['words_per_second_p95']:.2f})",
        ))  # fmt: skip
    names = list(systems[0]["categories"])
    categories = [
        (
            name,
            systems[0]["categories"][name]["utterances"],
            *(f"{row['categories'][name]['wer']:.2f}" for row in systems),
        )
        for name in names
    ]
    rated = judge.get("mos") or f"left out: {judge.get('mos_missing', 'unknown')}"
    parts = [
        "# Quality of the voice\n",
        *([results["remark"] + "\n"] if "remark" in results else []),
        f"{results['set']['utterances']} sentences of {results['set']['name']}, seed {results['seed']}.",
        "In brackets: 95% bootstrap intervals over utterances. Error rates are over the whole list, in percent, lower is better;",
        f"the third column is the difference to {first}, paired by sentence.\n",
        table(("", "WER %", f"against {first}", "CER %", "DistilMOS", "s of sound", "real-time factor"), main),
        "\n## Guards\n",
        "Utterances without sound, with an empty hypothesis, with four words in a row three times or more, and cut off",
        "(at the length limit, or less than half of the words in the hypothesis);",
        "silence in percent, mean (greatest); words per second outside silence, median (5th to 95th percentile).\n",
        table(("", "missing", "empty", "looping", "cut off", "silence %", "words/s"), failures),
        "\n## WER % by category\n",
        table(("", "sentences", *(row["name"] for row in systems)), categories),
        "\n## How it was measured\n",
        f"ASR: {judge.get('asr', 'unknown')}; texts normalised by {judge.get('normaliser', 'unknown')}; DistilMOS: {rated}.",
        footnotes(results),
        "",
    ]
    return "\n".join(parts)
