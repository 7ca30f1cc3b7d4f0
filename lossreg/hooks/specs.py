"""Specifications of the hooks, which packages implement with `lossreg.hookimpl`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pluggy

from lossreg.registry.entry import Entry

if TYPE_CHECKING:
    import typer
    from torch import nn

    from lossreg.health.event import HealthEvent
    from lossreg.registry.registry import Registry

PROJECT = "lossreg"

# An implementation of these that raises is left out. One of the others makes the call fail.
NOTIFICATIONS = ("lossreg_register", "lossreg_cli", "lossreg_health_event")

_spec = pluggy.HookspecMarker(PROJECT)


@_spec
def lossreg_register(registry: Registry[Any]) -> None:
    """Add entries in code. Called when the module of hooks is loaded, once by each thread that loads it."""


@_spec
def lossreg_transform_config(config: dict[str, Any], entry: Entry | None) -> None:
    """Change one loss's config in place before it is validated: rename or migrate parameters.

    Args:
        config: {name, params} as it was given; `params` is a dict, empty for none. Nested losses have calls of their
            own, later.
        entry: the entry of the name; None for an unknown or missing name.
    """


@_spec(firstresult=True)
def lossreg_build(entry: Entry, params: dict[str, Any]) -> nn.Module | None:
    """Build the module of a loaded entry. The first result counts; a wrapper may replace it."""


@_spec(firstresult=True)
def lossreg_resolve_missing(name: str) -> Entry | str | None:
    """Return the entry of an unknown name, or a hint for the error."""


@_spec
def lossreg_cli(app: typer.Typer) -> None:
    """Add commands to the command line. Called for `--help`, and for a command that is not lossreg's own."""


@_spec
def lossreg_health_event(event: HealthEvent) -> None:
    """Handle an event of a LossMonitor: forward it, count it."""
