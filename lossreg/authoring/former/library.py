"""The former place of `lossreg.authoring.Library`."""

from lossreg.authoring.library import Library as Library
from lossreg.messages import warn

if __name__ == "lossreg.library":
    warn("lossreg.library is now lossreg.authoring", DeprecationWarning)
