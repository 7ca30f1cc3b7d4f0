"""Annotations, taken apart: what they stand for, what they hold, and how pydantic takes them."""

from __future__ import annotations

import types
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum, Flag
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    NewType,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import typing_extensions
from typing_extensions import is_typeddict

from lossreg.parameters.types import Functions, Part, is_module, is_tensor, torch_base

ITERABLES = (list, Sequence, Iterable, Collection)  # a list is one of each


class Field(NamedTuple):
    """A named value of a TypedDict, a dataclass, a NamedTuple or a model of pydantic."""

    hint: Any
    required: bool
    default: Any = None


def unnamed(hint: Any) -> Any:
    """Return what a NewType or a `type X = ...` stands for; any other annotation as it is."""
    while isinstance(hint, NewType) or type(hint).__name__ == "TypeAliasType":
        hint = hint.__supertype__ if isinstance(hint, NewType) else hint.__value__
    return hint


def is_union(hint: Any) -> bool:
    """Return whether an annotation is a union in either form."""
    return get_origin(hint) in (Union, types.UnionType)


def is_namedtuple(hint: Any) -> bool:
    """Return whether an annotation is a class made by NamedTuple or namedtuple."""
    return isinstance(hint, type) and issubclass(hint, tuple) and hasattr(hint, "_fields")


def fields_of(hint: Any) -> dict[str, Field] | None:
    """Return the fields of a class with named values; None for any other annotation."""
    if is_typeddict(hint):
        return {name: _item(hint, name, held) for name, held in _hints(hint).items()}
    if is_namedtuple(hint):
        held = _hints(hint)
        return {name: Field(held.get(name, Any), name not in hint._field_defaults) for name in hint._fields}
    if isinstance(hint, type) and is_dataclass(hint):
        held = _hints(hint)
        given = [each for each in fields(hint) if each.init]
        return {each.name: _dataclass_field(held[each.name], each) for each in given}
    if isinstance(hint, type) and hasattr(hint, "model_fields"):  # of pydantic, which need not be imported
        return {each.alias or name: _model_field(each) for name, each in hint.model_fields.items()}
    return None


def holds_slot(hint: Any, within: tuple[Any, ...] = ()) -> bool:
    """Return whether a value of this annotation holds a module, a tensor or a function."""
    hint = unnamed(hint)
    if isinstance(hint, (Part, Functions)) or is_module(hint) or is_tensor(hint):
        return True
    if any(hint is each for each in within):  # a class that holds itself
        return False
    held = [each.hint for each in (fields_of(hint) or {}).values()]
    return any(holds_slot(each, (*within, hint)) for each in (*get_args(hint), *held))


def needs_conversion(hint: Any, within: tuple[Any, ...] = ()) -> bool:
    """Return whether data of an annotation's schema is not yet what the annotation promises.

    Numbers, text, lists, mappings with text as keys and unions of them are, and so are modules and tensors.
    """
    hint = unnamed(hint)
    origin, arguments = get_origin(hint), get_args(hint)
    if any(hint is each for each in (float, int, bool, str, None, type(None), Any, object, list, dict)):
        return False
    if is_module(hint) or is_tensor(hint):
        return False
    if any(hint is each for each in within):  # a class that holds itself
        return False

    def needs(*parts: Any) -> bool:
        return any(needs_conversion(part, (*within, hint)) for part in parts)

    if origin is Annotated:
        return not _is_function(hint) and (needs(arguments[0]) or not all(map(_only_bounds, arguments[1:])))
    if origin is Literal:
        return any(isinstance(value, Enum) for value in arguments)
    if is_union(hint) or origin in ITERABLES or origin in (NotRequired, Required):
        return needs(*arguments)
    if origin in (dict, Mapping) and arguments:
        return arguments[0] is not str or needs(arguments[1])
    if is_typeddict(hint):
        return needs(*(each.hint for each in (fields_of(hint) or {}).values()))
    return origin not in (dict, Mapping)


