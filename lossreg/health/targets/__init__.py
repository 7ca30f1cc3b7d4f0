"""Statistics of a data set's masks: `lossreg check-targets`, and `examine` in Python."""

from lossreg.health.targets.examine import examine, examine_source
from lossreg.health.targets.picture import draw_targets
from lossreg.health.targets.report import Coloured, Flag, Mask, TargetFinding, TargetReport, Unreadable
from lossreg.health.targets.sources import read_targets
from lossreg.health.targets.suggest import Suggestion, suggest

__all__ = [
    "Coloured",
    "Flag",
    "Mask",
    "Suggestion",
    "TargetFinding",
    "TargetReport",
    "Unreadable",
    "draw_targets",
    "examine",
    "examine_source",
    "read_targets",
    "suggest",
]
