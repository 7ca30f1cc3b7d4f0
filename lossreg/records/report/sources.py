"""Where the target and the prediction of an example are: a template of a path, a column, or a function that draws."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from os import PathLike, fspath
from pathlib import PurePath
from string import Formatter
from typing import Any

from lossreg.errors import InputError, LossregError
from lossreg.messages import did_you_mean, printable, with_type

Source = str | PathLike[str] | Callable[[Mapping[str, Any]], object]
Finder = Callable[[Mapping[str, Any]], object]  # gives a path, a picture, a mask, or None

_OF_PATH = ("name", "stem", "suffix", "parent")  # of the example's path, as in pathlib
_OF_EXAMPLE = ("path", *_OF_PATH, "dataset", "sample_id")


def finder(source: Source | None, parameter: str, columns: Collection[str]) -> Finder | None:
    """Turn what the caller gave into a function from an example to its picture.

    Args:
        source: a template such as "masks/{stem}.png"; the name of a column of paths; a function of an example; or None.
        parameter: the name of the parameter, for errors.
        columns: the user's own columns, which templates may name.
    Raises:
        InputError: a template without a field that is known.
    """
    if source is None:
        return None
    if callable(source):
        return _checked(source, parameter)
    text = fspath(source)
    if text in columns:
        return lambda example: example.get(text)
    pieces = _pieces(text, parameter, columns)
    return lambda example: _filled(pieces, example)


def _pieces(template: str, parameter: str, columns: Collection[str]) -> list[tuple[str, str | None]]:
    """Split a template into text and the names of fields. A field is a plain name: no attribute, index or format."""
    known = [*_OF_EXAMPLE, *columns]
    try:
        parsed = list(Formatter().parse(template))
    except ValueError as error:
        raise InputError(f"{parameter} {template!r:.200}: {error}; write a field as {{stem}}") from error
    for _, field, form, conversion in parsed:
        if field is not None and (field not in known or form or conversion):
            hint = did_you_mean(field, known, otherwise=f"write one of {', '.join(known)}, without a format")
            raise InputError(f"{parameter} {template!r:.200} has the unknown field {{{printable(field)}}}; {hint}")
    if not any(field for _, field, _, _ in parsed):
        hint = did_you_mean(template, columns, otherwise="write a template with a field, such as 'masks/{stem}.png'")
        raise InputError(f"{parameter} {template!r:.200} is no column of the records, and has no field; {hint}")
    return [(text, field) for text, field, _, _ in parsed]


def _filled(pieces: list[tuple[str, str | None]], example: Mapping[str, Any]) -> str | None:
    """Fill a template; None where the example lacks a field of it."""
    parts = []
    for text, field in pieces:
        value = _value(field, example) if field else ""
        if value is None:
            return None
        parts.append(f"{text}{value}")
    return "".join(parts)


def _value(field: str, example: Mapping[str, Any]) -> object:
    if field not in _OF_PATH:
        return example.get(field)
    path = example.get("path")
    return None if path is None else getattr(PurePath(path), field)


def _checked(function: Finder, parameter: str) -> Finder:
    def found(example: Mapping[str, Any]) -> object:
        try:
            return function(example)
        except LossregError:
            raise
        except Exception as error:
            name = printable(str(example.get("sample_id") or example.get("path")))
            raise InputError(
                f"{parameter} failed for the example {name!r:.200}: {with_type(error)};"
                " return None where there is nothing to show"
            ) from error

    return found
