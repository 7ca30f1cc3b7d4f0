"""The check of a loss config: every problem at once, each with its path, and every default written out."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from copy import deepcopy
from difflib import get_close_matches
from typing import Any

from pydantic_core import ValidationError

from lossreg.config.plain_data import plain
from lossreg.errors import AmbiguousNameError, InvalidNameError, NotFoundError, Problem
from lossreg.messages import invalid, join, shown
from lossreg.parameters.traverse import map_nested
from lossreg.parameters.types import LOSS, TENSOR, role_of
from lossreg.parameters.validator import Schema, model
from lossreg.parameters.wording import words
from lossreg.registries import hooks, losses, parts, warn_unknown_providers
from lossreg.registry.entry import Entry
from lossreg.registry.registry import Registry

MAX_NESTING = 16  # losses within losses
MAX_PROBLEMS = 100  # each may look for similar names, which takes time
KEYS = ("name", "params", "provider", "version")


def complete(config: str | Mapping[str, Any], *, providers: Collection[str] | None = None) -> dict[str, Any]:
    """A config as plain data, checked, with every default written out. See `config.validate`."""
    if isinstance(providers, str):
        message = f"providers is a set of names, got {providers!r}; write {{{providers!r}}}"
        raise InvalidNameError(message, name=providers)
    if providers is not None:
        warn_unknown_providers(providers)
    checker = _Checker(None if providers is None else frozenset(providers))
    checked = checker.node(plain(config), "", {}, 0)
    if checker.problems:
        raise invalid(checker.problems)
    return checked


def parameters(entry: Entry, registry: Registry[Any] = losses) -> Schema:
    """JSON Schema of an entry's parameters: from its manifest, else from its class, which is loaded."""
    described = entry.metadata.get("parameters")
    if isinstance(described, dict):
        return described
    cls = registry.get(entry.full_name)
    from lossreg.parameters.from_signature import describe  # with pydantic's models, which take their time

    return describe(cls)


def registry_of(role: str) -> Registry[Any]:
    """Where the names in a slot are looked up."""
    return losses if role == LOSS else parts


