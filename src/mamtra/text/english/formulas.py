"""Letters mixed with figures or cases: chemical formulas, IPv4, mRNA, pH."""

from __future__ import annotations

import re

from mamtra.text.english.numbers import cardinal, digits
from mamtra.text.english.patterns import FigurePattern, Pattern
from mamtra.text.english.wordlists import listed

_ELEMENTS = frozenset(
    listed(
        "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr Nb "
        "Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U W Os Ir Ta Hf Re"
    )
)
_WITHOUT_FIGURES = frozenset(
    listed(
        "NaCl KCl HCl HBr HF HI NaOH KOH NaF KBr KI CuO ZnO MgO CaO FeO TiN GaN GaAs SiC LiF AgCl AgBr HCN NaI CsI InP "
        "PbO PbS NiO BaO SrO LiH CdS CdTe ZnS"
    )
)
_FORMULA = Pattern(r"(?<![\w.'-])((?:\(?[A-Z][a-z]?\)?\d{0,3}){1,12})(?:\^?(\d?[+-]))?(?![\w'-])")
_PART = Pattern(r"([A-Z][a-z]?)(\d*)|\((?=[A-Z])|\)(\d*)")
_CARBON_OXIDE = Pattern(
    r"\bCO(?=\s(?:detectors?|alarms?|poisoning|levels?|gas|emissions?|sensors?|molecules?|bonds?)\b)"
)
_IP = FigurePattern(r"\bIPv([46])\b")
_ION = Pattern(r"(?<![\w'-])(Na|K|Ca|Mg|Fe|Cu|Zn|Al|Li|Ag|Ba|Mn|Pb|Cl|Br|I|F|O|S)([1-4]?)([+-])(?![\w'-])")
_SMALL_FIRST = Pattern(r"(?<![\w'-])([a-z]{1,2})([A-Z]{2,5})(s?)(?![\w'])")
_PH = Pattern(r"\bpH\b")
_NOT_SPELT = frozenset(("mc", "de", "la", "le", "du", "of", "to", "al"))


def _formula(match: re.Match[str]) -> str:
    text, charge = match.groups()
    symbols = _PART.findall(text)
    elements = [symbol for symbol, _, _ in symbols if symbol]
    if not all(symbol in _ELEMENTS for symbol in elements):
        return match[0]
    has_figure = any(char.isdigit() for char in text)
    one_letter = len(elements) == 1
    if not (has_figure or text in _WITHOUT_FIGURES or (charge and len(text) < 4 and charge != "-")):
        return match[0]
    if (
        has_figure
        and one_letter
        and (elements[0] not in ("H", "O", "N", "F", "Cl", "Br") or not text.endswith(("2", "3")))
    ):
        return match[0]  # B12, C4, K2: labels
    if has_figure and not one_letter and all(len(e) == 1 for e in elements) and re.fullmatch(r"[A-Z]{2,}\d{2,}", text):
        return match[0]  # a model, not a molecule
    said: list[str] = []
    letters: list[str] = []

    def flush() -> None:
        if letters:
            said.append("-".join(letters))
            letters.clear()

    for symbol, count, group in symbols:
        letters.extend(symbol.upper())
        if count or group:
            flush()
            said.append(cardinal(count or group))
    flush()
    if charge:
        said.append(charge.replace("+", " plus").replace("-", " minus"))
    return re.sub(r"\s+", " ", " ".join(said))


def _ion(symbol: str, count: str, sign: str) -> str:
    """``"Ca2+"`` -> ``"C-A two plus"``."""
    return " ".join(
        filter(None, ("-".join(symbol.upper()), count and cardinal(count), {"+": "plus", "-": "minus"}[sign]))
    )


def expand_formulas(text: str) -> str:
    """``"CaCO3"`` -> ``"C-A-C-O three"``, ``"mRNA"`` -> ``"M-R-N-A"``."""
    text = _IP.sub(lambda m: f"I-P V {digits(m[1])}", text)
    text = _PH.sub("P-H", text)
    text = _CARBON_OXIDE.sub("C-O", text)
    text = _ION.sub(lambda m: _ion(*m.groups()) if m[2] or (m[3] == "+" and len(m[1]) > 1) else m[0], text)
    text = _FORMULA.sub(_formula, text)
    return _SMALL_FIRST.sub(lambda m: m[0] if m[1] in _NOT_SPELT else "-".join((m[1] + m[2]).upper()) + m[3], text)
