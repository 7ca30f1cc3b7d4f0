"""The two registries of this process: `losses`, and `parts` of losses."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from importlib import invalidate_caches
from typing import TYPE_CHECKING

from lossreg.discovery import distributions
from lossreg.discovery.environment import unknown_names, with_state
from lossreg.discovery.first_party import owner_of
from lossreg.discovery.scan import discover, warn_about_environment
from lossreg.errors import ConflictError
from lossreg.messages import warn_once
from lossreg.registry.entry import LOCAL, Discovered, Entry
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


def refresh() -> None:
    """Find the losses, parts and hooks of packages that were installed or removed since the first look-up.

    Classes and hooks that are loaded already stay: Python keeps their modules, and only a restart replaces them.
    """
    from lossreg.hooks import manager

    distributions.forget()
    _invalidate_caches()
    losses.refresh()
    parts.refresh()
    manager.refresh(losses)


def _invalidate_caches() -> None:
    try:
        invalidate_caches()
    except KeyError:  # another thread removed the same finder, and Python stopped there
        _invalidate_caches()


def _discover(section: str) -> Discovered:
    before = distributions.scan()
    return discover(section)._replace(remind=warn_about_environment, changed=partial(distributions.changed, before))


def _restrict(entry: Entry) -> Entry:
    """Apply the environment. A provider's name is no stranger's, in code as in a package."""
    owner = entry.distribution if entry.provider == LOCAL else owner_of(entry.provider) or entry.distribution
    if owner != entry.distribution:
        raise ConflictError(
            f"cannot register {entry.full_name}: the provider name {entry.provider!r} belongs to {owner};"
            " choose another provider",
            name=entry.full_name,
            existing=str(owner),
            proposed=entry.target,
        )
    return with_state(entry)


def _resolve_missing(name: str) -> Entry | str | None:
    answer: Entry | str | None = hooks().call("lossreg_resolve_missing", name=name)
    return answer


losses: Registry[nn.Module] = Registry(
    "torch.nn:Module",
    name="losses",
    kind="loss",
    discover=partial(_discover, "losses"),
    resolve=_resolve_missing,
    restrict=_restrict,
)
# Parts of losses: distances, reducers, miners. The role of a part is one of its tags.
parts: Registry[nn.Module] = Registry(
    "torch.nn:Module", name="parts", kind="part", discover=partial(_discover, "parts"), restrict=_restrict
)
