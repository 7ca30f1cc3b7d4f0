"""The two registries of this process: `losses`, and `parts` of losses."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import TYPE_CHECKING

from lossreg.discovery.environment import unknown_names
from lossreg.discovery.scan import discover
from lossreg.messages import warn_once
from lossreg.registry.entry import LOCAL, Entry
from lossreg.registry.registry import Registry

if TYPE_CHECKING:
    from torch import nn

    from lossreg.hooks.manager import Hooks


def warn_unknown_providers(names: Collection[str]) -> None:
    """Warn about providers without entries, once per value: a restriction to them allows less than intended."""
    known = {LOCAL} | losses.providers | parts.providers
    if not {*names} <= known:
        text = (
            f"no provider is called {unknown_names({*names} - known, known)}; providers are {', '.join(sorted(known))}"
        )
        warn_once(("providers", frozenset(names)), f"providers={sorted(names)!r:.200}: {text}")


def hooks() -> Hooks:
    """Return the hooks of installed packages. The first call imports their modules."""
    from lossreg.hooks.manager import ready

    return ready(losses)


def _resolve_missing(name: str) -> Entry | str | None:
    answer: Entry | str | None = hooks().call("lossreg_resolve_missing", name=name)
    return answer


losses: Registry[nn.Module] = Registry(
    "torch.nn:Module", name="losses", kind="loss", discover=discover, resolve=_resolve_missing
)
# Parts of losses: distances, reducers, miners. The role of a part is one of its tags.
parts: Registry[nn.Module] = Registry("torch.nn:Module", name="parts", kind="part", discover=partial(discover, "parts"))
