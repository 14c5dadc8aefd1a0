"""Score files as one HTML page that opens offline: figures with intervals, and every utterance to hear, see and read."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mamtra.errors import MamTraError
from mamtra.evaluate.alignment import align
from mamtra.evaluate.report_media import picture, player
from mamtra.evaluate.score_file import ScoreFile, differences
from mamtra.evaluate.summary import classes, compare, floor_of, summarise, word_counts
from mamtra.evaluate.text_normalizers import normaliser
from mamtra.runtime.files import write_text

_STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:90rem;margin:2rem auto;padding:0 1rem;color:#1f2933}
table{border-collapse:collapse;margin:.5rem 0 1.5rem}td,th{padding:.25rem .8rem .25rem 0;text-align:left;vertical-align:top;
border-bottom:1px solid #e5e7eb}th button{font:inherit;font-weight:600;border:0;background:none;padding:0;cursor:pointer}
th button:hover{text-decoration:underline}.number{text-align:right;font-variant-numeric:tabular-nums}.ci{color:#7b8794}
.delete{background:#fee2e2;text-decoration:line-through}.insert{background:#dcfce7}.replace{background:#fef3c7}
.class{background:#fee2e2;border-radius:.3rem;padding:0 .4rem;margin-right:.3rem;white-space:nowrap}.warning{background:#fef3c7;
padding:.5rem 1rem}audio{width:15rem;height:2rem;display:block}img{display:block;height:80px;max-width:26rem}
text{font:11px system-ui,sans-serif;fill:#52606d}summary{cursor:pointer;font-weight:600}"""
_SCRIPT = """for(const table of document.querySelectorAll("table.sortable"))
table.querySelectorAll("th button").forEach((button,at)=>{
let up=false;button.onclick=()=>{up=!up;const body=table.tBodies[0];const key=row=>{const cell=row.cells[at];
const value=cell.dataset.key??cell.textContent;return isNaN(value)||value===""?value:Number(value)};
[...body.rows].sort((a,b)=>{const x=key(a),y=key(b);return(x<y?-1:x>y?1:0)*(up?1:-1)}).forEach(row=>body.append(row))}})"""
_COLOURS = ("#2563eb", "#d97706", "#059669", "#dc2626", "#7c3aed")


def write_report(files: Sequence[ScoreFile], path: Path, *, media: bool = True) -> Path:
    """Write the page.

    Args:
        files: scores of one system each; the others are set against the first, over the utterances they share.
        path: of the page.
        media: whether sound and spectrograms go into it, where the sound files are still there.

    Raises:
        MamTraError: no files, or one of them is empty.
    """
    if not files:
        raise MamTraError("There is nothing to report; give score files of `mamtra evaluate`.")
    names = _names(files)
    summaries = [summarise(scores) for scores in files]
    first = next(iter(files))
    unlike = [phrase for scores in files[1:] for phrase in differences(first.stamp, scores.stamp)]
    parts = [f"<h1>{html.escape(', '.join(names))}</h1><p>{html.escape(str(first.stamp.get('set')))}</p>"]
    if unlike:
        said = html.escape("; ".join(unlike))
        parts.append(f'<p class="warning">Measured differently, so that figures must not be compared: {said}</p>')
    parts += [
        _figures(names, summaries),
        *(_against(names[0], first, n, s) for n, s in zip(names[1:], files[1:], strict=True)),
    ]
    parts += [_lengths(names, summaries), _utterances(names, files, media), _stamps(names, files)]
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(", ".join(names))}</title>'
        f"<style>{_STYLE}</style><body>{''.join(parts)}<script>{_SCRIPT}</script></body></html>\n"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, page)
    return path


def _names(files: Sequence[ScoreFile]) -> list[str]:
    names = [str(scores.stamp.get("system")) for scores in files]
    return [name if names.count(name) == 1 else scores.path.stem for name, scores in zip(names, files, strict=True)]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], sortable: bool = False) -> str:
    cells = [f"<button>{name}</button>" if sortable else name for name in head]
    body = "".join(
        "<tr>" + "".join(c if c.startswith("<td") else f"<td>{c}</td>" for c in row) + "</tr>" for row in rows
    )
    kind = ' class="sortable"' if sortable else ""
    return (
        f"<table{kind}><thead><tr>{''.join(f'<th>{c}</th>' for c in cells)}</tr></thead><tbody>{body}</tbody></table>"
    )


def _with_interval(value: float, ci: Sequence[float]) -> str:
    return f'<td class="number">{value:.3g} <span class="ci">[{ci[0]:.3g}, {ci[1]:.3g}]</span></td>'


def _figures(names: Sequence[str], summaries: Sequence[dict[str, Any]]) -> str:
    keys = list(dict.fromkeys(key for s in summaries for key in s["figures"]))
    rows = [
        ["utterances", *(str(s["utterances"]) for s in summaries)],
        ["without sound", *(str(s["without_sound"]) for s in summaries)],
    ]
    for key in keys:
        found = [s["figures"].get(key) for s in summaries]
        rows.append([key, *(_with_interval(f["value"], f["ci95"]) if f else "" for f in found)])
    note = "<p>95% bootstrap intervals over utterances. Error rates in percent.</p>"
    return "<h2>Figures</h2>" + note + _table(["", *map(html.escape, names)], rows)


