"""From scores to figures, and from figures to the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from error_rates import count, difference, mean, rate
from guards import guard
from record import footnotes, table
from speaking import Sentence

from mamtra.audio.io import read_audio

WORST = 15


def summarise(
    sentences: Sequence[Sentence],
    scores: dict[str, dict[str, Any]],
    made: dict[str, dict[str, Any]],
    sound: Path,
    first: dict[str, Any] | None,
) -> dict[str, Any]:
    """All figures of one system.

    Args:
        scores: the judge's, by id.
        made: records of the speaking, by id; empty where the sound comes from elsewhere.
        sound: folder with ID.wav.
        first: figures of the first system, to compare with.
    """
    items = [scores[s.id] for s in sentences]
    counts = count([item["reference"] for item in items], [item["hypothesis"] for item in items])
    wer, wer_interval = rate(counts["word_errors"], counts["words"])
    cer, cer_interval = rate(counts["char_errors"], counts["chars"])
    figures: dict[str, Any] = {
        "utterances": len(items),
        "missing": sum(item.get("missing", False) for item in items),
        "seconds": sum(item.get("seconds", 0.0) for item in items),
        "wer": wer,
        "wer_ci95": wer_interval,
        "cer": cer,
        "cer_ci95": cer_interval,
        "word_errors": counts["word_errors"].tolist(),
    }
    rated = np.array([item["distillmos"] for item in items if "distillmos" in item])
    if len(rated):
        figures["distillmos"], figures["distillmos_ci95"] = mean(rated)
    if first is not None:
        change, change_interval = difference(counts["word_errors"], np.array(first["word_errors"]), counts["words"])
        figures["wer_against_first"], figures["wer_against_first_ci95"] = change, change_interval
    figures["guards"] = guards(sentences, items, made, sound)
    figures["categories"] = by_category(sentences, counts)
    order = np.argsort(-counts["word_errors"] / np.maximum(1, counts["words"]), kind="stable")[:WORST]
    figures["worst"] = [
        {"id": items[i]["id"], "reference": items[i]["reference"], "hypothesis": items[i]["hypothesis"]}
        for i in order
        if counts["word_errors"][i]
    ]
    timed = [made[s.id] for s in sentences if "computing" in made.get(s.id, {})]
    if timed:
        figures["rtf"] = sum(one["computing"] for one in timed) / max(1e-9, sum(one["seconds"] for one in timed))
    return figures


def guards(
    sentences: Sequence[Sentence], items: Sequence[dict[str, Any]], made: dict[str, dict[str, Any]], sound: Path
) -> dict[str, Any]:
    """Ids of utterances that failed, by kind of failure; silence and speaking rate over all."""
    verdicts = []
    for sentence, item in zip(sentences, items, strict=True):
        path = sound / f"{sentence.id}.wav"
        samples, hertz = read_audio(path) if path.is_file() else (None, 24000)
        verdicts.append(guard(item, sentence.spoken, samples, hertz, made.get(sentence.id, {}).get("finish_reason")))
    silence = np.array([v["silence_share"] for v in verdicts])
    speed = np.array([v["words_per_second"] for v in verdicts if v["words_per_second"]] or [0.0])
    return {
        **{
            kind: [s.id for s, v in zip(sentences, verdicts, strict=True) if v[kind]]
            for kind in ("empty", "looping", "truncated")
        },
        "silence_share_mean": float(silence.mean()),
        "silence_share_max": float(silence.max()),
        "words_per_second_median": float(np.median(speed)),
        "words_per_second_p5": float(np.percentile(speed, 5)),
        "words_per_second_p95": float(np.percentile(speed, 95)),
    }


def by_category(sentences: Sequence[Sentence], counts: dict[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """Word error rate of each category of the list."""
    found = {}
    for name in dict.fromkeys(s.category for s in sentences):
        inside = np.array([s.category == name for s in sentences])
        wer, wer_interval = rate(counts["word_errors"][inside], counts["words"][inside])
        found[name] = {"utterances": int(inside.sum()), "wer": wer, "wer_ci95": wer_interval}
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
        f"{results['set']['utterances']} sentences of {results['set']['name']}, seed {results['seed']}.",
        "In brackets: 95% bootstrap intervals over utterances. Error rates are over the whole list, in percent, lower is better;",
        f"the third column is the difference to {first}, paired by sentence.\n",
        table(("", "WER %", f"against {first}", "CER %", "DistilMOS", "s of sound", "real-time factor"), main),
        "\n## Guards\n",
        "Utterances without sound, with no word heard, with four words in a row heard three times or more, and cut off",
        "(at the length limit, or less than half of the words heard);",
        "share of silence in percent, mean (greatest); words a second outside silence, median (5th to 95th percentile).\n",
        table(("", "missing", "empty", "looping", "cut off", "silence %", "words/s"), failures),
        "\n## WER % by category\n",
        table(("", "sentences", *(row["name"] for row in systems)), categories),
        "\n## How it was measured\n",
        f"Recogniser: {judge.get('asr', 'unknown')}; text compared after {judge.get('normaliser', 'unknown')}; DistilMOS: {rated}.",
        footnotes(results),
        "",
    ]
    return "\n".join(parts)
