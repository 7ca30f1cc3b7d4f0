"""The former place of `lossreg.authoring.Functions` and `Part`."""

import warnings

from lossreg.parameters.types import Functions as Functions
from lossreg.parameters.types import Part as Part

if __name__ == "lossreg.slots":
    warnings.warn("lossreg.slots is now lossreg.authoring", DeprecationWarning, stacklevel=2)
