"""For authors of packages: all that a plugin imports beside the names of `lossreg` itself and `lossreg.testing`.

    from lossreg import Loss, Term, losses
    from lossreg.authoring import contract

Every other module of lossreg may change from one version to the next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lossreg.registry.importing import lazy

if TYPE_CHECKING:
    from lossreg.authoring.library import Library
    from lossreg.composites.base import component_names
    from lossreg.contract import Contract, Implementation, contract
    from lossreg.loss import Per, Reduction
    from lossreg.loss.calls import PerPixel
    from lossreg.loss.debug import debugging
    from lossreg.loss.plans import Plan, replaced_by_plan
    from lossreg.loss.shared_passes import Pass
    from lossreg.messages import is_installed, warn_once
    from lossreg.parameters.types import Functions, Part
    from lossreg.registries import hooks

# An overlay is written without torch, and a loss without pydantic's models.
__getattr__, __dir__ = lazy(
    __name__,
    {
        "Contract": "lossreg.contract",
        "Functions": "lossreg.parameters.types",
        "Implementation": "lossreg.contract",
        "Library": "lossreg.authoring.library",
        "Part": "lossreg.parameters.types",
        "Pass": "lossreg.loss.shared_passes",
        "Per": "lossreg.loss",
        "PerPixel": "lossreg.loss.calls",
        "Plan": "lossreg.loss.plans",
        "Reduction": "lossreg.loss",
        "component_names": "lossreg.composites.base",
        "contract": "lossreg.contract",
        "debugging": "lossreg.loss.debug",
        "hooks": "lossreg.registries",
        "is_installed": "lossreg.messages",
        "replaced_by_plan": "lossreg.loss.plans",
        "warn_once": "lossreg.messages",
    },
)

__all__ = [
    "Contract",
    "Functions",
    "Implementation",
    "Library",
    "Part",
    "Pass",
    "Per",
    "PerPixel",
    "Plan",
    "Reduction",
    "component_names",
    "contract",
    "debugging",
    "hooks",
    "is_installed",
    "replaced_by_plan",
    "warn_once",
]
