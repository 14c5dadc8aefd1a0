"""LaTeX in a text: formulas between dollar signs or brackets become words and signs, commands of layout are silent."""

from __future__ import annotations

import re

from mamtra.text.english.lines import ITEM
from mamtra.text.english.patterns import Pattern
from mamtra.text.english.wordlists import listed

_BLOCK = Pattern(r"\$\$(.{1,2000}?)\$\$|\\\[(.{1,2000}?)\\\]|\\\((.{1,2000}?)\\\)", re.S)
_INLINE = Pattern(r"(?<![\\\w$])\$(?=[^\s$])([^$\n]{1,300}?)(?<=[^\s\\$])\$(?![\d$])")
_FORMULA = Pattern(r"[\\^_={}<>]|^[A-Za-z]$|^[A-Za-z]\s?[-+*/]\s?\w+$")
_ENVIRONMENT = Pattern(r"\\(?:begin|end)\{(\w+\*?)\}(?:\[[^\]\n]*\])?")
_LAYOUT = Pattern(
    r"\\(?:textbf|textit|texttt|textsc|emph|underline|mbox|text|mathrm|mathbf|mathit|mathbb|mathcal|operatorname"
    r"|section|subsection|subsubsection|chapter|paragraph|title|author|caption|url)\*?\{([^{}\n]{0,500})\}"
)
_REFERENCE = Pattern(
    r"~?\\(?:cite[tp]?|ref|eqref|label|pageref|includegraphics|vspace|hspace)(?:\[[^\]]*\])?\{[^{}\n]*\}"
)
_SILENT = Pattern(
    r"\\(?:left|right|big|Big|bigg|Bigg|displaystyle|limits|quad|qquad|noindent|maketitle|item|centering)\b"
)
_FRACTION = Pattern(r"\\[dt]?frac\s*(?:\{([^{}]*)\}\s*\{([^{}]*)\}|(\d)(\d))")
_ROOT = Pattern(r"\\sqrt\s*(?:\[([^\]]*)\])?\s*\{([^{}]*)\}")
_POWER = Pattern(r"\^\{([^{}]*)\}")
_INDEX = Pattern(r"_(?:\{([^{}]*)\}|(\w))")
_COMMAND = Pattern(r"\\([A-Za-z]+)")
_SIGNS = {
    "times": "times", "cdot": "times", "div": "divided by", "pm": "plus or minus", "mp": "minus or plus", "leq": "≤",
    "le": "≤", "geq": "≥", "ge": "≥", "neq": "≠", "ne": "≠", "approx": "≈", "sim": "is similar to",
    "equiv": "is equivalent to", "propto": "is proportional to", "infty": "infinity", "sum": "the sum of",
    "prod": "the product of", "int": "the integral of", "partial": "partial", "nabla": "nabla", "to": "to",
    "rightarrow": "to", "Rightarrow": "implies", "implies": "implies", "iff": "if and only if", "in": "in",
    "notin": "not in", "subset": "is a subset of", "cup": "union", "cap": "intersection", "forall": "for all",
    "exists": "there exists", "ldots": "...", "dots": "...", "cdots": "...", "log": "log", "ln": "natural log",
    "sin": "sine", "cos": "cosine", "tan": "tangent", "lim": "the limit of", "exp": "exp", "max": "max", "min": "min",
    "degree": "degrees", "circ": "degrees", "percent": "percent", "LaTeX": "LaTeX", "TeX": "TeX", "hbar": "h bar",
}  # fmt: skip
_GREEK = frozenset(
    listed(
        "alpha beta gamma delta epsilon varepsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon "
        "phi varphi chi psi omega"
    )
)
_GREEK_ALONE = Pattern(rf"(?<![\w:\\])\\({'|'.join(_GREEK)})\b")
_ORDINAL_ROOTS = {"": "the square root of", "2": "the square root of", "3": "the cube root of"}


def _fraction(match: re.Match[str]) -> str:
    top, bottom = (match[1], match[2]) if match[1] is not None else (match[3], match[4])
    return f"{top}/{bottom}" if top.strip().isdigit() and bottom.strip().isdigit() else f" {top} over {bottom} "


def _root(match: re.Match[str]) -> str:
    degree = match[1] or ""
    return f" {_ORDINAL_ROOTS.get(degree, f'the {degree}th root of')} {match[2]} "


def _command(match: re.Match[str]) -> str:
    name = match[1]
    if name.lower() in _GREEK:
        return f" {name.lower().removeprefix('var')} "
    return f" {_SIGNS.get(name, name)} "


def _formula(source: str) -> str:
    """Words and plain signs of one formula."""
    source = _ENVIRONMENT.sub(" ", source).replace("\\\\", ", ").replace("&", " ")
    source = re.sub(r"\\[,;:!> ]|~", " ", source)
    source = source.replace("\\%", "%").replace("\\$", "$").replace("\\{", "(").replace("\\}", ")")
    source = re.sub(r"\^\s*(?:\\circ\b|\{\\circ\})", "°", source)
    source = _SILENT.sub(" ", source)
    for _ in range(4):  # fractions and roots inside one another, from the innermost
        source = _LAYOUT.sub(r" \1 ", source)
        source = _ROOT.sub(_root, _FRACTION.sub(_fraction, _POWER.sub(r"^\1", source)))
    source = _INDEX.sub(lambda match: f" {match[1] or match[2]} ", source)
    source = _COMMAND.sub(_command, source)
    source = re.sub(r"(?<![A-Za-z])([a-z])([a-z])(?=\s*(?:[\^=+]|$))", r"\1 \2", source)  # mc^2, ab
    return re.sub(r"\s+", " ", source.replace("{", " ").replace("}", " ")).strip()


def _inline(match: re.Match[str]) -> str:
    source = match[1]
    money = source[0].isdigit() and "\\" not in source and "^" not in source
    return match[0] if money or not _FORMULA.search(source) else _formula(source)


def strip_latex(text: str) -> str:
    """Text in which formulas are readable and the commands of layout are gone; other backslashes stay."""
    if "$" in text:
        text = _INLINE.sub(_inline, _BLOCK.sub(lambda m: _formula(m[1] or m[2] or m[3]), text))
    if "\\" in text:
        text = _BLOCK.sub(lambda m: _formula(m[1] or m[2] or m[3]), text)
        text = re.sub(r"\\item\b\s*", "\n" + ITEM, _ENVIRONMENT.sub("\n", text))
        text = _LAYOUT.sub(r"\1", _REFERENCE.sub("", text))
        text = _GREEK_ALONE.sub(lambda m: m[1].removeprefix("var"), text)
        text = re.sub(r"\\(LaTeX|TeX)\b(?:\{\})?", r"\1", text)
    return text
