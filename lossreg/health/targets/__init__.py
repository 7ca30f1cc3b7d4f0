"""Statistics of a data set's masks: `lossreg check-targets`, and `examine` in Python."""

from lossreg.health.targets.examine import examine
from lossreg.health.targets.picture import draw_targets
from lossreg.health.targets.report import Flag, Mask, TargetFinding, TargetReport, Unreadable
from lossreg.health.targets.sources import read_targets

__all__ = [
    "Flag",
    "Mask",
    "TargetFinding",
    "TargetReport",
    "Unreadable",
    "draw_targets",
    "examine",
    "read_targets",
]
