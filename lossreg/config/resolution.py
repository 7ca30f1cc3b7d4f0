"""Resolution, the first pass over a config: every name becomes its entry, every nested config a node of a tree."""

from __future__ import annotations

from typing import Any, NamedTuple

from lossreg.config.allowed import not_allowed, tie
from lossreg.config.places import place_of
from lossreg.config.plain_data import MAX_PROBLEMS, plain
from lossreg.config.yaml_words import hint
from lossreg.errors import AmbiguousNameError, NotFoundError, Problem
from lossreg.messages import did_you_mean, invalid, join, shown
from lossreg.parameters.kind import Kind, Schema
from lossreg.parameters.kinds import kind_of, record_of
from lossreg.parameters.record import Record
from lossreg.parameters.slots import KEYS, Nested, Slot
from lossreg.parameters.types import LOSS, reference
from lossreg.registries import hooks, losses, parts
from lossreg.registry.entry import Entry
from lossreg.registry.registry import Registry

MAX_NESTING = 16  # losses within losses: defaults may nest a loss in itself, which the depth of a config does not bound

_ROOT = Slot(reference(LOSS), kind_of)


def parameters(entry: Entry, registry: Registry[Any] = losses) -> Schema:
    """Return the JSON Schema of an entry's parameters: from its manifest, else from its class, which is loaded."""
    described = entry.metadata.get("parameters")
    if isinstance(described, dict):
        return described
    cls = registry.get(entry.full_name)
    from lossreg.parameters.from_signature import describe, warn_unreadable  # imports pydantic's models: takes time

    schema = describe(cls)
    warn_unreadable(cls)
    return schema


def registry_of(role: str) -> Registry[Any]:
    """Return the registry of the names in a slot."""
    return losses if role == LOSS else parts


class Problems:
    """The problems of all nodes, in the order of the nodes."""

    def __init__(self, config: Any) -> None:
        self.config = config
        self.found: list[tuple[int, Problem]] = []
        self.nodes = 0

    def add(self, node: Node, path: str, message: str) -> None:
        """Add a problem.

        Raises:
            InvalidConfigError: with all problems so far, when there are too many.
        """
        self.found.append((node.order, Problem(path, message)))
        if len(self.found) == MAX_PROBLEMS:
            raise invalid([*self.sorted(), Problem("", f"not checked further after {MAX_PROBLEMS} problems")])

    def written(self, path: str) -> str | None:
        """Return the text in the file at a path, where YAML reads something else; None if it is not known."""
        place = place_of(self.config, path)
        return None if place is None else place.written

    def in_file(self, path: str) -> bool:
        """Return whether the value at a path is from a file that `read_config` read."""
        return place_of(self.config, path) is not None

    def sorted(self) -> list[Problem]:
        """Return the problems: of each node together, outer nodes first."""
        return [problem for _, problem in sorted(self.found, key=lambda pair: pair[0])]


class Values(NamedTuple):
    """Named values of a record. Nested configs in them are nodes."""

    record: Record
    path: str
    given: dict[str, Any]
    defaults: dict[str, Any]


class Node(Nested):
    """A config: its entry, the values for it, and the nodes in these values.

    Attributes:
        entry: None if the name leads to none; then there is a problem.
        beside: values of the keys that the slot allows beside name and params.
        params: None without an entry.
    """

    def __init__(self, order: int, path: str) -> None:
        self.order = order
        self.path = path
        self.entry: Entry | None = None
        self.beside: Values | None = None
        self.params: Values | None = None
        self.children: list[Node] = []