def _against(name: str, first: ScoreFile, other: str, scores: ScoreFile) -> str:
    found = compare(first, scores)
    rows = [
        [key, _with_interval(v["difference"], v["ci95"]), str(v["lower"]), str(v["higher"]), f"{v['p_sign']:.2g}"]
        for key, v in found["figures"].items()
    ]
    title = f"<h2>{html.escape(other)} against {html.escape(name)}</h2><p>{found['utterances']} utterances, paired.</p>"
    return title + _table(["", "difference", "lower", "higher", "p of the sign test"], rows)


def _lengths(names: Sequence[str], summaries: Sequence[dict[str, Any]]) -> str:
    buckets = sorted({b for s in summaries for b in s["failures"]}, key=lambda b: int(b.rstrip("+").split("-")[0]))
    top = max([group["wer_english"] for s in summaries for group in s["failures"].values()] + [1e-9])
    width, bar = 90 * len(buckets), 70 / len(names)
    marks = []
    for place, name in enumerate(buckets):
        for number, summary in enumerate(summaries):
            value = summary["failures"].get(name, {}).get("wer_english", 0.0)
            height, x = 120 * value / top, 10 + 90 * place + bar * number
            colour = _COLOURS[number % len(_COLOURS)]
            marks.append(
                f'<rect x="{x:.1f}" y="{140 - height:.1f}" width="{bar - 2:.1f}" height="{height:.1f}" fill="{colour}"/>'
            )
            marks.append(f'<text x="{x:.1f}" y="{136 - height:.1f}">{value:.1f}</text>')
        marks.append(f'<text x="{10 + 90 * place}" y="156">{name}</text>')
    legend = " ".join(
        f'<span style="color:{_COLOURS[n % len(_COLOURS)]}">&#9632;</span> {html.escape(name)}'
        for n, name in enumerate(names)
    )
    kinds = sorted({k for s in summaries for g in s["failures"].values() for k in g} - {"utterances", "wer_english"})
    rows = [
        [
            html.escape(name),
            bucket,
            str(group["utterances"]),
            f"{group['wer_english']:.2f}",
            *(str(group.get(k, 0)) for k in kinds),
        ]
        for name, summary in zip(names, summaries, strict=True)
        for bucket, group in summary["failures"].items()
    ]
    return (
        f'<h2>By number of words</h2><p>{legend}; word errors, %</p><svg width="{width + 20}" height="165">{"".join(marks)}</svg>'
        + _table(["system", "words", "utterances", "WER %", *kinds], rows)
    )


def _utterances(names: Sequence[str], files: Sequence[ScoreFile], media: bool) -> str:
    head = ["id", "words", *(f"{html.escape(n)}: {what}" for n in names for what in ("WER %", "heard"))]
    ids = list(dict.fromkeys(key for scores in files for key in scores.rows))
    floors = [floor_of(scores.rows.values()) for scores in files]
    rows = []
    for key in ids:
        known = next(scores.rows[key] for scores in files if key in scores.rows)
        cells = [f"<td>{html.escape(key)}</td>", f'<td class="number">{len(known["reference"].split())}</td>']
        for scores, floor in zip(files, floors, strict=True):
            cells += _cells(scores.rows[key], floor, media) if key in scores.rows else ["", ""]
        rows.append(cells)
    marks = {"delete": "left out", "insert": "put in", "replace": "exchanged"}
    legend = " ".join(f'<span class="{kind}">{said}</span>' for kind, said in marks.items())
    note = f"<p>Click a heading to sort. {legend}</p>"
    return "<h2>Utterances</h2>" + note + _table(head, rows, sortable=True)


def _cells(row: dict[str, Any], floor: float, media: bool) -> list[str]:
    (counts,) = word_counts([row], "english")
    marks = "".join(f'<span class="class">{name.replace("_", " ")}</span>' for name in classes(row, floor))
    sound = Path(row["sound"]) if media and row.get("sound") and Path(row["sound"]).is_file() else None
    shown = player(sound) + picture(sound) if sound else ""
    error = html.escape(row.get("error", ""))
    number = f'<td class="number" data-key="{counts.rate:.4f}">{counts.rate:.1f}</td>'
    return [number, f'<td data-key="{counts.rate:.4f}">{marks}{error}<div>{_marked(row)}</div>{shown}</td>']


def _marked(row: dict[str, Any]) -> str:
    """The text as it was to be heard, with what was left out, put in and exchanged."""
    normalise, _ = normaliser("english")
    reference, heard = normalise(row["reference"]).split(), normalise(row.get("heard", "")).split()
    words = []
    for step in align(reference, heard):
        was = html.escape(reference[step.reference]) if step.kind != "insert" else ""
        now = html.escape(heard[step.hypothesis]) if step.kind != "delete" else ""
        if step.kind == "equal":
            words.append(was)
        elif step.kind == "replace":
            words.append(f'<span class="replace" title="{was}">{was} &rarr; {now}</span>')
        else:
            words.append(f'<span class="{step.kind}">{was or now}</span>')
    return " ".join(words)


def _stamps(names: Sequence[str], files: Sequence[ScoreFile]) -> str:
    shown = [
        f"<details><summary>{html.escape(name)}</summary><pre>{html.escape(json.dumps(scores.stamp, indent=1))}</pre></details>"
        for name, scores in zip(names, files, strict=True)
    ]
    return "<h2>How it was measured</h2>" + "".join(shown)
