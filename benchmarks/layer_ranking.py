"""Which layers need their attention: runs `mamtra rank`, stores its result, and fills the results section of docs/ranking.md.

    python benchmarks/layer_ranking.py --out docs/results/ranking-NAME.json -- MODEL --criterion kl [options of `mamtra rank`]
    python benchmarks/layer_ranking.py                  # only fills the page from docs/results/ranking-*.json

With -o among the options an interrupted run is continued. A figure NAME.svg beside NAME.json (--plot) is shown.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from record import made_with

from mamtra import LayerPlan
from mamtra.cli import main as mamtra
from mamtra.runtime.files import write_text
from mamtra.runtime.results import footnote, markdown_table

BEGIN, END = "<!-- results: written by benchmarks/layer_ranking.py -->", "<!-- end of results -->"
RATIOS = ("1:1", "1:3", "1:5", "1:11")
UNITS = {"cosine": "1 - cosine", "kl": "nats per token", "wer": "WER, %"}


def measure(words: Sequence[str]) -> dict[str, Any]:
    """The result of `mamtra rank` with these arguments, with the circumstances."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        status = mamtra(["rank", *words, "--json"])
    if status:
        raise SystemExit(status)
    result = json.loads(said.getvalue())
    del result["table"]
    return {"benchmark": "layer_ranking", **made_with(), **result}


def title(result: dict[str, Any]) -> str:
    """Criterion and settings, in a few words."""
    settings = result["settings"]
    how = settings.get("replace") if result["criterion"] != "cosine" else settings["part"]
    return ", ".join([result["criterion"], how, *(["iterative"] if result["iterative"] else [])])


def places(result: dict[str, Any]) -> np.ndarray:
    """Place of every layer, 1 the most important, int (layers,)."""
    found = np.empty(result["num_layers"], int)
    found[result["ranking"]] = np.arange(1, result["num_layers"] + 1)
    return found


def agreement(one: dict[str, Any], other: dict[str, Any]) -> float:
    """Spearman's rank correlation of two rankings."""
    n = one["num_layers"]
    return 1 - 6 * float(np.square(places(one) - places(other)).sum()) / (n * (n * n - 1))


def layer_table(results: Sequence[dict[str, Any]]) -> str:
    """Score and place of every layer; of an iterative ranking the score before the layer was removed."""
    scores = [{row["layer"]: row["score"] for row in r["rows"]} for r in results]
    order = [places(r) for r in results]
    header = ["layer", *(f"{title(r)} ({UNITS[r['criterion']]})" for r in results)]
    rows = [
        [i, *(f"{s[i]:.4g} (#{p[i]})" if i in s else "Mamba" for s, p in zip(scores, order, strict=True))]
        for i in range(results[0]["num_layers"])
    ]
    if any(None in s for s in scores):
        rows.append(["unchanged model", *(f"{s[None]:.4g}" if None in s else "" for s in scores)])
    return markdown_table(header, rows)


def plan_table(results: Sequence[dict[str, Any]]) -> str:
    """The layers that keep attention at those of the published ratios that fit."""

    layers = results[0]["num_layers"]
    ratios = [ratio for ratio in RATIOS if sum(map(int, ratio.split(":"))) <= layers]

    def kept(result: dict[str, Any], ratio: str) -> str:
        plan = LayerPlan.from_ratio(layers, ratio, f"importance-{result['criterion']}", result["ranking"])
        return " ".join(map(str, plan.attention_layers))

    return markdown_table(
        ("attention stays in", *ratios), [(title(r), *(kept(r, ratio) for ratio in ratios)) for r in results]
    )


def agreement_table(results: Sequence[dict[str, Any]]) -> str:
    """Rank correlations of all pairs."""
    rows = [(title(one), *(f"{agreement(one, other):.2f}" for other in results)) for one in results]
    return markdown_table(("Spearman's rho", *map(title, results)), rows)


def about(result: dict[str, Any]) -> str:
    """Data, settings, time and circumstances."""
    data = result["data"]
    what = data["source"] + (f", {data['sentences']} sentences" if "sentences" in data else "")
    asr = f"; transcribed by {data['asr']}, {data['normaliser']}" if "asr" in data else ""
    settings = ", ".join(f"{name} {value}" for name, value in result["settings"].items())
    took = f"{result['seconds']:.0f} s for {len(result['rows'])} measurements"
    return f"**{title(result)}**: on {what}{asr}; {settings}; {took}. {footnote(result)}"


def render(results: dict[Path, dict[str, Any]]) -> str:
    """The results section in Markdown, model by model."""
    models: dict[str, list[Path]] = {}
    for path, result in results.items():
        models.setdefault(result["model"]["lm"], []).append(path)
    blocks = []
    for paths in models.values():
        found = [results[path] for path in paths]
        blocks += [f"### {found[0]['name']}", layer_table(found), plan_table(found)]
        blocks += [agreement_table(found)] if len(found) > 1 else []
        pictures = [path.with_suffix(".svg") for path in paths if path.with_suffix(".svg").exists()]
        blocks += [f"![Scores by layer]({picture.parent.name}/{picture.name})" for picture in pictures]
        blocks += map(about, found)
    return "\n\n".join(blocks) or "No results are stored yet."


def fill(page: Path, folder: Path) -> None:
    """Write the results of `folder` into the page, between its two marks."""
    results = {path: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("ranking-*.json"))}
    head, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, mark, tail = rest.partition(END)
    if not mark:
        raise SystemExit(f"{page} has no place for results: {BEGIN} ... {END}")
    write_text(page, f"{head}{BEGIN}\n\n{render(results)}\n\n{END}{tail}")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="docs/results/ranking-NAME.json")
    parser.add_argument("--page", type=Path, default=Path("docs/ranking.md"))
    parser.add_argument("words", nargs="*", metavar="-- WORDS", help="of `mamtra rank`")
    args = parser.parse_args(argv)
    if bool(args.words) != (args.out is not None):
        parser.error("give both --out FILE and the words of `mamtra rank`, or neither")
    folder = args.page.parent / "results"
    if args.words:
        if not (args.out.name.startswith("ranking-") and args.out.suffix == ".json"):
            parser.error("the page is filled from files named ranking-NAME.json")
        args.out.parent.mkdir(parents=True, exist_ok=True)
        result = measure(args.words)
        write_text(args.out, json.dumps(result, indent=1, ensure_ascii=False) + "\n")
        folder = args.out.parent
    fill(args.page, folder)
    print(args.page)


if __name__ == "__main__":
    main()
