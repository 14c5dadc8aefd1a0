"""CONVERSION.md, the readable form of provenance.json."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from mamtra.conversion.transfer import TensorOrigin
from mamtra.runtime.results import markdown_table

_LAYER = re.compile(r"(\.layers\.)(\d+)(?=\.)")


def describe(provenance: dict[str, Any], origins: Sequence[TensorOrigin]) -> str:
    """The report in Markdown."""
    teacher, plan, made = provenance["teacher"], provenance["plan"], provenance["conversion"]
    before, after = teacher["parameters"], made["parameters"]
    kinds = plan["layer_types"]
    facts = [
        ("source", f"{teacher['name']} ({teacher.get('architecture', teacher['format'])})"),
        ("SHA-256 of its tensors", f"`{teacher['sha256']}`"),
        ("plan (A attention, M Mamba)", f"`{plan['plan']}`"),
        ("layers", f"{kinds.count('full_attention')} attention, {kinds.count('linear_attention')} Mamba"),
        ("parameters", f"{before:,} before, {after:,} after ({after - before:+,})"),
        ("storage", f"{made['storage']}, {len(made['files'])} file{'s' if len(made['files']) > 1 else ''}"),
        ("seed", made["seed"]),
        ("made by", ", ".join(f"{name} {number}" for name, number in made["versions"].items())),
    ]
    options = [(name, "default" if value is None else value) for name, value in made["options"].items()]
    parts = [
        "# Conversion\n",
        markdown_table(("", ""), facts, numbers=False),
        "\n## Options\n",
        markdown_table(("option", "value"), options, numbers=False),
        "\n## Checks\n",
        *(f"* {_check(check)}" for check in made["checks"]),
        "\n## Where each tensor comes from\n",
        "*copied*: same values, same role. *transferred*: same values, new role. *folded*: computed from its source. *fresh*: "
        "without a source. Layers are grouped; `provenance.json` lists every tensor.\n",
        markdown_table(
            ("tensor", "rows", "origin", "source", "how"),
            sorted(_grouped(origins), key=lambda row: row[0]),
            numbers=False,
        ),
    ]
    if made["unused"]:
        rows = [(f"`{name}`", layers, why) for name, layers, why in _grouped_unused(made["unused"])]
        parts += [
            "\n## Tensors of the source that are not used\n",
            markdown_table(("tensor", "layers", "why"), rows, numbers=False),
        ]
    if made["converted_files"]:
        names = ", ".join(f"`{f}`" for f in made["converted_files"])
        parts += ["\n## Files of the source that were converted\n", names]
    if made["left_files"]:
        parts += ["\n## Files of the source that were not copied\n", ", ".join(f"`{f}`" for f in made["left_files"])]
    return "\n".join([*parts, ""])


def _check(check: dict[str, Any]) -> str:
    if check["passed"] is None:
        return f"{check['check']}: not run, {check['reason']}"
    if "tensors" in check:
        return f"{check['check']} after reading back: {check['tensors']} compared"
    return (
        f"{check['check']}: layer {check['layer']} with neutral gate, steps, decay and norm differs by "
        f"{check['relative_error']:.1e} of the largest output (limit {check['limit']:g})"
    )


def _grouped(origins: Iterable[TensorOrigin]) -> list[tuple[str, str, str, str, str]]:
    """Rows of the table; equal records of several layers are one."""
    groups: dict[tuple, list[int]] = {}
    for origin in origins:
        name, layer = _split(origin.tensor)
        source, _ = _split(origin.source or "")
        key = (name, origin.rows, origin.origin, source, origin.rule)
        groups.setdefault(key, []).extend([] if layer is None else [layer])
    return [
        (
            f"`{name.format(_ranges(layers))}`",
            "" if rows is None else f"{rows[0]}:{rows[1]}",
            origin,
            f"`{source.format('i')}`" if source else "",
            rule,
        )
        for (name, rows, origin, source, rule), layers in groups.items()
    ]


def _grouped_unused(unused: dict[str, str]) -> list[tuple[str, str, str]]:
    groups: dict[tuple[str, str], list[int]] = {}
    for name, why in unused.items():
        pattern, layer = _split(name)
        groups.setdefault((pattern, why), []).extend([] if layer is None else [layer])
    return [(name.format("i"), _ranges(layers), why) for (name, why), layers in groups.items()]


def _split(name: str) -> tuple[str, int | None]:
    """A name with ``{}`` in place of its layer, and the layer."""
    found = _LAYER.search(name)
    return (_LAYER.sub(r"\g<1>{}", name), int(found[2])) if found else (name, None)


def _ranges(layers: Iterable[int]) -> str:
    """``0-3, 7``."""
    runs: list[list[int]] = []
    for layer in sorted(layers):
        if runs and layer == runs[-1][1] + 1:
            runs[-1][1] = layer
        else:
            runs.append([layer, layer])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
