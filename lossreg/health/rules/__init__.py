"""The rules: each is a few thresholds and a pure function from a window's statistics to findings."""

from __future__ import annotations

from lossreg.health.rules.collapse import Collapse
from lossreg.health.rules.components import ComponentDominance, DeadComponent
from lossreg.health.rules.constant_prediction import ConstantPrediction
from lossreg.health.rules.constant_targets import ConstantTargets
from lossreg.health.rules.rule import Rule, Verdicts
from lossreg.health.rules.saturation import Saturation
from lossreg.health.rules.target_range import TargetRange
from lossreg.health.rules.trend import Plateau, Spike
from lossreg.health.rules.useless_targets import EmptyTargets, FullTargets, IgnoredTargets
from lossreg.health.rules.values import NonFinite, ZeroLoss

__all__ = [
    "Collapse",
    "ComponentDominance",
    "ConstantPrediction",
    "ConstantTargets",
    "DeadComponent",
    "EmptyTargets",
    "FullTargets",
    "IgnoredTargets",
    "NonFinite",
    "Plateau",
    "Rule",
    "Saturation",
    "Spike",
    "TargetRange",
    "Verdicts",
    "ZeroLoss",
    "default_rules",
]


def default_rules() -> list[Rule]:
    """Return every rule that is silent in a sound training: all but Plateau, which reports convergence as well."""
    return [
        NonFinite(),
        ZeroLoss(),
        Collapse(),
        ConstantPrediction(),
        Saturation(),
        Spike(),
        ComponentDominance(),
        DeadComponent(),
        EmptyTargets(),
        FullTargets(),
        IgnoredTargets(),
        TargetRange(),
        ConstantTargets(),
    ]
