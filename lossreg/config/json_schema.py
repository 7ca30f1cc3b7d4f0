"""JSON Schema (2020-12) of every valid config.

One definition for losses, one for each role of parts. The name decides by if/then which parameters are checked, never
by oneOf: a validator then reports the mistake at its place in the config, and no error of the other variants.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

from lossreg.config.resolution import parameters, registry_of
from lossreg.config.spellings import Names, Spellings
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

    JSON Schema accepts more than `validate` in five points: 1.0 as an integer, any size and nesting, any character in
    text, rows of a tensor that differ in length, and sums of losses that take different inputs.

    Args:
        names: the losses to include, nested ones too, of these providers if both are given; None for all that can be
            described.
        providers: include only the losses and parts of these providers.
        at: the place of the loss in a file, such as "training.loss"; the rest of the file is not checked.
    Raises:
        NotFoundError, ProviderError: a named loss is unknown, broken or of another provider, a provider has no loss, or
            no loss is left.
    """
    _check_providers(providers)
    described = _chosen(_described(losses.entries()), providers) if names is None else _named(names, providers)
    if not described:
        of = f" of {', '.join(sorted(providers))}" if providers else ""
        raise NotFoundError(f"no loss{of} can be described; `lossreg doctor` shows those that are broken", name="")
    definitions = {LOSS: _definition(LOSS, described)}
    while missing := sorted({*_roles(definitions)} - definitions.keys()):
        for role in missing:
            found = (entry for entry in registry_of(role).entries() if role in (entry.tags or ()))
            parts = _chosen(_described(found, role), providers)
            definitions[role] = _TENSOR if role == TENSOR else _definition(role, parts) if parts else _none(role)
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
    if providers is not None and not providers:
        raise NotFoundError("providers is empty; write providers=None, or leave it out, for all of them", name="")
    known = sorted(losses.providers)
    for name in sorted({*(providers or ())} - {*known}):
        raise NotFoundError(f"no loss is of provider {name!r:.80}; providers are {', '.join(known)}", name=name)


def _named(names: Iterable[str], providers: Collection[str] | None) -> _Described:
    """Describe the losses with these names.

    Raises:
        NotFoundError: one of them is of another provider, or there is none.
    """
    entries = [losses.entry(name) for name in names]
    if not entries:
        raise NotFoundError("names has no loss; write names=None, or leave it out, for all of them", name="")
    for entry in entries:
        if providers is not None and entry.provider not in providers:
            allowed = ", ".join(sorted(providers))
            raise NotFoundError(
                f"{entry.full_name} is of none of the given providers, {allowed}; add {entry.provider}",
                name=entry.name,
            )
    return dict(_describe(entry, LOSS) for entry in entries)


def _chosen(described: _Described, providers: Collection[str] | None) -> _Described:
    if providers is None:
        return described
    return {name: each for name, each in described.items() if each.entry.provider in providers}


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


class _Variant(NamedTuple):
    """An entry among those of one role."""

    entry: Entry
    record: Record
    names: Spellings


def _none(role: str) -> Schema:
    """Return the schema of a role that nothing has: no value is valid. Lists of alternatives must not be empty."""
    nothing = {"not": {}, "description": f"no {role} is available"}
    return nothing | {"$defs": {"open": nothing}}


def _definition(role: str, described: _Described) -> Schema:
    """Return the schema of a config of this role: a name alone, or a mapping with no keys but its own."""
    names = Names(role)
    variants = [_Variant(*each, names.of(each.entry)) for each in described.values()]
    tied = _tied(variants)
    # Sorted with names before aliases like DiceLoss: editors offer them in this order.
    short = sorted({name for each in variants for name in each.names.short} | {*tied}, key=str.swapcase)
    full = sorted((name for each in variants for name in each.names.full), key=str.swapcase)
    bare = {name for each in variants if not each.record.required for name in each.names.free}
    mapping = {
        "properties": {
            "name": {"enum": [*short, *full], "description": f"of the {role}: name, alias or provider/name"},
            "params": {"type": ["object", "null"], "description": f"what the {role} takes"},
            "provider": {"type": ["string", "null"], "description": "picks among those that share a name"},
            "version": {"type": ["string", "null"], "description": "what a saved config was built with; not checked"},
        },
        "required": ["name"],
        "allOf": [*_ties(tied, variants), *(_rule(each, tied) for each in variants)],
    }
    opened = {
        "type": ["string", "object"],
        "if": {"type": "string"},
        # All that require parameters: a name alone is of the wrong type.
        "then": {"enum": [name for name in [*short, *full] if name in bare]} if bare else {"type": "object"},
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
        named = {"provider": {"enum": [*sorted({*owned, *sharing}), *([None] if owned else [])]}}
        yield {"if": _when([name]), "then": {"properties": named} | ({} if owned else {"required": ["provider"]})}


def _rule(variant: _Variant, tied: Collection[str]) -> Schema:
    """Return a rule: if the name is the entry's, then the parameters are."""
    entry, record, names = variant
    written = record.standard_schema()
    own = {"provider": {"enum": [entry.provider, None]}}
    contested = [name for name in names.short if name in tied]
    conditions = [_when([name for name in names.free if name not in contested])]
    if contested:
        conditions.append(_when(contested, **own))
    if names.tied:
        chosen = {"provider": {"const": entry.provider}}
        conditions.append(_when(names.tied, **chosen) | {"required": ["name", "provider"]})
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
