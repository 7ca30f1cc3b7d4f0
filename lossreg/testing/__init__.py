"""Conformance kit: checks of the properties that every loss must have, on any registered loss or module.

    from lossreg.testing import check_loss
    check_loss("dice", waive={"oracle": "compared with two peers elsewhere"})

or, for all losses of a package, one line in the configuration of pytest: `lossreg_losses = acme-losses`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lossreg.registry.importing import lazy

if TYPE_CHECKING:
    from lossreg.testing.case import Case, Ignoring, MaskCase, Options
    from lossreg.testing.conformance import CHECKS, ConformanceError, Result, check_loss

# pytest imports this package if lossreg is installed; it imports torch only to check losses.
__getattr__, __dir__ = lazy(
    __name__,
    {
        "CHECKS": "lossreg.testing.conformance",
        "Case": "lossreg.testing.case",
        "ConformanceError": "lossreg.testing.conformance",
        "Ignoring": "lossreg.testing.case",
        "MaskCase": "lossreg.testing.case",
        "Options": "lossreg.testing.case",
        "Result": "lossreg.testing.conformance",
        "check_loss": "lossreg.testing.conformance",
    },
)

__all__ = ["CHECKS", "Case", "ConformanceError", "Ignoring", "MaskCase", "Options", "Result", "check_loss"]
