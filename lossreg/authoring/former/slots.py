"""The former place of `lossreg.authoring.Functions` and `Part`."""

from lossreg.messages import warn
from lossreg.parameters.types import Functions as Functions
from lossreg.parameters.types import Part as Part

if __name__ == "lossreg.slots":
    warn("lossreg.slots is now lossreg.authoring", DeprecationWarning)