def for_pydantic(hint: Any) -> Any:
    """Return an annotation that pydantic takes, in place of one that it refuses or understands otherwise."""
    hint = unnamed(hint)
    origin, arguments = get_origin(hint), get_args(hint)
    if hint in ITERABLES:
        return list
    if origin is not None and not arguments:  # typing.List
        return for_pydantic(origin)
    if is_module(hint) or is_tensor(hint):
        return torch_base(hint)  # any loss fits a slot
    if is_typeddict(hint):
        return _typed_dict(hint)
    if origin is Annotated:
        return Any if _is_function(hint) else Annotated[(for_pydantic(arguments[0]), *arguments[1:])]
    if origin is Literal and any(isinstance(value, Enum) for value in arguments):
        return _looked_up({value.value if isinstance(value, Enum) else value: value for value in arguments})
    if is_union(hint):
        return Union[tuple(map(for_pydantic, arguments))]  # noqa: UP007
    if origin in ITERABLES:  # of an Iterable pydantic makes a generator, which ends after one pass
        return types.GenericAlias(list, (for_pydantic(arguments[0]),))
    if origin in (dict, Mapping):
        return types.GenericAlias(dict, (_key(arguments[0]), for_pydantic(arguments[1])))
    if origin in (tuple, set, frozenset):
        return origin[tuple(each if each is Ellipsis else for_pydantic(each) for each in arguments)]
    return hint


def key_text(value: object) -> str:
    """Write a key as a config has it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _hints(cls: Any) -> dict[str, Any]:
    return get_type_hints(cls, include_extras=True)


def _item(hint: Any, name: str, held: Any) -> Field:
    """Return a key of a TypedDict. Its own mark counts: `__required_keys__` does not know one that is text."""
    origin = get_origin(held)
    bare = get_args(held)[0] if origin in (Required, NotRequired) else held
    return Field(bare, origin is Required or (origin is not NotRequired and name in hint.__required_keys__))


def _dataclass_field(hint: Any, field: Any) -> Field:
    given = None if field.default is MISSING else field.default
    return Field(hint, field.default is field.default_factory is MISSING, given)


def _model_field(field: Any) -> Field:
    hint = Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
    return Field(hint, field.is_required(), None if field.is_required() else field.default)


def _is_function(hint: Any) -> bool:
    return any(isinstance(each, Functions) for each in get_args(hint))


def _only_bounds(mark: Any) -> bool:
    """Return whether a mark in Annotated adds nothing to JSON Schema."""
    if isinstance(mark, (Part, str)):
        return True
    if type(mark).__module__ == "annotated_types":
        return type(mark).__name__ in ("Ge", "Gt", "Le", "Lt", "Interval", "MultipleOf", "MinLen", "MaxLen", "Len")
    return type(mark).__module__ == "pydantic.fields"


def _typed_dict(hint: Any) -> Any:
    """Return a copy by typing_extensions, which pydantic requires before Python 3.12."""
    held = {
        name: for_pydantic(each.hint) if each.required else typing_extensions.NotRequired[for_pydantic(each.hint)]
        for name, each in (fields_of(hint) or {}).items()
    }
    make: Any = typing_extensions.TypedDict
    return make(hint.__name__, held)


def _key(hint: Any) -> Any:
    """Return an annotation of keys. Listed ones are looked up by their text."""
    hint = unnamed(hint)
    if get_origin(hint) is Literal:
        listed = get_args(hint)
    elif isinstance(hint, type) and issubclass(hint, Enum) and not issubclass(hint, Flag):
        listed = tuple(hint)
    else:
        return for_pydantic(hint)
    return _looked_up({key_text(value.value if isinstance(value, Enum) else value): value for value in listed})


def _looked_up(values: Mapping[Any, Any]) -> Any:
    """Return an annotation of the keys of a table; the constructor gets their values."""
    from pydantic import AfterValidator

    return Annotated[Literal[tuple(values)], AfterValidator(values.__getitem__)]
