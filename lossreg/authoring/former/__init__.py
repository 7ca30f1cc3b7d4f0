"""Modules under the names that they had in the documentation of 0.1: `lossreg.library`, `lossreg.slots`."""
