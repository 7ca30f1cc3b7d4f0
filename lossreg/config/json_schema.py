"""JSON Schema (2020-12) of every valid config.

One definition for losses, one for each role of parts. The name decides by if/then which parameters are checked, never
by oneOf: a validator then reports the mistake at its place in the config, and no error of the other variants.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

from lossreg.config.resolution import parameters, registry_of
from lossreg.errors import DisabledError, LossregError, NotFoundError
from lossreg.parameters.kind import Schema
from lossreg.parameters.kinds import record_of
from lossreg.parameters.record import Record
from lossreg.parameters.slots import OPEN, closed
from lossreg.parameters.types import LOSS, TENSOR, reference, role_of
from lossreg.registries import losses
from lossreg.registry.entry import Entry

_TENSOR = {"type": ["number", "array"], "items": reference(TENSOR)}


def json_schema(
    names: Iterable[str] | None = None, *, providers: Collection[str] | None = None, at: str = ""
) -> dict[str, Any]:
    """Return the schema of the configs that `validate` accepts, for editors and other tools.

    Args:
        names: the losses to include, nested ones too; None for all that can be described.
        providers: include only the losses and parts of these providers.
        at: the place of the loss in a file, such as "training.loss"; the rest of the file is not checked.
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


class Described(NamedTuple):
    """An entry and its parameters."""

    entry: Entry
    record: Record


_Described = dict[str, Described]  # by full name


def _check_providers(providers: Collection[str] | None) -> None:
    known = sorted(losses.providers)
    for name in sorted({*(providers or ())} - {*known}):
        raise NotFoundError(f"no loss is of provider {name!r:.80}; providers are {', '.join(known)}", name=name)


def _described(entries: Iterable[Entry], role: str = LOSS) -> _Described:
    found: _Described = {}
    for entry in entries:
        # A broken or disabled provider has no valid config.
        with suppress(LossregError):
            found |= [_describe(entry, role)]
    return found


def _describe(entry: Entry, role: str) -> tuple[str, Described]:
    registry = registry_of(role)
    if entry.disabled_reason:
        raise DisabledError(entry.disabled_reason, name=entry.name, reason=entry.reason)
    record = record_of(parameters(entry, registry))
    # Looked up again: loading it may have added aliases.
    return entry.full_name, Described(registry.entry(entry.full_name), record)


def _roles(schema: Any) -> Iterator[str]:
    """Yield the role of each reference in a schema."""
    if isinstance(schema, dict):
        target = role_of(schema)
        if target is not None:
            yield target.removesuffix(OPEN)
        schema = list(schema.values())
    if isinstance(schema, list):
        for part in schema:
            yield from _roles(part)


def _placed(at: str) -> Schema:
    """Return a reference to the loss, at a place in a larger file."""
    schema = reference(LOSS)
    for step in reversed([step for step in at.split(".") if step]):
        schema = {"type": "object", "properties": {step: schema}, "required": [step]}
    return schema


class Spellings(NamedTuple):
    """The names of an entry: short ones, provider/name, and short ones that need the provider beside them."""

    short: list[str]
    full: list[str]
    tied: list[str]

    @property
    def free(self) -> list[str]:
        """Return the names that need no provider beside them."""
        return self.short + self.full


class Names:
    """All names of a registry and the entry of each."""

    def __init__(self, role: str) -> None:
        registry = registry_of(role)
        self._entries: dict[str, str] = {}  # the full name of each name's entry; empty if several tie
        for entry in registry.entries():
            for short in entry.spellings():
                for name in (short, f"{entry.provider}/{short}"):
                    if name not in self._entries:
                        self._entries[name] = registry.entry(name).full_name if name in registry else ""

    def of(self, entry: Entry) -> Spellings:
        """Return the names of one entry."""
        spellings = list(dict.fromkeys(entry.spellings()))
        reached = {name for name in spellings if self._entries.get(name) == entry.full_name}
        full = {name: f"{entry.provider}/{name}" for name in spellings}
        full = {name: path for name, path in full.items() if self._entries.get(path) == entry.full_name}
        tied = [name for name in spellings if name not in reached and name in full]
        return Spellings([name for name in spellings if name in reached], list(full.values()), tied)


class _Variant(NamedTuple):
    """An entry among those of one role."""

    entry: Entry
    record: Record
    names: Spellings


def _definition(role: str, described: _Described, providers: Collection[str] | None) -> Schema:
    """Return the schema of a config of this role: a name alone, or a mapping with no keys but its own."""
    names = Names(role)
    chosen = [each for each in described.values() if providers is None or each.entry.provider in providers]
    variants = [_Variant(*each, names.of(each.entry)) for each in chosen]
    tied = _tied(variants)
    # Sorted with names before aliases like DiceLoss: editors offer them in this order.
    short = sorted({name for each in variants for name in each.names.short} | {*tied}, key=str.swapcase)
    full = sorted((name for each in variants for name in each.names.full), key=str.swapcase)
    bare = {name for each in variants if not each.record.required for name in each.names.free}
    mapping = {
        "properties": {
            "name": {"enum": [*short, *full], "description": f"of the {role}: name, alias or provider/name"},
            "params": {"type": ["object", "null"], "description": f"what the {role} takes"},
            "provider": {"type": "string", "description": "picks among those that share a name"},
            "version": {"type": "string", "description": "what a saved config was built with; not checked"},
        },
        "required": ["name"],
        "allOf": [*_ties(tied, variants), *(_rule(each, tied) for each in variants)],
    }
    opened = {
        "type": ["string", "object"],
        "if": {"type": "string"},
        "then": {"enum": [name for name in [*short, *full] if name in bare]},
        "else": mapping,
    }
    return {**closed(role), "$defs": {"open": opened}}


def _tied(variants: list[_Variant]) -> dict[str, list[str]]:
    """Return the providers of each name that several share."""
    tied: dict[str, list[str]] = {}
    for each in variants:
        for name in each.names.tied:
            tied.setdefault(name, []).append(each.entry.provider)
    return tied


def _ties(tied: dict[str, list[str]], variants: list[_Variant]) -> Iterator[Schema]:
    """Yield a rule for each name that several providers share: `provider` is required unless one of them owns it."""
    owners = {name: each.entry.provider for each in variants for name in each.names.short}
    for name, sharing in sorted(tied.items()):
        owned = [owners[name]] if name in owners else []
        named = {"provider": {"enum": sorted({*owned, *sharing})}}
        yield {"if": _when([name]), "then": {"properties": named} | ({} if owned else {"required": ["provider"]})}


def _rule(variant: _Variant, tied: Collection[str]) -> Schema:
    """Return a rule: if the name is the entry's, then the parameters are."""
    entry, record, names = variant
    written = record.standard_schema()
    own = {"provider": {"const": entry.provider}}
    contested = [name for name in names.short if name in tied]
    conditions = [_when([name for name in names.free if name not in contested])]
    if contested:
        conditions.append(_when(contested, **own))
    if names.tied:
        conditions.append(_when(names.tied, **own) | {"required": ["name", "provider"]})
    return {
        "if": conditions[0] if len(conditions) == 1 else {"anyOf": conditions},
        "then": {
            "title": entry.name,
            "description": entry.metadata.get("summary", ""),
            "properties": {"params": written if record.required else written | {"type": ["object", "null"]}, **own},
            **({"required": ["params"]} if record.required else {}),
        },
    }


def _when(names: list[str], **others: Schema) -> Schema:
    return {"properties": {"name": {"enum": names}, **others}, "required": ["name"]}