class _Checker:
    """Walks a plain config, collecting problems; what it returns is complete if there are none."""

    def __init__(self, providers: frozenset[str] | None) -> None:
        self.providers = providers
        self.problems: list[Problem] = []

    def problem(self, path: str, message: str) -> None:
        self.problems.append(Problem(path, message))
        if len(self.problems) == MAX_PROBLEMS:
            raise invalid([*self.problems, Problem("", f"not checked further after {MAX_PROBLEMS} problems")])

    def node(self, value: Any, path: str, slot: Schema, depth: int) -> dict[str, Any]:
        """A config, with the extra keys that its slot allows beside name and params."""
        role = role_of(slot) or LOSS
        if isinstance(value, str):
            value = {"name": value}
        if not isinstance(value, dict):
            self.problem(path, f"expected a {role} name or {{name, params}}, got {shown(value)}")
            return {}
        if depth > MAX_NESTING:
            self.problem(path, f"losses are nested deeper than {MAX_NESTING}")
            return {}
        registry = registry_of(role)
        self.transform(value, registry)
        entry = self.entry(value, path, role, registry)
        siblings = slot.get("properties", {})
        self.unknown_keys(value, path, siblings, entry, registry)
        extra = {key: item for key, item in value.items() if key in siblings}
        checked = self.record(extra, slot, path, depth) if siblings else {}
        if entry is None:
            return checked
        params = value.get("params")
        if params is not None and not isinstance(params, dict):
            self.problem(join(path, "params"), f"expected a mapping of parameters, got {shown(params)}")
            params = None
        filled = self.record(params or {}, parameters(entry, registry), join(path, "params"), depth)
        source = {"provider": entry.provider, "version": entry.version}
        known = {key: item for key, item in source.items() if item is not None}
        return {**checked, "name": entry.name, "params": filled, **known}

    def transform(self, value: dict[str, Any], registry: Registry[Any]) -> None:
        """Migrate a config in place, as the hooks say."""
        manager = hooks()  # first: one of them may register the name
        name = _full_name(value)
        entry = registry.entry(name) if name is not None and name in registry else None
        manager.call("lossreg_transform_config", config=value, entry=entry)

    def entry(self, value: dict[str, Any], path: str, role: str, registry: Registry[Any]) -> Entry | None:
        where = join(path, "name")
        for key in ("name", "provider", "version"):
            if not isinstance(value.get(key, ""), str):
                self.problem(join(path, key), f"expected text, got {shown(value[key])}")
                return None
        if value.get("name") is None:
            self.problem(where, f"missing; expected the name of a registered {role}")
            return None
        try:
            entry = registry.entry(_full_name(value) or "")
        except (NotFoundError, AmbiguousNameError) as error:
            names = "" if role == LOSS else f"; allowed are {', '.join(registry.filter_by_tag(role)) or 'none'}"
            self.problem(where, f"{error}{names}")
            return None
        if entry.off:
            self.problem(where, entry.off)
            return None
        if role != LOSS and role not in (entry.tags or ()):
            allowed = ", ".join(registry.filter_by_tag(role)) or "none"
            self.problem(where, f"{entry.full_name} is no {role}; allowed are {allowed}")
            return None
        if self.providers is not None and entry.provider not in self.providers:
            allowed = ", ".join(sorted(self.providers)) or "none"
            self.problem(where, f"{entry.full_name} is not allowed here; allowed providers: {allowed}")
            return None
        return entry

    def unknown_keys(
        self, value: dict[str, Any], path: str, siblings: Schema, entry: Entry | None, registry: Registry[Any]
    ) -> None:
        for key in value:
            if key in KEYS or key in siblings:
                continue
            if entry is not None and key in parameters(entry, registry)["properties"]:
                self.problem(
                    join(path, key), f"unknown key; {key!r} is a parameter of {entry.name}: put it under params"
                )
            else:
                self.problem(join(path, key), "unknown key; " + _near(key, ["name", "params", *siblings]))

    def record(self, given: dict[str, Any], schema: Schema, path: str, depth: int) -> dict[str, Any]:
        """Values of named parameters: checked, nested losses included, and completed by the defaults."""
        properties = schema["properties"]
        values = given
        try:
            values = model(schema).validate_python(given)
        except ValidationError as error:
            self.translate(error, given, schema, path)
        # Copied: what the caller does to the result must not change the defaults of everybody.
        defaults = {name: deepcopy(part["default"]) for name, part in properties.items() if "default" in part}

        def check(slot: Schema, value: Any, where: str) -> Any:
            checked_above = role_of(slot) in (None, TENSOR)
            return value if checked_above else self.node(value, where, slot, depth + 1)

        return {
            name: map_nested(properties[name], value, join(path, name), check)
            for name, value in (defaults | values).items()
            if name in properties
        }

    def translate(self, error: ValidationError, given: dict[str, Any], schema: Schema, path: str) -> None:
        """pydantic's verdict in our words: where, what is allowed, what was given."""
        properties = schema["properties"]
        details = error.errors(include_url=False, include_context=False, include_input=False)
        missing = {str(e["loc"][0]): None for e in details if e["type"] == "missing" and len(e["loc"]) == 1}
        extra = {str(e["loc"][0]): None for e in details if e["type"] == "extra_forbidden"}
        for name in extra:
            self.problem(join(path, name), "unknown parameter; " + _near(name, list(properties)))
        for name in missing:
            self.problem(join(path, name), f"missing; expected {words(properties[name])}")
        seen = set()
        for detail in details:
            name, rest = str(detail["loc"][0]), list(detail["loc"][1:])
            if name in missing or name in extra:
                continue
            where, part, value = _locate(join(path, name), properties[name], given[name], rest)
            if where not in seen:  # a union reports each of its members
                seen.add(where)
                self.problem(where, f"expected {words(part)}, got {shown(value)}{_number_hint(part, value)}")


def _full_name(config: dict[str, Any]) -> str | None:
    """The name with the provider that picks it, if the config says one; None without a name."""
    name, provider = config.get("name"), config.get("provider")
    if not isinstance(name, str):
        return None
    return f"{provider}/{name}" if isinstance(provider, str) and not name.startswith(f"{provider}/") else name


def _locate(path: str, schema: Schema, value: Any, rest: list[int | str]) -> tuple[str, Schema, Any]:
    """Follow pydantic's location as far as values and schema go; what it adds for union members leads nowhere."""
    for step in rest:
        if isinstance(step, int) and isinstance(value, list) and step < len(value) and "anyOf" not in schema:
            parts = schema.get("prefixItems", [])
            schema = parts[step] if step < len(parts) else schema.get("items", {})
        elif isinstance(step, str) and isinstance(value, dict) and isinstance(schema.get("additionalProperties"), dict):
            if step not in value:
                break
            schema = schema["additionalProperties"]
        else:
            break
        path, value = join(path, step), value[step]
    return path, schema, value


def _near(name: str, allowed: list[str]) -> str:
    close = get_close_matches(name, allowed, n=1)
    return f"did you mean {close[0]!r}?" if close else f"allowed are {', '.join(allowed) or 'none'}"


def _number_hint(schema: Schema, value: Any) -> str:
    """YAML 1.1 reads 1e-6 as text, because it lacks a dot, and 1.0e6, because it lacks a sign."""
    if not isinstance(value, str) or "number" not in words(schema):
        return ""
    try:
        number = float(value)
    except ValueError:
        return ""
    if not math.isfinite(number):
        return ""
    if "e" not in value.lower():
        return f"; write the number without quotes: {number!r}"
    digits, exponent = f"{number:.15e}".split("e")
    mantissa = repr(float(digits.rstrip("0")))
    written = f"{mantissa}e{int(exponent):+d}"
    return f"; YAML takes {value} for text, as it wants a dot and a signed exponent: write {written}"
