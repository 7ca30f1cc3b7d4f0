"""JSON Schema (2020-12) of every valid config.

One definition for losses, one for each role of parts. The name decides by if/then which parameters are checked, never
by oneOf: a validator then reports the mistake at its place in the config, not that none of many variants match.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from typing import Any

from lossreg.config.validation import KEYS, parameters, registry_of
from lossreg.errors import DisabledError, LossregError, NotFoundError
from lossreg.parameters.types import FUNCTIONS, LOSS, TENSOR, reference, role_of
from lossreg.parameters.validator import Schema
from lossreg.registries import losses
from lossreg.registry.entry import Entry

_OPEN = "/$defs/open"  # of a definition: without the check that no other keys are there, which a slot may allow

_TENSOR = {"type": ["number", "array"], "items": reference(TENSOR)}


def json_schema(
    names: Iterable[str] | None = None, *, providers: Collection[str] | None = None, at: str = ""
) -> dict[str, Any]:
    """What `validate` accepts, for editors and other tools.

    Args:
        names: the losses to include; None for all that can be described. Losses nested in others are of these, too.
        providers: include only the losses and parts of these providers.
        at: where in a file the loss is, such as "training.loss"; whatever else the file holds is accepted.
    Raises:
        NotFoundError, ProviderError: a named loss is unknown or broken, or a provider has no loss.
    """
    _check_providers(providers)
    if names is None:
        described = _described(losses.entries())
    else:
        described = dict(_describe(losses.entry(name), LOSS) for name in names)
    definitions = {LOSS: _definition(LOSS, described, providers)}
    while missing := sorted({*_roles(definitions)} - definitions.keys()):
        for role in missing:
            found = (entry for entry in registry_of(role).entries() if role in (entry.tags or ()))
            definitions[role] = _TENSOR if role == TENSOR else _definition(role, _described(found, role), providers)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "lossreg loss config",
        **_placed(at),
        "$defs": definitions,
    }


_Described = dict[str, tuple[Entry, Schema]]  # by full name, with the schema of the parameters


def _check_providers(providers: Collection[str] | None) -> None:
    known = sorted({entry.provider for entry in losses.entries()})
    for name in sorted({*(providers or ())} - {*known}):
        raise NotFoundError(f"no loss is of provider {name!r:.80}; providers are {', '.join(known)}", name=name)


def _described(entries: Iterable[Entry], role: str = LOSS) -> _Described:
    found: _Described = {}
    for entry in entries:
        # A broken or disabled provider has no valid config.
        with suppress(LossregError):
            found |= [_describe(entry, role)]
    return found


def _describe(entry: Entry, role: str) -> tuple[str, tuple[Entry, Schema]]:
    registry = registry_of(role)
    if entry.off:
        raise DisabledError(entry.off, name=entry.name, reason=entry.reason)
    described = parameters(entry, registry)
    # Asked for again: one that had to be loaded has told its other names by now.
    return entry.full_name, (registry.entry(entry.full_name), described)


def _roles(schema: Any) -> Iterator[str]:
    """What the references in a schema lead to."""
    if isinstance(schema, dict):
        target = role_of(schema)
        if target is not None:
            yield target.removesuffix(_OPEN)
        schema = list(schema.values())
    if isinstance(schema, list):
        for part in schema:
            yield from _roles(part)


def _placed(at: str) -> Schema:
    """A reference to the loss, at a place in a larger file."""
    schema = reference(LOSS)
    for step in reversed([step for step in at.split(".") if step]):
        schema = {"type": "object", "properties": {step: schema}, "required": [step]}
    return schema


def _definition(role: str, described: _Described, providers: Collection[str] | None) -> Schema:
    """A config of this role: a name alone, or a mapping with no keys but its own."""
    chosen = [pair for pair in described.values() if providers is None or pair[0].provider in providers]
    spelled = [(entry, schema, Names(entry, role)) for entry, schema in chosen]
    tied: dict[str, list[Entry]] = {}
    for entry, _, names in spelled:
        for name in names.tied:
            tied.setdefault(name, []).append(entry)
    # Sorted with names before aliases like DiceLoss: editors offer them in this order.
    short = sorted({name for _, _, names in spelled for name in names.short} | {*tied}, key=str.swapcase)
    full = sorted((name for _, _, names in spelled for name in names.full), key=str.swapcase)
    bare = {name for _, schema, names in spelled if not schema.get("required") for name in names.short + names.full}
    mapping = {
        "properties": {
            "name": {"enum": [*short, *full], "description": f"of the {role}: name, alias or provider/name"},
            "params": {"type": ["object", "null"], "description": f"what the {role} takes"},
            "provider": {"type": "string", "description": "picks among those that share a name"},
            "version": {"type": "string", "description": "what a saved config was built with; not checked"},
        },
        "required": ["name"],
        "allOf": [
            *(_tie(name, entries, spelled) for name, entries in sorted(tied.items())),
            *(_variant(entry, schema, names, tied) for entry, schema, names in spelled),
        ],
    }
    return {
        **_closed(role, {}),
        "$defs": {
            "open": {
                "type": ["string", "object"],
                "if": {"type": "string"},
                "then": {"enum": [name for name in [*short, *full] if name in bare]},
                "else": mapping,
            }
        },
    }


class Names:
    """What leads to an entry: short names, provider/name, and names that need the provider beside them."""

    def __init__(self, entry: Entry, role: str) -> None:
        registry = registry_of(role)

        def leads(name: str) -> bool:
            return name in registry and registry.entry(name).full_name == entry.full_name

        spellings = list(dict.fromkeys(entry.spellings()))
        self.full = [name for name in (f"{entry.provider}/{name}" for name in spellings) if leads(name)]
        self.short = [name for name in spellings if leads(name)]
        self.tied = [name for name in spellings if name not in self.short and f"{entry.provider}/{name}" in self.full]


def _tie(name: str, entries: list[Entry], spelled: list[tuple[Entry, Schema, Names]]) -> Schema:
    """Which providers a shared name has, and that one must be said unless the name has an owner."""
    owners = [entry.provider for entry, _, names in spelled if name in names.short]
    named = {"provider": {"enum": sorted({*owners, *(entry.provider for entry in entries)})}}
    return {"if": _when([name]), "then": {"properties": named} | ({} if owners else {"required": ["provider"]})}


def _variant(entry: Entry, described: Schema, names: Names, tied: Collection[str]) -> Schema:
    """If the name is the entry's, then the parameters are."""
    required = bool(described.get("required"))
    written = _written(described)
    own = {"provider": {"const": entry.provider}}
    contested = [name for name in names.short if name in tied]
    conditions = [_when([name for name in names.short + names.full if name not in contested])]
    if contested:
        conditions.append(_when(contested, **own))
    if names.tied:
        conditions.append(_when(names.tied, **own) | {"required": ["name", "provider"]})
    return {
        "if": conditions[0] if len(conditions) == 1 else {"anyOf": conditions},
        "then": {
            "title": entry.name,
            "description": entry.metadata.get("summary", ""),
            "properties": {"params": written if required else written | {"type": ["object", "null"]}, **own},
            **({"required": ["params"]} if required else {}),
        },
    }


