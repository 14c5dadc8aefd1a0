"""The TFLOPs column of the paper's Table 3, by formula, under every convention that might explain it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mamtra.cost.flops import FlopConvention, decode_flops, prefill_flops
from mamtra.cost.presets import cosyvoice2, llasa_1b, zonos
from mamtra.cost.shapes import Blueprint
from mamtra.models.plan import LayerPlan
from mamtra.paper.study import Study
from mamtra.runtime.results import markdown_table

LENGTH = 2048
TEXT_ROWS = 151936
"""Rows of the text head that CosyVoice 2's own code computes at every token and never uses."""

PUBLISHED = (
    ("Llasa-1B", "llasa-1b", "1:0", 4.53),
    ("CosyVoice 2", "cosyvoice2", "1:0", 1.78),
    ("Zonos-v0.1", "zonos-v0.1", "1:3", 7.32),
    ("MamTra", "cosyvoice2", "1:1", 1.64),
    ("MamTra", "cosyvoice2", "1:3", 1.57),
    ("MamTra", "cosyvoice2", "1:5", 1.54),
    ("MamTra", "cosyvoice2", "1:11", 1.52),
)
"""Name, blueprint, ratio and TFLOPs of the rows of Table 3 (arXiv 2603.12342v1)."""

CONVENTIONS = {
    "full scores": FlopConvention(),
    "9LDN scan": FlopConvention(scan="9ldn"),
    "scan by steps": FlopConvention(scan="steps"),
    "chunked scan": FlopConvention(scan="chunks"),
    "causal scores": FlopConvention(scores="causal"),
    "head": FlopConvention(head="all"),
}
COUNTED = (*CONVENTIONS, "text head")

NOTES = """All figures are TFLOP of a prefill of {length:,} tokens, two operations a multiply-accumulate; "MFLOP a step" is one
decode step at the same context. The paper calls its figures the cost of one token; only a whole prefill has this size.

* "full scores" counts the projections, the feed-forward and all L x L scores of every head; no head, no scan. Each other column
  changes that one thing: "9LDN scan" adds 9 x tokens x channels x state size, "scan by steps" 6 operations for each element of the
  state, "chunked scan" the matrix products of this package's scan; "causal scores" leaves out what lies behind the mask; "head"
  adds the output over all tokens (speech ids for CosyVoice 2), "text head" the {text:,} text ids that CosyVoice 2's own code
  computes and drops.
* Bold figures give the published one when truncated to two decimals: {matches}.
* The rows of the CosyVoice 2 family stay unexplained: no column meets them together. "Full scores" less any constant between {gap}
  TFLOP truncates to all five of them; what the paper does not count is thus the same for every ratio. Where it comes from is
  unknown, and nothing is adjusted here.
* The order of the layers does not enter; 1:5 and 1:11, which the paper places by importance, are counted with block-beg."""


def _find() -> dict[str, Any]:
    """Count every row of the table under every convention."""
    shapes = {"llasa-1b": llasa_1b(), "cosyvoice2": cosyvoice2(), "zonos-v0.1": zonos()}
    rows = [_row(name, shapes[key], ratio, published) for name, key, ratio, published in PUBLISHED]
    family = [row for row in rows if row["model"] in ("CosyVoice 2", "MamTra")]
    # a published figure stands for [figure, figure + 0.01), being truncated
    gaps = [row["full scores"] - row["published"] for row in family]
    agree = {f"{r['model']} {r['ratio']}": [n for n in COUNTED if _agrees(r[n], r["published"])] for r in rows}
    unexplained = [max(gap - 0.01 for gap in gaps), min(gaps)]
    return {"tokens": LENGTH, "rows": rows, "unexplained_tflops": unexplained, "agree": agree}


def _page(found: dict[str, Any]) -> str:
    table = markdown_table(
        ("model", "ratio", "published", *COUNTED, "MFLOP a step"),
        (
            (r["model"], r["ratio"], f"{r['published']:.2f}", *(_cell(r[n], r["published"]) for n in COUNTED),
             f"{r['MFLOP a step']:.1f}")
            for r in found["rows"]
        ),
    )  # fmt: skip
    notes = NOTES.format(
        length=LENGTH,
        text=TEXT_ROWS,
        gap="{:.4f} and {:.4f}".format(*found["unexplained_tflops"]),
        matches="; ".join(f"{row} with {', '.join(names)}" for row, names in found["agree"].items() if names),
    )
    return f"{table}\n\n{notes}"


def _row(name: str, blueprint: Blueprint, ratio: str, published: float) -> dict:
    plan = LayerPlan.from_ratio(blueprint.plan.num_layers, ratio)
    counts = {
        key: None
        if convention.head != "none" and blueprint.head is None
        else prefill_flops(blueprint, plan, LENGTH, convention).total / 1e12
        for key, convention in CONVENTIONS.items()
    }
    text_head = None
    if blueprint.name == "cosyvoice2":
        with_text = replace(blueprint, head=TEXT_ROWS)
        text_head = prefill_flops(with_text, plan, LENGTH, FlopConvention(head="all")).total / 1e12
    step = decode_flops(blueprint, plan, LENGTH).total / 1e6
    return {
        "model": name,
        "ratio": ratio,
        "published": published,
        **counts,
        "text head": text_head,
        "MFLOP a step": step,
    }


def _agrees(value: float | None, published: float) -> bool:
    return value is not None and int(value * 100) == round(published * 100)


def _cell(value: float | None, published: float) -> str:
    if value is None:
        return ""
    return f"**{value:.4f}**" if _agrees(value, published) else f"{value:.4f}"


STUDY = Study("table3-flops", "Table 3, the TFLOPs column: what the published figures count", _find, _page)
