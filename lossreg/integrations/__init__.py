"""Integrations with trainers: one file for each, and `Tracked`, the loss that they share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lossreg.registry.importing import lazy

if TYPE_CHECKING:
    from lossreg.integrations.adapt import Adapt
    from lossreg.integrations.context import Context
    from lossreg.integrations.tracked import Tracked

__getattr__, __dir__ = lazy(
    __name__,
    {
        "Adapt": "lossreg.integrations.adapt",
        "Context": "lossreg.integrations.context",
        "Tracked": "lossreg.integrations.tracked",
    },
)

__all__ = ["Adapt", "Context", "Tracked"]