class Resolver:
    """The pass: it collects problems of names and keys, and leaves values to validation."""

    def __init__(self, providers: frozenset[str] | None, problems: Problems) -> None:
        self.providers = providers
        self.problems = problems

    def node(self, value: Any, path: str = "", slot: Slot = _ROOT, depth: int = 0) -> Node:
        """Resolve a config in plain data, which is changed by the hooks that migrate it."""
        self.problems.nodes += 1
        node = Node(self.problems.nodes, path)
        if isinstance(value, str):
            value = {"name": value}
        if not isinstance(value, dict):
            self.problems.add(node, path, f"expected a {slot.role} name or {{name, params}}, got {shown(value)}")
        elif depth > MAX_NESTING:
            self.problems.add(node, path, f"losses are nested deeper than {MAX_NESTING}")
        else:
            self._fill(node, value, path, slot, depth)
        return node

    def _fill(self, node: Node, value: dict[str, Any], path: str, slot: Slot, depth: int) -> None:
        registry = registry_of(slot.role)
        for key in ("provider", "version"):
            if key in value and value[key] is None:  # as jsonargparse and dataclasses write a key that is not given
                del value[key]
        _transform(value, registry, path)
        node.entry = self._entry(node, value, path, slot.role)
        described = record_of(parameters(node.entry, registry)) if node.entry else None
        self._refuse_unknown_keys(node, value, path, slot, described)
        if slot.siblings.fields:
            beside = {key: item for key, item in value.items() if key in slot.siblings.fields}
            node.beside = self._values(node, beside, slot.siblings, path, depth)
        if described is not None:
            params = value.get("params")
            where = join(path, "params")
            if params is not None and not isinstance(params, dict):
                self.problems.add(node, where, f"expected a mapping of parameters, got {shown(params)}")
                params = None
            node.params = self._values(node, params or {}, described, where, depth)

    def _values(self, node: Node, given: dict[str, Any], record: Record, path: str, depth: int) -> Values:
        """Resolve the nested configs among named values and their defaults."""
        values = Values(record, path, given, record.defaults())
        if not record.slots:
            return values

        def resolve(kind: Kind, value: Any, at: str) -> Any:
            if not isinstance(kind, Slot):
                return value
            node.children.append(self.node(value, at, kind, depth + 1))
            return node.children[-1]

        for name in values.defaults | given:
            if name in record.slots:
                held = given if name in given else values.defaults
                held[name] = record.slots[name].map(held[name], join(path, name), resolve)
        return values

    def _entry(self, node: Node, value: dict[str, Any], path: str, role: str) -> Entry | None:
        """Look a name up. Add a problem and return None if it leads to no entry that is allowed here."""
        where = join(path, "name")
        registry = registry_of(role)
        for key in ("name", "provider", "version"):
            if not isinstance(value.get(key, ""), str):
                at = join(path, key)
                why = hint(None, value[key], self.problems.written(at))
                self.problems.add(node, at, f"expected text, got {shown(value[key])}{why}")
                return None
        if value.get("name") is None:
            self.problems.add(node, where, f"missing; expected the name of a registered {role}")
            return None
        name = _full_name(value) or ""
        try:
            entry = registry.entry(name)
        except AmbiguousNameError as error:
            self.problems.add(node, where, tie(error, self.providers))
            return None
        except NotFoundError as error:
            names = "" if role == LOSS else f"; allowed are {_names(registry, role)}"
            self.problems.add(node, where, f"{error}{names}")
            return None
        refusal = self._refusal(entry, role, name)
        if refusal:
            self.problems.add(node, where, refusal)
        return None if refusal else entry

    def _refusal(self, entry: Entry, role: str, name: str) -> str:
        """Return why an entry is not allowed in a slot; empty if it is."""
        if entry.disabled_reason:
            return entry.disabled_reason
        if role != LOSS and role not in (entry.tags or ()):
            return f"{entry.full_name} is no {role}; allowed are {_names(registry_of(role), role)}"
        if self.providers is not None and entry.provider not in self.providers:
            return not_allowed(entry.full_name, name, registry_of(role), self.providers)
        return ""

    def _refuse_unknown_keys(
        self, node: Node, value: dict[str, Any], path: str, slot: Slot, described: Record | None
    ) -> None:
        siblings = slot.siblings.fields
        for key in value:
            if key in KEYS or key in siblings:
                continue
            if node.entry is not None and described is not None and key in described.fields:
                message = f"{key!r} is a parameter of {node.entry.name}: put it under params"
            elif key == "_target_":
                message = "a config names a registered loss; leave it out, and build the rest by lossreg.build(config)"
            else:
                message = near(key, ["name", "params", *siblings])
            self.problems.add(node, join(path, key), f"unknown key; {message}")


def near(name: str, allowed: list[str]) -> str:
    """Suggest the allowed name that a mistyped one may mean; else list all that are allowed."""
    return did_you_mean(name, allowed, otherwise=f"allowed are {', '.join(allowed) or 'none'}")


def _transform(value: dict[str, Any], registry: Registry[Any], path: str) -> None:
    """Migrate a config in place, by the hooks."""
    if value.get("params") is None:
        value["params"] = {}
    if not isinstance(value["params"], dict):
        return  # refused below; hooks are written for a mapping
    manager = hooks()  # first: one of them may register the name
    name = _full_name(value)
    entry = registry.entry(name) if name is not None and name in registry else None
    manager.call("lossreg_transform_config", config=value, entry=entry)
    params = value.get("params")
    if not all(isinstance(key, str) for key in (*value, *(params if isinstance(params, dict) else ()))):
        copied: Any = plain(value, path)  # a hook wrote a key that users cannot write
        value.clear()
        value.update(copied)


def _full_name(config: dict[str, Any]) -> str | None:
    """Return the name, with the provider if the config has one; None without a name."""
    name, provider = config.get("name"), config.get("provider")
    if not isinstance(name, str):
        return None
    return f"{provider}/{name}" if isinstance(provider, str) and not name.startswith(f"{provider}/") else name


def _names(registry: Registry[Any], role: str) -> str:
    return ", ".join(registry.filter_by_tag(role)) or "none"
