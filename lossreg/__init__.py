"""lossreg: every PyTorch loss, by name.

    loss = lossreg.build("dice", smooth=0.5)  # an nn.Module
    loss = lossreg.build({"name": "focal", "params": {"gamma": 2}})

A config is checked before anything is built, and all its mistakes are listed together. Packages declare their losses,
so that lossreg finds them without importing them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lossreg.errors import (
    AmbiguousNameError,
    ConflictError,
    DisabledError,
    DTypeError,
    HealthError,
    ImplementationError,
    InputError,
    InvalidConfigError,
    InvalidNameError,
    LossregError,
    ManifestError,
    MissingLibraryError,
    NotFoundError,
    ProviderError,
    RecordsError,
    ShapeError,
    TagSyntaxError,
    WrongBaseClassError,
)
from lossreg.registries import losses, parts, refresh
from lossreg.registry.entry import Entry
from lossreg.registry.importing import lazy
from lossreg.registry.registry import Registry

if TYPE_CHECKING:
    from lossreg import authoring as authoring
    from lossreg import health as health
    from lossreg import integrations as integrations
    from lossreg import records as records
    from lossreg import testing as testing
    from lossreg.config.factory import build, config_of
    from lossreg.config.files import read_config
    from lossreg.config.json_schema import json_schema
    from lossreg.config.model import LossConfig, validate
    from lossreg.hooks.builtin import hookimpl
    from lossreg.loss import Loss, LossOutput, Term, evaluate
    from lossreg.loss.debug import debug_checks

# What needs torch or pydantic is imported when it is first used, so that listing stays quick.
__getattr__, __dir__ = lazy(
    __name__,
    {
        "Loss": "lossreg.loss",
        "LossConfig": "lossreg.config.model",
        "LossOutput": "lossreg.loss",
        "Term": "lossreg.loss",
        "build": "lossreg.config.factory",
        "config_of": "lossreg.config.factory",
        "debug_checks": "lossreg.loss.debug",
        "evaluate": "lossreg.loss",
        "hookimpl": "lossreg.hooks.builtin",
        "json_schema": "lossreg.config.json_schema",
        "read_config": "lossreg.config.files",
        "validate": "lossreg.config.model",
        **{name: f"lossreg.{name}" for name in ("authoring", "health", "integrations", "records", "testing")},
    },
)

__path__ = [*__path__, f"{__path__[0]}/authoring/former"]  # modules that have moved, found as before

__version__ = "0.1.0"

__all__ = [
    "AmbiguousNameError",
    "ConflictError",
    "DTypeError",
    "DisabledError",
    "Entry",
    "HealthError",
    "ImplementationError",
    "InputError",
    "InvalidConfigError",
    "InvalidNameError",
    "Loss",
    "LossConfig",
    "LossOutput",
    "LossregError",
    "ManifestError",
    "MissingLibraryError",
    "NotFoundError",
    "ProviderError",
    "RecordsError",
    "Registry",
    "ShapeError",
    "TagSyntaxError",
    "Term",
    "WrongBaseClassError",
    "build",
    "config_of",
    "debug_checks",
    "evaluate",
    "hookimpl",
    "json_schema",
    "losses",
    "parts",
    "read_config",
    "refresh",
    "validate",
]
