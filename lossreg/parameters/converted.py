"""Arguments of a constructor, converted: members of an Enum, paths, sets and dataclasses for the data of a config."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from weakref import WeakKeyDictionary

from pydantic import ValidationError

from lossreg.errors import LossregError, Problem
from lossreg.messages import invalid, join, shown, with_type
from lossreg.parameters.constructor import EMPTY, Parameter, constructor_parameters
from lossreg.parameters.conversion import Conversion
from lossreg.parameters.defaults import annotation_of
from lossreg.parameters.hints import needs_conversion
from lossreg.parameters.kind import ANNOTATIONS

Convert = Callable[[Any], Any]
Schemas = Mapping[str, Mapping[str, Any]]  # by parameter

_conversions: WeakKeyDictionary[type, dict[str, Convert]] = WeakKeyDictionary()


def convert(cls: type, arguments: dict[str, Any], path: str, described: Schemas | None = None) -> None:
    """Convert the arguments of a constructor in place.

    Args:
        cls: the class.
        arguments: checked data, with modules, tensors and functions in their places.
        path: the place of the arguments in the config.
        described: the schemas by which they were checked, if another package wrote these: a parameter that it
            describes otherwise than its annotation does gets the data.
    Raises:
        InvalidConfigError: a validator refuses a value.
    """
    problems: list[Problem] = []
    for name, conversion in _conversions_of(cls).items():
        kept = described is None or conversion is _whole or _is_own(cls, name, described)
        if name not in arguments or not kept:
            continue
        try:
            arguments[name] = conversion(arguments[name])
        except ValidationError as error:
            problems += _worded(error, arguments[name], join(path, name))
        except (TypeError, ValueError, LossregError) as error:
            problems.append(Problem(join(path, name), with_type(error)))
    if problems:
        raise invalid(problems)


def _conversions_of(cls: type) -> dict[str, Convert]:
    """Return the conversion of each parameter that needs one. Cached."""
    if cls not in _conversions:
        found = {}
        for name, parameter in constructor_parameters(cls).items():
            conversion = _conversion(parameter)
            if conversion is not None:
                found[name] = conversion
        _conversions[cls] = found
    return _conversions[cls]


def _conversion(parameter: Parameter) -> Convert | None:
    hint, default = annotation_of(parameter), parameter.default
    if hint is EMPTY and type(default) is int:
        return _whole
    if hint is EMPTY:
        return (lambda value: _like(default, value)) if isinstance(default, tuple) else None
    if not needs_conversion(hint):
        return None
    from lossreg.parameters.from_annotation import schema_of  # imports more of pydantic

    if schema_of(hint) is None:
        return None
    conversion = Conversion(hint)
    if default is None:  # `weight: Path = None`
        return lambda value: None if value is None else conversion(value)
    return conversion


def _whole(value: Any) -> Any:
    """Make an int of a whole number again, which validation made a float: an unannotated default of 1 allows 0.5."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _like(default: object, value: Any) -> Any:
    """Make tuples of the lists where an unannotated default has tuples."""
    if not isinstance(default, tuple) or not isinstance(value, list):
        return value
    models = [*default, *[default[-1] if default else None] * len(value)]
    return tuple(_like(model, item) for model, item in zip(models, value, strict=False))


def _is_own(cls: type, name: str, described: Schemas) -> bool:
    """Return whether a schema is that of the parameter's own annotation."""
    from lossreg.parameters.from_signature import parameter_schema

    own = json.loads(json.dumps(parameter_schema(cls, constructor_parameters(cls)[name])))
    given = described.get(name, {})
    return all(own.get(key) == given.get(key) for key in {*own, *given} - ANNOTATIONS)


def _worded(error: ValidationError, value: Any, path: str) -> Iterator[Problem]:
    """Word the errors of pydantic, each at its place in the value."""
    seen = set()
    for each in error.errors(include_url=False, include_context=False, include_input=False):
        where, held = path, value
        for step in each["loc"][1:]:
            if step == "[key]":
                held = each["loc"][-2]
            elif _leads_on(held, step):  # else it is the name of a union's member, or of a validator
                where, held = join(where, step), held[step]
        if where not in seen:
            seen.add(where)
            yield Problem(where, f"{each['msg'].removeprefix('Value error, ')}, got {shown(held)}")


def _leads_on(value: Any, step: int | str) -> bool:
    if isinstance(value, list):
        return isinstance(step, int) and step < len(value)
    return isinstance(value, dict) and step in value
