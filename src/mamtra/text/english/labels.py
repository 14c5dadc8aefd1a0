"""Digits that name something instead of counting it: telephones, cards, codes, versions, models, hashes."""

from __future__ import annotations

import re

from mamtra.text.english.context import after, before
from mamtra.text.english.numbers import ONES, cardinal, digits, pairs
from mamtra.text.english.patterns import FigurePattern, Pattern
from mamtra.text.english.wordlists import listed

_PHONE = FigurePattern(
    r"(?<![\w-])(?:\+?(\d{1,2})[\s.-])?(?:\((\d{3})\)\s?|(\d{3})[\s.-])(\d{3})[\s.-](\d{4})(?![\w-])"
    r"|(?<![\w-])(\d{3})-(\d{4})(?![\w-])"
)
_ABROAD = FigurePattern(r"(?<!\w)\+\d{1,3}(?:[\s-]\(?\d{1,5}\)?){2,6}\b|(?<!\w)\+\d{7,15}\b")
_SERIAL = FigurePattern(r"(?<![\w-])\d+(?:-\d+){2,}(?![\w-])")
_PROCESSOR = FigurePattern(
    r"\b((?:RTX|GTX|RX|GT|Arc|EPYC|Threadripper|Ryzen \d|Core i\d)\s)(\d{4})(?=(?:X3D|XTX?|Ti|[XSG])?\b)"
)
_FISCAL = FigurePattern(r"\bFY(?=\d{4}\b)")
_ZIP_PLUS = FigurePattern(r"(?<![\w.,$-])(\d{5})-(\d{4})(?![\w-]|[.,]\d)")
_ZIP = FigurePattern(r"(?<=[\w.,] )([A-Z][a-z]+,? )(?!\d{3}00)(\d{5})(?=\s*(?:[.,;!?)]|$))(?![.,]\d)")
_CODE_ALONE = FigurePattern(r"^(\s*)(?!\d+00\s*$)(\d{5,9})(?=\s*$)")
_OF_ALL = FigurePattern(
    r"\b((?:pages?|p\.|slide|part|step|question|item|level|round|day|chapter|episode|photo|image|figure|task|lap|set|section"
    r"|lesson|week|attempt|disc|volume)\s)(\d{1,4})/(\d{1,4})(?![\w/]|\.\d)",
    re.IGNORECASE,
)
_PART = FigurePattern(r"(?:^|(?<=[\w.!?] ))\((\d{1,3})/(\d{1,3})\)(?=\s*$|\s[A-Z])")
_CARD = FigurePattern(r"(?<![\w-])\d{4}(?:[ -]\d{4}){2,4}(?![\w-])|(?<![\w-])\d{4} \d{6} \d{5}(?![\w-])")
_LONG = FigurePattern(r"(?<![\w.,])\d{19,}(?:\.\d+)?(?![\w,])|(?<!\d)\d{40,}|(?<=\.)\d{40,}")
_EMERGENCY = FigurePattern(
    r"\b((?:[Cc]all(?:ed|ing|s)?|[Dd]ial(?:ed|ing|s)?|[Pp]hone[ds]?|[Tt]ext(?:ed)?(?: \w+ to)?)\s)(\d{3,6})\b"
    r"(?![,.:]\d|-|\s(?:people|men|women|times|of|more|dollars)\b)"
)
_NINE_ONE_ONE = FigurePattern(
    r"^\s*911(?=\s*[.!?]*\s*$)|(?<![\w.,$:/-])911(?=\s(?:operators?|calls?|dispatch\w*|centers?|system|emergency)\b)"
)
_CODE_WORD = (
    r"(?:code|pin|PIN|password|passcode|OTP|ID|serial|confirmation|tracking|zip|ZIP|SKU|invoice|routing|passport)"
)
_NUMBERED_THING = (
    r"(?:account|ticket|case|booking|reservation|reference|ref|order|license|licence|membership|badge|extension|policy|phone"
    r"|card)"
)
_NUMBER_WORD = r"(?:number|no\.|#)"
_CODE_AFTER = FigurePattern(rf"(?<![\w.,$/:-])(\d{{4,12}})(?=\s(?:is your |as your |is the )?(?:\w+ )?{_CODE_WORD}\b)")
_CODE_BEFORE = FigurePattern(
    rf"\b((?:{_CODE_WORD}(?:\s(?:{_NUMBER_WORD}|is|was|code))*|{_NUMBERED_THING}\s{_NUMBER_WORD}(?:\s(?:is|was))?):?\s?#?)"
    r"(?<=[\s#])(\d{4,12})\b(?![,.:/]\d|-\d|%|\s(?:of|people|items|times)\b)",
    re.IGNORECASE,
)
_ORDER = FigurePattern(
    r"\b((?:order|ticket|booking|reservation|case|invoice|tracking|account)\s#?)(\d{5,12})\b(?![,.:/]\d|-\d|%|\s(?:of|people|items)\b)",
    re.IGNORECASE,
)
_CAR = FigurePattern(
    r"\b(Porsche|Peugeot|Ferrari|BMW|Fiat|Volvo|McLaren|Lexus)\s(\d)(\d\d)(?=([a-z]{0,2})\b)(?![,.]\d)"
)
_AIRCRAFT = FigurePattern(r"\b((?:Boeing|Airbus|Cessna|MD|DC)[ -])(\d{3})(?:-(\d{1,4})(ER|LR|MAX)?)?(s\b)?(?!\w)")
_JETS = FigurePattern(r"(?<![\w.,$-])(7[0-9]7)(?:-(\d{1,3})|(?= MAX\b)())?(s?)(?=s?\b)(?![\w,.]*\d)")
_VERSION = FigurePattern(r"\b[vV](\d+(?:\.\d+)+)(?![\w]|\.\d)|\b[vV](\d{1,2})\b(?![.,:]\d)")
_THREE_PARTS = FigurePattern(r"(?<![\d.,])(\d+(?:\.\d+){2,})(?![\d]|\.\d)")
_DOTTED_VERSION = FigurePattern(
    r"\b([Vv]ersion|[Rr]elease|Python|Java|Node|Ubuntu|Debian|Fedora|Android|iOS|macOS|CUDA|PyTorch|Kernel|kernel)\s(\d{1,2})\.(\d{2})\b(?![.,]?\d|%)"
)
_HEX = FigurePattern(r"(?<![\w.])0x([0-9a-fA-F]{1,16})(?!\w)")
_RATIO = FigurePattern(r"\b([Ss]cale|[Rr]atio|[Oo]dds)((?:\s(?:of|is|at|was))?\s)(\d+):(\d+)(?![\d:])")
_SCALE = FigurePattern(r"(?<![\d.,:])1:(\d{1,3}(?:,\d{3})+|\d{3,})(?![\d:])")
_GROUPED = FigurePattern(
    r"(?<![\d.,\w-])(\d{1,3}(?: 000)+|\d{1,3}(?: \d{3}){2,}|\d{1,3}(?:'\d{3})+|\d{1,3}(?:\.000){2,})(?![\d,]|\.\d{3}|[ -]\d)"
)
_CONTINENTAL = FigurePattern(r"(?<![\w.,])(\d{1,3}(?:\.\d{3})+),(\d{1,2})(?![\d,]|\.\d)")
_TRUNK = FigurePattern(r"(?<![\w.,+-])0\d{2,4}(?: \d{3,4}){1,3}(?![\w-]|[.,]\d| \d)")
_POSTCODE = FigurePattern(r"\b([A-Z]{1,2}\d[A-Z\d]?) (\d[A-Z]{2})\b|\b([A-Z]\d[A-Z]) (\d[A-Z]\d)\b")
_HASH = FigurePattern(
    r"(?<![\w-])(?=[a-f]*\d)(?=\d*[a-f])(?=(?:[a-f]+\d|\d+[a-f])[a-f\d]*(?:\d[a-f]|[a-f]\d))[a-f\d]{7,64}(?![\w-])"
)
_UUID = Pattern(r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b")
_FLIGHT = FigurePattern(
    r"\b(AA|AC|AF|BA|BR|CX|DL|EK|F9|IB|JL|KE|KL|LH|LX|LY|NH|NK|NZ|OS|QF|QR|SK|SQ|UA|UX|VS|WN|EI|B6) ?(\d{2,4})\b(?![.,]\d)"
)
_MODEL = FigurePattern(r"(?<![\w.'-])([A-Z]{1,4})[- ]?(?<![ ])(\d{3,4})(?![\w,]|\.\d|-\d)")
_RETIREMENT = FigurePattern(r"\b(401|403|501|529)\s?\(?([kKbBcC])\)?(?:\((\d)\))?(?!\w)")
_SCREEN = FigurePattern(r"\b(2160|1440|1080|720|480|360|240)([pi])\b")
_ACRONYM_DIGITS = frozenset(listed("ISO RFC PEP HTTP CVE DIN EN ISBN ISSN"))


def _groups(text: str) -> str:
    """Groups of digits, read one by one with a break after each group."""
    return ", ".join(digits(group) for group in re.findall(r"\d+", text))


def _phone(match: re.Match[str]) -> str:
    groups = [group for group in match.groups() if group]
    said = []
    for place, group in enumerate(groups):
        if len(group) == 3 and group.endswith("00") and group[0] != "0" and place < len(groups) - 1:
            said.append(cardinal(group))
        else:
            said.append(digits(group))
    return ", ".join(said)


def _characters(text: str) -> str:
    """One by one: ``"72a3"`` -> ``"seven two A three"``."""
    return " ".join(ONES[int(c)] if c.isdigit() else c.upper() for c in text if c.isalnum())


def _parts(number: str) -> str:
    return " point ".join(cardinal(part) for part in number.split("."))


def _jet(match: re.Match[str]) -> str:
    number, variant, max_follows, plural_s = match.groups()
    if not (variant or plural_s) and max_follows is None:
        return match[0]
    return pairs(number) + (f" {_variant(variant)}" if variant else "") + plural_s


def _variant(number: str) -> str:
    return cardinal(number) if len(number) < 3 or number.endswith("00") else pairs(number)


def _aircraft(match: re.Match[str]) -> str:
    maker, number, variant, suffix, many = match.groups()
    said = f"{maker.rstrip('-').rstrip()} {pairs(number)}"
    said += f" {_variant(variant)}" if variant else ""
    return said + (f" {suffix}" if suffix else "") + ("s" if many else "")


def _model(match: re.Match[str]) -> str:
    letters, number = match.groups()
    if letters in _ACRONYM_DIGITS or (len(number) == 4 and number[:2] in ("19", "20") and "-" not in match[0]):
        return match[0]
    return f"{letters} {pairs(number)}"


def _long(match: re.Match[str]) -> str:
    whole, _, fraction = match[0].partition(".")
    said = digits(whole, "zero") + (f" point {digits(fraction, 'zero')}" if fraction else "")
    spaced = " " if before(match, 1).isalnum() else ""
    return spaced + said + (" " if match.string[match.end() : match.end() + 1].isalnum() else "")


def expand_long_numbers(text: str) -> str:
    """Read numbers too long to name digit by digit, before rules whose time grows with the length of a number."""
    return _LONG.sub(_long, text)


def expand_labels(text: str) -> str:
    """Replace figures that are read in groups or one by one; all others stay for the rules of quantities."""
    if not re.search(r"\d", text):
        return text
    text = _UUID.sub(lambda m: ", ".join(_characters(part) for part in m[0].split("-")), text)
    text = _HASH.sub(lambda m: _characters(m[0]), text)
    text = _CARD.sub(lambda m: _groups(m[0]), text)
    text = _PHONE.sub(_phone, text)
    text = _POSTCODE.sub(lambda m: ", ".join(_characters(part) for part in m.groups() if part), text)
    text = _TRUNK.sub(lambda m: _groups(m[0]), text)
    text = _CONTINENTAL.sub(lambda m: f"{m[1].replace('.', ',')}.{m[2]}", text)
    text = _ZIP_PLUS.sub(lambda m: f"{digits(m[1])} dash {digits(m[2])}", text)
    text = _ZIP.sub(lambda m: m[1] + digits(m[2]), _CODE_ALONE.sub(lambda m: digits(m[2]), text))
    text = _OF_ALL.sub(r"\1\2 of \3", _PART.sub(r"(\1 of \2)", text))
    text = _ABROAD.sub(lambda m: "plus " + _groups(m[0]), text)
    text = _SERIAL.sub(lambda m: _groups(m[0]), text) if not re.search(r"\d{4}-\d\d?-\d\d?", text) else text
    text = _HEX.sub(lambda m: "zero X " + _characters(m[1]), text)
    text = _RATIO.sub(r"\1\2\3 to \4", text)
    text = _SCALE.sub(r"1 to \1", text)
    text = _GROUPED.sub(lambda m: re.sub("[ '.]", ",", m[1]), text)
    text = _EMERGENCY.sub(lambda m: m[1] + digits(m[2]), text)
    text = _NINE_ONE_ONE.sub("nine one one", text)
    text = _CODE_BEFORE.sub(lambda m: m[0] if _is_year(m[2]) else m[1].replace("#", "number ") + digits(m[2]), text)
    text = _CODE_AFTER.sub(lambda m: m[0] if _is_year(m[1]) else digits(m[1]), text)
    text = _ORDER.sub(lambda m: m[0] if len(m[2]) == 4 else m[1].replace("#", "number ") + digits(m[2]), text)
    text = _CAR.sub(lambda m: f"{m[1]} {pairs(m[2] + m[3])}" + (" " if m[4] else ""), text)
    text = _AIRCRAFT.sub(_aircraft, text)
    text = _FISCAL.sub("FY ", _PROCESSOR.sub(lambda m: m[1] + pairs(m[2]) + " " * after(m, 1).isalpha(), text))
    text = _JETS.sub(_jet, text)
    text = _FLIGHT.sub(lambda m: f"{'-'.join(m[1])} {pairs(m[2]) if len(m[2]) > 2 else cardinal(m[2])}", text)
    text = _RETIREMENT.sub(lambda m: f"{digits(m[1])} {m[2].upper()}" + (f" {m[3]}" if m[3] else ""), text)
    text = _SCREEN.sub(lambda m: f"{pairs(m[1])} {m[2].upper()}", text)
    text = _DOTTED_VERSION.sub(lambda m: f"{m[1]} {_parts(f'{m[2]}.{m[3]}')}", text)
    text = _VERSION.sub(lambda m: "version " + _parts(m[1] or m[2]), text)
    text = _THREE_PARTS.sub(lambda m: (" " if before(m, 1).isalpha() else "") + _parts(m[1]), text)
    return _MODEL.sub(_model, text)


def _is_year(number: str) -> bool:
    return len(number) == 4 and number[:2] in ("19", "20")
