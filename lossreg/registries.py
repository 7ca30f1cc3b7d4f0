"""The two registries of this process: `losses`, and `parts` of losses."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import TYPE_CHECKING

from lossreg.discovery.environment import warn_once, with_near
from lossreg.discovery.scan import discover
from lossreg.registry.entry import LOCAL, Entry
from lossreg.registry.registry import Registry

if TYPE_CHECKING:
    from torch import nn

    from lossreg.hooks.manager import Hooks

_providers_checked: set[frozenset[str]] = set()  # each build asks


def warn_unknown_providers(names: Collection[str]) -> None:
    """Warn of providers that have nothing here: a restriction to them allows less than was meant. Once per value."""
    if frozenset(names) in _providers_checked:
        return
    _providers_checked.add(frozenset(names))
    known = {LOCAL, *(entry.provider for registry in (losses, parts) for entry in registry.entries())}
    if not {*names} <= known:
        text = f"no provider is called {with_near({*names} - known, known)} Providers are {', '.join(sorted(known))}"
        warn_once(("providers", frozenset(names)), f"providers={sorted(names)!r:.200}: {text}")


def hooks() -> Hooks:
    """What installed packages do at lossreg's hooks. They are imported by the first call."""
    from lossreg.hooks.manager import ready

    return ready(losses)


def _resolve_missing(name: str) -> Entry | str | None:
    answer: Entry | str | None = hooks().call("lossreg_resolve_missing", name=name)
    return answer


losses: Registry[nn.Module] = Registry("torch.nn:Module", name="losses", discover=discover, resolve=_resolve_missing)
# What losses are made of and is no loss: distances, reducers, miners. A part's role is one of its tags.
parts: Registry[nn.Module] = Registry("torch.nn:Module", name="parts", discover=partial(discover, "parts"))
