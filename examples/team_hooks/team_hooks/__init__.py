"""A team's conventions for losses, one per lossreg hook. Its imports are light, because every validation imports it."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from lossreg import Entry, hookimpl

if TYPE_CHECKING:
    import typer
    from torch import nn

    from lossreg import Registry
    from lossreg.health import HealthEvent

log = logging.getLogger("team_hooks")

OWN_NAMES = {"crack": "lossreg_segmentation.combined:BCEDiceFocal"}
OLD_PARAMETERS = {"eps": "smooth", "focal_gamma": "gamma"}
RETIRED = {"crack_v1": "write 'crack', whose empty masks count"}


@hookimpl
def lossreg_register(registry: Registry[Any]) -> None:
    """Register the team's names for other packages' losses."""
    for name, target in OWN_NAMES.items():
        registry.add(Entry(name, target, provider="team"))


@hookimpl
def lossreg_transform_config(config: dict[str, Any]) -> None:
    """Convert configs of last year's format."""
    params = config["params"]
    for old, new in OLD_PARAMETERS.items():
        if old in params:
            params[new] = params.pop(old)


@hookimpl(wrapper=True)
def lossreg_build(entry: Entry) -> Generator[None, nn.Module, nn.Module]:
    """Log each built loss and the time it took."""
    start = time.perf_counter()
    module = yield
    log.info("built %s in %.1f ms", entry.full_name, 1e3 * (time.perf_counter() - start))
    return module


@hookimpl
def lossreg_resolve_missing(name: str) -> str | None:
    """Return a hint for names that the team retired."""
    return RETIRED.get(name)


@hookimpl
def lossreg_cli(app: typer.Typer) -> None:
    """Add the command `lossreg team`, which lists the team's names."""

    @app.command("team")
    def team() -> None:
        """List the team's own names for losses."""
        for name, target in OWN_NAMES.items():
            print(f"{name}: {target}")


@hookimpl
def lossreg_health_event(event: HealthEvent) -> None:
    """Log the findings of monitors in the team's trainings."""
    log.warning("training: %s", event)
