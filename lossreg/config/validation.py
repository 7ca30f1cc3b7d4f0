"""Validation of a loss config: every problem at once, each with its path, and every default written out.

Three passes: resolution of names, validation of values, completion by defaults.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from pydantic_core import ValidationError

from lossreg.config.completion import completed
from lossreg.config.input_kinds import compare_inputs
from lossreg.config.places import with_places
from lossreg.config.plain_data import plain
from lossreg.config.resolution import Node, Problems, Resolver, Values, near
from lossreg.config.yaml_words import command_line_hint, hint
from lossreg.errors import InvalidConfigError, InvalidNameError
from lossreg.messages import invalid, join
from lossreg.registries import warn_unknown_providers


def complete(config: str | Mapping[str, Any], *, providers: Collection[str] | None = None) -> dict[str, Any]:
    """Return a config as plain data: checked, with every default written out. See `lossreg.validate`."""
    if isinstance(providers, str):
        message = f"providers is a set of names, got {providers!r}; write {{{providers!r}}}"
        raise InvalidNameError(message, name=providers)
    if providers is not None:
        warn_unknown_providers(providers)
    try:
        data = plain(config)
        problems = Problems(config)
        root = Resolver(None if providers is None else frozenset(providers), problems).node(data)
        check(root, problems)
        if root.children:
            compare_inputs(root, problems)
        if problems.found:
            raise invalid(problems.sorted())
    except InvalidConfigError as error:
        raise with_places(error, config) from error.__cause__
    return completed(root)


def check(node: Node, problems: Problems) -> None:
    """Validate the values of a node and of those within it, and convert integers where floats are meant."""
    for values in (node.beside, node.params):
        if values is not None:
            _check_values(node, values, problems)
    for child in node.children:
        check(child, problems)


def _check_values(node: Node, values: Values, problems: Problems) -> None:
    try:
        checked = values.record.check(values.given)
    except ValidationError as error:
        for path, message in _worded(error, node, values, problems):
            problems.add(node, path, message)
    else:
        values.given.clear()
        values.given.update(checked)


def _worded(error: ValidationError, node: Node, values: Values, problems: Problems) -> Iterator[tuple[str, str]]:
    """Word the errors of pydantic: the path of each, the allowed values, and the given one."""
    fields = values.record.fields
    details = error.errors(include_url=False, include_context=False, include_input=False)
    outer = [each for each in details if len(each["loc"]) == 1]
    extra = {str(each["loc"][0]): None for each in outer if each["type"] == "extra_forbidden"}
    missing = {str(each["loc"][0]): None for each in outer if each["type"] == "missing"}
    for name in extra:
        unknown = f"unknown parameter; {near(name, list(fields))}"
        yield join(values.path, name), (_unsettable(node, name) if values is node.params else "") or unknown
    for name in missing:
        yield join(values.path, name), f"missing; expected {fields[name].words()}"
    seen = set()
    for each in details:
        name, steps = str(each["loc"][0]), each["loc"][1:]
        if name in extra or name in missing:
            continue
        place = fields[name].locate(values.given[name], join(values.path, name), steps)
        if place is not None and place[0] not in seen:  # a union reports each of its members
            path, kind, value = place
            seen.add(path)
            why = "" if problems.in_file(path) else command_line_hint(kind, value)
            yield path, f"{kind.refusal(value)}{hint(kind, value, problems.written(path))}{why}"


def _unsettable(node: Node, name: str) -> str:
    """Explain a parameter that only the constructor can set. Nothing is imported for it: the class may be loaded."""
    entry = node.entry
    if entry is None or entry.cls is None or entry.requires is not None:
        return ""
    from lossreg.parameters.from_signature import unsettable_parameters  # imports pydantic's models, which takes time

    annotation = unsettable_parameters(entry.cls).get(name)
    reason = f"no plain data stands for its annotation ({annotation}); leave it out, and it keeps its default"
    return f"cannot be set from a config: {reason}" if annotation else ""
