"""Calls of public functions: an argument of the wrong type, and what `in_words` explains, is a sentence wherever it shows."""

from __future__ import annotations

import builtins
import inspect
import numbers
import sys
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from typing import Any, Literal, ParamSpec, TypeVar, Union

from mamtra.errors import MamTraError
from mamtra.runtime.explain import in_words

P = ParamSpec("P")
R = TypeVar("R")

_WORDS = {
    str: "a string", int: "a whole number", float: "a number", bool: "true or false", type(None): "None",
    "PathLike": "a path", "Callable": "a function", "Mapping": "a mapping", "dict": "a mapping", "Sequence": "a list",
    "list": "a list", "tuple": "a list", "Iterable": "an iterable", "Iterator": "an iterator",
}  # fmt: skip


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Check every call of a function against its annotations.

    A whole number passes for a number, and numpy's numbers for Python's; truth values are no numbers. An annotation that only type
    checkers know, or of a kind that is not known here, is not checked; nor are values: what is out of range the function refuses.

    Returns:
        The function, which raises `MamTraError` where an argument is of another type, and as `in_words` does.
    """
    signature = inspect.signature(function)
    wanted: dict[str, Any] = {}

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            bound = signature.bind(*args, **kwargs).arguments
        except TypeError:  # too many, too few or unknown ones, which Python explains better
            return function(*args, **kwargs)
        if not wanted:
            wanted.update(_annotations(function, signature))
        for name, value in _given(signature, bound):
            kind = wanted[name if name in wanted else next(reversed(wanted))]
            if not _fits(value, kind):
                where = function.__qualname__.removesuffix(".__init__")
                raise MamTraError(f"{where}: {name} has to be {_words(kind)}, not {_found(value, kind)}.")
        with in_words():
            return function(*args, **kwargs)

    return call


def _given(signature: inspect.Signature, bound: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Name and value of every argument; those of ``*args`` have the name of the parameter, those of ``**kwargs`` their own."""
    for name, value in bound.items():
        kind = signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_KEYWORD:
            yield from value.items()
        elif kind is inspect.Parameter.VAR_POSITIONAL:
            yield from ((name, one) for one in value)
        else:
            yield name, value


def _annotations(function: Callable, signature: inspect.Signature) -> dict[str, Any]:
    """The type of every parameter, in their order; Any where there is none, or none that is known when the program runs."""
    names, found = _Names(vars(sys.modules[function.__module__])), {}
    for name, parameter in signature.parameters.items():
        kind = parameter.annotation
        if isinstance(kind, str):
            kind = eval(kind, {}, names)  # the package's own source
        found[name] = Any if kind is inspect.Parameter.empty else kind
    return found


class _Names(dict):
    """Names of a module and of Python; one that only type checkers import is Any, and torch what nothing is until it is loaded."""

    def __missing__(self, name: str) -> Any:
        if name == "torch":
            return sys.modules.get(name) or _NotLoaded
        return getattr(builtins, name, Any)


class _OfNothing(type):
    def __getattr__(cls, name: str) -> type:
        return _OfNothing(name, (), {})


class _NotLoaded(metaclass=_OfNothing):
    """A module whose types no value can have."""


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value is of an annotated type. Lists and mappings are looked into, but nothing that can be read only once."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        return any(_fits(value, one) for one in inner)
    if origin is Literal:
        return isinstance(value, tuple(map(type, inner)))
    if kind is Any or kind is None:
        return kind is Any or value is None
    if kind is bool:
        return isinstance(value, bool) or type(value).__name__ == "bool"  # numpy's
    if kind in (int, float):
        return isinstance(value, numbers.Integral if kind is int else numbers.Real) and not isinstance(value, bool)
    if origin is None:
        if getattr(kind, "_is_protocol", False):
            return callable(value) or "__call__" not in vars(kind)
        return not isinstance(kind, type) or isinstance(value, kind)
    if not isinstance(origin, type):
        return True
    if isinstance(value, str | bytes) or not isinstance(value, origin):  # a string is no list of strings
        return False
    if isinstance(value, Mapping) and len(inner) == 2:
        return all(_fits(k, inner[0]) and _fits(v, inner[1]) for k, v in value.items())
    return not (isinstance(value, list | tuple) and inner) or all(_fits(one, inner[0]) for one in value)


def _words(kind: Any) -> str:
    """An annotated type in words, such as "a string or None"."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        *first, last = dict.fromkeys(map(_words, inner))
        return f"{', '.join(first)} or {last}" if first else last
    if origin is Literal:
        return _words(type(inner[0]))
    name = getattr(origin or kind, "__name__", str(kind))
    word = (
        (None if origin else _WORDS.get(kind)) or _WORDS.get(name) or f"{'an' if name[:1] in 'AEIOU' else 'a'} {name}"
    )
    return (
        f"{word} of {_plural(inner[0])}"
        if inner and name in ("Sequence", "Iterable", "Iterator", "list", "tuple")
        else word
    )


def _plural(kind: Any) -> str:
    return " or ".join(f"{words.partition(' ')[2]}s" for words in _words(kind).split(" or "))


def _found(value: Any, kind: Any) -> str:
    """The type of a value, or what is wrong inside of a list or mapping."""
    for one in (kind, *typing.get_args(kind)):
        origin, inner = typing.get_origin(one), typing.get_args(one)
        if inner and isinstance(origin, type) and isinstance(value, origin) and isinstance(value, list | tuple):
            wrong = next((entry for entry in value if not _fits(entry, inner[0])), None)
            return f"one with {_found(wrong, inner[0])} in it"
    return type(value).__name__
