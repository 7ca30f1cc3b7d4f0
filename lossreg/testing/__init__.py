"""The conformance kit: what every loss must keep, checked on any registered loss or module.

    from lossreg.testing import check_loss
    check_loss("dice", waive={"oracle": "compared with two peers elsewhere"})

or, for all losses of a package, one line in the configuration of pytest: `lossreg_losses = acme`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lossreg.testing.case import Case, Ignoring, MaskCase, Options
    from lossreg.testing.conformance import CHECKS, ConformanceError, Result, check_loss

# pytest imports this package wherever lossreg is installed; torch only where losses are checked (PEP 562).
_ON_FIRST_USE = {
    "CHECKS": "conformance",
    "Case": "case",
    "ConformanceError": "conformance",
    "Ignoring": "case",
    "MaskCase": "case",
    "Options": "case",
    "Result": "conformance",
    "check_loss": "conformance",
}

__all__ = ["CHECKS", "Case", "ConformanceError", "Ignoring", "MaskCase", "Options", "Result", "check_loss"]


def __getattr__(name: str) -> object:
    module = _ON_FIRST_USE.get(name)
    if module is None:
        raise AttributeError(f"module 'lossreg.testing' has no attribute {name!r}")
    value = getattr(import_module(f"lossreg.testing.{module}"), name)
    globals()[name] = value
    return value
