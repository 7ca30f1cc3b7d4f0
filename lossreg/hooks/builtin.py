"""lossreg's own implementations of the hooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pluggy

from lossreg.discovery.distributions import scan
from lossreg.discovery.first_party import FIRST_PARTY
from lossreg.messages import warn
from lossreg.registry.entry import Entry

if TYPE_CHECKING:
    from torch import nn

hookimpl = pluggy.HookimplMarker("lossreg")


@hookimpl(trylast=True)
def lossreg_build(entry: Entry, params: dict[str, Any]) -> nn.Module:
    """Call the class."""
    cls: Any = entry.cls
    return cls(**params)  # type: ignore[no-any-return]


@hookimpl(trylast=True)
def lossreg_transform_config(config: dict[str, Any], entry: Entry | None) -> None:
    """Rename old parameters: `register(..., renamed={"eps": "smooth"})`."""
    params = config.get("params")
    renamed = entry.metadata.get("renamed") if entry is not None else None
    if not renamed or not isinstance(params, dict):
        return
    for old, new in renamed.items():
        if old in params and new not in params:
            params[new] = params.pop(old)
            message = f"{entry.full_name if entry else ''}: the parameter {old!r} was renamed; write {new!r}"
            warn(message, DeprecationWarning)


@hookimpl(trylast=True)
def lossreg_resolve_missing(name: str) -> str | None:
    """Return the command that installs the first-party distribution of a name."""
    provider, slash, _ = name.partition("/")
    distribution = FIRST_PARTY.get(provider) if slash else None
    if distribution is None or distribution in scan().versions:  # installed, and without such a loss
        return None
    return f"pip install {distribution}"
