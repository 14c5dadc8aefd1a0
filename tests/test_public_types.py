"""Every public function answers an argument of the wrong type with one sentence that names it."""

import importlib
import inspect
import pkgutil

import pytest

import mamtra
from mamtra.errors import MamTraError

OTHERS = {"mamtra.hf": "classes and calls of transformers", "mamtra.cli": "the command line, whose arguments are words"}
"""Packages with other manners."""


def _functions():
    """Name and function of everything public: functions, and the methods of classes but not the constructors of values."""
    rooms = [f"mamtra.{room.name}" for room in pkgutil.iter_modules(mamtra.__path__) if room.ispkg]
    for package in ("mamtra", *rooms):
        for name in () if package in OTHERS else getattr(importlib.import_module(package), "__all__", ()):
            value = getattr(importlib.import_module(package), name)
            if inspect.isfunction(value):
                yield f"{package}.{name}", value
            elif inspect.isclass(value):
                for method, each in vars(value).items():
                    each = getattr(each, "__func__", each)
                    if inspect.isfunction(each) and not method.startswith("_") and each.__doc__:
                        yield f"{name}.{method}", each
    yield "TTS", mamtra.TTS.__init__


def _parameters():
    """Every parameter that has a type of its own."""
    for name, function in dict(_functions()).items():
        for parameter in list(inspect.signature(function).parameters.values()):
            if parameter.annotation not in (inspect.Parameter.empty, "Any", "object"):
                yield pytest.param(function, parameter, id=f"{name}-{parameter.name}")


def _required(function):
    """Arguments of the right type for what has to be there before the one that is tested."""
    stand_ins = {"Model": object.__new__(importlib.import_module("mamtra.synthesis.model").Model)}
    stand_ins["TTS"] = object.__new__(mamtra.TTS)
    stand_ins["Voice"] = object.__new__(mamtra.Voice)
    stand_ins["DistillConfig"] = importlib.import_module("mamtra.distill").DistillConfig.model_construct()
    stand_ins["RankingTable"] = object.__new__(importlib.import_module("mamtra.conversion.ranking_table").RankingTable)
    found = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.default is not inspect.Parameter.empty or parameter.kind.name.startswith("VAR"):
            continue
        kind = str(parameter.annotation)
        simple = {
            "int": 1,
            "float": 1.0,
            "list[int]": [1],
            "Iterable[int]": [1],
            "Sequence[Audio]": [],
            "dict[str, Any]": {},
        }
        found[parameter.name] = stand_ins.get(kind, simple.get(kind, "x"))
        if kind.startswith(("Sequence[str", "Iterable[str")):
            found[parameter.name] = ["x"]
        if kind.startswith("Mapping"):
            found[parameter.name] = {}
    return found


@pytest.mark.parametrize(("function", "parameter"), _parameters())
def test_a_wrong_type_is_one_sentence(function, parameter):
    given, words = _required(function), ()
    if "self" in inspect.signature(function).parameters or "cls" in inspect.signature(function).parameters:
        given[next(iter(inspect.signature(function).parameters))] = object()
    if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
        words = (*given.values(), object())
        given = {}
    else:
        given[parameter.name] = object()
    with pytest.raises(MamTraError) as error:
        function(*words, **given)
    said = str(error.value)
    assert f": {parameter.name} has to be " in said and said.endswith(".") and said.count("\n") == 0
