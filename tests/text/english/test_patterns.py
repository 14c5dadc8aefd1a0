from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

import pytest

import mamtra.text.frontend  # noqa: F401 - with all rules
from mamtra.text.english.patterns import FigurePattern, Pattern

if sys.version_info >= (3, 11):
    from re import _constants as kinds
    from re import _parser as parser
else:
    import sre_constants as kinds
    import sre_parse as parser

FIGURES = frozenset(range(ord("0"), ord("9") + 1))


def patterns(value: object) -> Iterator[Pattern]:
    if isinstance(value, Pattern):
        yield value
    elif isinstance(value, list | tuple | dict):
        for each in value.values() if isinstance(value, dict) else value:
            yield from patterns(each)


RULES = [module for name, module in sorted(sys.modules.items()) if name.startswith("mamtra.text.english.")]
ALL = {id(each): each for module in RULES for value in vars(module).values() for each in patterns(value)}


def needs_figure(parsed: Iterable) -> bool:
    """Whether whatever matches a parsed pattern has a figure in it or beside it."""
    return any(_needs_figure(str(kind), about) for kind, about in parsed)


def _needs_figure(kind: str, about) -> bool:
    if kind == "LITERAL":
        return about in FIGURES
    if kind == "IN":
        return all(_needs_figure(str(each), what) for each, what in about)
    if kind == "RANGE":
        return set(range(about[0], about[1] + 1)) <= FIGURES
    if kind == "CATEGORY":
        return about == kinds.CATEGORY_DIGIT
    if kind in ("MAX_REPEAT", "MIN_REPEAT"):
        return about[0] > 0 and needs_figure(about[2])
    if kind == "BRANCH":
        return all(map(needs_figure, about[1]))
    return kind in ("SUBPATTERN", "ASSERT") and needs_figure(about[-1])


def test_patterns_of_figures_match_nothing_without_one() -> None:
    figures = [each for each in ALL.values() if isinstance(each, FigurePattern)]
    assert len(figures) > 100
    assert [each._about[0] for each in figures if not needs_figure(parser.parse(*each._about))] == []


@pytest.mark.parametrize("each", [Pattern(r"(\d)+"), FigurePattern(r"(\d)+")], ids=["any", "of figures"])
def test_a_pattern_is_what_re_compiles(each: Pattern) -> None:
    assert "_compiled" not in vars(each)
    assert each.sub("x", "no figure") == "no figure"
    assert ("_compiled" in vars(each)) is not isinstance(each, FigurePattern)
    assert (each.sub(r"<\1>", "a12"), each.groups, each.search("b3")[0]) == ("a<2>", 1, "3")
