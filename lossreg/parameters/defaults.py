"""Defaults of parameters as plain data, which a config holds and a manifest stores."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Set
from typing import Any

from lossreg.parameters.constructor import EMPTY, Parameter
from lossreg.parameters.conversion import Conversion
from lossreg.parameters.hints import holds_slot, needs_conversion


def is_plain(value: object) -> bool:
    """Return whether a value is the same once it was written as JSON, but for tuples, which become lists."""
    if isinstance(value, (list, tuple)):
        return not hasattr(value, "_fields") and all(map(is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_plain(item) for key, item in value.items())
    return value is None or type(value) in (bool, int, str) or (type(value) is float and math.isfinite(value))


def annotation_of(parameter: Parameter) -> Any:
    """Return the annotation of a parameter; without one, the type of a default such as a path or an Enum's member."""
    default = parameter.default
    if parameter.hint is not EMPTY or default is EMPTY or is_plain(default):
        return parameter.hint
    implied = type(default)
    return implied if needs_conversion(implied) and not holds_slot(implied) else EMPTY


def default_as_data(hint: Any, default: object) -> Any:
    """Return a default as plain data; EMPTY if the constructor would receive another value for it."""
    if default is EMPTY:
        return EMPTY
    if is_plain(default) and (default is None or hint is EMPTY or holds_slot(hint) or not needs_conversion(hint)):
        return json.loads(json.dumps(default))  # tuples as lists
    if hint is EMPTY or holds_slot(hint):
        return EMPTY
    try:
        conversion = Conversion(hint)
        data = json.loads(json.dumps(default)) if is_plain(default) else _sorted(default, conversion.as_data(default))
        received = conversion(data)
        same = _sorted(received, conversion.as_data(received)) == data
    except Exception:  # noqa: BLE001 - the default of another type, or a validator that raises anything
        return EMPTY
    return data if same and is_plain(data) and (is_plain(default) or _equal(received, default)) else EMPTY


def _sorted(value: object, data: Any) -> Any:
    """Sort the items of sets, at any depth: their order differs between processes."""
    if isinstance(data, list) and isinstance(value, Collection):
        items = [_sorted(*pair) for pair in zip(value, data, strict=True)]
        return sorted(items, key=json.dumps) if isinstance(value, Set) else items
    if isinstance(data, dict):
        held = value.values() if isinstance(value, Mapping) else [getattr(value, key, None) for key in data]
        return {key: _sorted(each, data[key]) for key, each in zip(data, held, strict=True)}
    return data


def _equal(one: object, other: object) -> bool:
    return one == other or (type(one) is type(other) and type(one).__eq__ is object.__eq__)