def _when(names: list[str], **others: Schema) -> Schema:
    return {"properties": {"name": {"enum": names}, **others}, "required": ["name"]}


def _closed(role: str, siblings: Schema) -> Schema:
    """A config that allows no keys but its own and those of its slot."""
    keys = {**dict.fromkeys(KEYS, True), **{key: _written(part) for key, part in siblings.items()}}
    return {"allOf": [reference(role + _OPEN)], "properties": keys, "additionalProperties": False}


def _written(schema: Schema) -> Schema:
    """The schema of a parameter as others read it: nested configs closed, alternatives told by their types."""
    role = role_of(schema)
    if role not in (None, TENSOR) and "properties" in schema:
        rest = {key: part for key, part in schema.items() if key not in ("$ref", "properties")}
        # A bare name has no place for the keys that its slot requires.
        named = {"type": "object"} if schema.get("required") else {}
        return rest | named | _closed(role or LOSS, schema["properties"])
    written = {key: part for key, part in schema.items() if key != FUNCTIONS}
    for key in ("items", "additionalProperties"):
        if isinstance(written.get(key), dict):
            written[key] = _written(written[key])
    if "properties" in written:
        written["properties"] = {name: _written(part) for name, part in written["properties"].items()}
    if "prefixItems" in written:
        written["prefixItems"] = [_written(part) for part in written["prefixItems"]]
    return written | _alternatives(written.pop("anyOf")) if "anyOf" in written else written


def _alternatives(parts: list[Schema]) -> Schema:
    """A union as if/then by the type of the value, where that tells which part is meant; anyOf otherwise."""
    written = [_written(part) for part in parts]
    kinds = [_kinds(part) for part in parts]
    every = [kind for each in kinds for kind in each]
    overlap = len(set(every)) < len(every) or {"number", "integer"} <= {*every}
    if overlap or not all(kinds):
        return {"anyOf": written}
    rules = [
        {"if": {"type": each}, "then": part}
        for each, part in zip(kinds, written, strict=True)
        if part.keys() != {"type"}
    ]
    return {"type": every} | ({"allOf": rules} if rules else {})


def _kinds(schema: Schema) -> list[str]:
    """The JSON types of what a part of a union takes; none if they are not known."""
    role = role_of(schema)
    if role is not None:
        return ["number", "array"] if role == TENSOR else ["string", "object"]
    if "enum" in schema and all(isinstance(value, str) for value in schema["enum"]):
        return ["string"]
    kind = schema.get("type")
    return [kind] if isinstance(kind, str) and "enum" not in schema else []
