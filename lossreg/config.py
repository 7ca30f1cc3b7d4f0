"""A loss config: `{name, params}`, validated to the last parameter before anything is built."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from copy import deepcopy
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lossreg.discovery import losses
from lossreg.entry import Entry
from lossreg.errors import AmbiguousNameError, DisabledError, NotFoundError, Problem
from lossreg.parameter_model import model
from lossreg.parameters import Schema, describe
from lossreg.plain import invalid, join, plain, shown
from lossreg.words import words

MAX_NESTING = 16  # losses within losses
MAX_PROBLEMS = 100  # each may look for similar names, which takes time
KEYS = ("name", "params", "provider", "version")


class LossConfig(BaseModel):
    """A loss by name and parameters. What `validate` returns is complete: every default is written out.

    name: registered name, alias or provider/name. provider and version: what built it, for saved configs; a provider
    also picks among those that share a name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    params: dict[str, Any] = Field(default_factory=dict)
    provider: str | None = None
    version: str | None = None


ConfigLike = str | Mapping[str, Any] | LossConfig


def validate(config: ConfigLike, *, providers: Collection[str] | None = None) -> LossConfig:
    """Check a config completely and fill in the defaults.

    Imports neither torch nor the loss when a manifest describes it.

    Args:
        config: a name, {name, params}, any Mapping of that form, or a LossConfig.
        providers: allow only the losses of these providers, at any depth.
    Raises:
        InvalidConfigError: every problem at once, each with its path.
        ProviderError: a loss had to be loaded and its package is broken.
    """
    if isinstance(config, LossConfig):
        config = config.model_dump(exclude_none=True)
    checker = _Checker(None if providers is None else frozenset(providers))
    checked = checker.node(plain(config), "", {}, 0)
    if checker.problems:
        raise invalid(checker.problems)
    return LossConfig(**checked)


def parameters(entry: Entry) -> Schema:
    """JSON Schema of an entry's parameters: from its manifest, else from its class, which is loaded."""
    described = entry.metadata.get("parameters")
    if isinstance(described, dict):
        return described
    return describe(losses.get(entry.full_name))


def map_nested(schema: Schema, value: Any, path: str, change: Callable[[Schema, Any, str], Any]) -> Any:
    """A parameter's value with every nested loss config replaced by `change(its schema, config, path)`."""
    if "$ref" in schema:
        return change(schema, value, path)
    if isinstance(value, list) and isinstance(items := schema.get("items"), dict):
        return [map_nested(items, item, join(path, index), change) for index, item in enumerate(value)]
    if isinstance(value, dict) and isinstance(values := schema.get("additionalProperties"), dict):
        return {key: map_nested(values, item, join(path, key), change) for key, item in value.items()}
    for part in schema.get("anyOf", ()):
        # A loss is a name or a mapping, a list of losses a list: the kind of the value tells which part is meant.
        if isinstance(
            value, {"array": list, "object": dict}.get(part.get("type"), (str, dict) if "$ref" in part else ())
        ):
            return map_nested(part, value, path, change)
    return value


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
        """A loss config, with the extra keys that its slot allows beside name and params."""
        if isinstance(value, str):
            value = {"name": value}
        if not isinstance(value, dict):
            self.problem(path, f"expected a loss name or {{name, params}}, got {shown(value)}")
            return {}
        if depth > MAX_NESTING:
            self.problem(path, f"losses are nested deeper than {MAX_NESTING}")
            return {}
        entry = self.entry(value, path)
        siblings = slot.get("properties", {})
        self.unknown_keys(value, path, siblings, entry)
        extra = {key: item for key, item in value.items() if key in siblings}
        checked = self.record(extra, slot, path, depth) if siblings else {}
        if entry is None:
            return checked
        params = value.get("params")
        if params is not None and not isinstance(params, dict):
            self.problem(join(path, "params"), f"expected a mapping of parameters, got {shown(params)}")
            params = None
        filled = self.record(params or {}, parameters(entry), join(path, "params"), depth)
        source = {"provider": entry.provider, "version": entry.version}
        known = {key: item for key, item in source.items() if item is not None}
        return {**checked, "name": entry.name, "params": filled, **known}

    def entry(self, value: dict[str, Any], path: str) -> Entry | None:
        where = join(path, "name")
        name, provider = value.get("name"), value.get("provider")
        for key in ("name", "provider", "version"):
            if not isinstance(value.get(key, ""), str):
                self.problem(join(path, key), f"expected text, got {shown(value[key])}")
                return None
        if name is None:
            self.problem(where, "missing; expected the name of a registered loss")
            return None
        full = f"{provider}/{name}" if provider is not None and not name.startswith(f"{provider}/") else name
        try:
            entry = losses.entry(full)
        except (NotFoundError, AmbiguousNameError, DisabledError) as error:
            self.problem(where, str(error))
            return None
        if self.providers is not None and entry.provider not in self.providers:
            allowed = ", ".join(sorted(self.providers)) or "none"
            self.problem(where, f"{entry.full_name} is not allowed here; allowed providers: {allowed}")
            return None
        return entry

    def unknown_keys(self, value: dict[str, Any], path: str, siblings: Schema, entry: Entry | None) -> None:
        for key in value:
            if key in KEYS or key in siblings:
                continue
            if entry is not None and key in parameters(entry)["properties"]:
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
            values = model(schema).model_validate(given).model_dump(mode="json", by_alias=True, exclude_unset=True)
        except ValidationError as error:
            self.translate(error, given, schema, path)
        # Copied: what the caller does to the result must not change the defaults of everybody.
        defaults = {name: deepcopy(part["default"]) for name, part in properties.items() if "default" in part}

        def check(slot: Schema, config: Any, where: str) -> dict[str, Any]:
            return self.node(config, where, slot, depth + 1)

        return defaults | {
            name: map_nested(properties[name], value, join(path, name), check)
            for name, value in values.items()
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
