"""lossreg: the plugin platform for PyTorch losses.

A package declares its losses; lossreg finds them without importing them; a config {name, params} is validated and
becomes an nn.Module that any trainer can call.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from lossreg.discovery import losses, parts
from lossreg.entry import Entry
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
from lossreg.registry import Registry

if TYPE_CHECKING:
    from lossreg.builtin import hookimpl
    from lossreg.config import LossConfig, validate
    from lossreg.debug import debug_checks
    from lossreg.factory import build, config_of
    from lossreg.loss import Loss, LossOutput, Term, evaluate
    from lossreg.read import read_config
    from lossreg.schema import json_schema

# What needs torch or pydantic is imported when it is first used (PEP 562), so that listing stays quick.
_ON_FIRST_USE = {
    "Loss": "loss",
    "LossConfig": "config",
    "LossOutput": "loss",
    "Term": "loss",
    "build": "factory",
    "config_of": "factory",
    "debug_checks": "debug",
    "evaluate": "loss",
    "hookimpl": "builtin",
    "json_schema": "schema",
    "read_config": "read",
    "validate": "config",
}

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
    "validate",
]


def __getattr__(name: str) -> object:
    module = _ON_FIRST_USE.get(name)
    if module is None:
        raise AttributeError(f"module 'lossreg' has no attribute {name!r}")
    value = getattr(import_module(f"lossreg.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
