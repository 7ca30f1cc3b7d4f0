"""The former place of `lossreg.authoring.Library`."""

import warnings

from lossreg.authoring.library import Library as Library

if __name__ == "lossreg.library":
    warnings.warn("lossreg.library is now lossreg.authoring", DeprecationWarning, stacklevel=2)
