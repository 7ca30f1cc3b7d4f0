"""Loss health: is the loss alive, and has the model collapsed?"""

from __future__ import annotations

from lossreg.errors import HealthError
from lossreg.health.event import HealthEvent, HealthWarning
from lossreg.health.monitor import LossMonitor
from lossreg.health.one_batch import BatchCheck, check
from lossreg.health.rules import (
    Collapse,
    ComponentDominance,
    ConstantPrediction,
    ConstantTargets,
    DeadComponent,
    EmptyTargets,
    FullTargets,
    IgnoredTargets,
    NonFinite,
    Plateau,
    Rule,
    Saturation,
    Spike,
    TargetRange,
    ZeroLoss,
    default_rules,
)
from lossreg.health.sinks import JsonLines, to_hooks, to_log
from lossreg.health.snapshot import Snapshot

__all__ = [
    "BatchCheck",
    "Collapse",
    "ComponentDominance",
    "ConstantPrediction",
    "ConstantTargets",
    "DeadComponent",
    "EmptyTargets",
    "FullTargets",
    "HealthError",
    "HealthEvent",
    "HealthWarning",
    "IgnoredTargets",
    "JsonLines",
    "LossMonitor",
    "NonFinite",
    "Plateau",
    "Rule",
    "Saturation",
    "Snapshot",
    "Spike",
    "TargetRange",
    "ZeroLoss",
    "check",
    "default_rules",
    "to_hooks",
    "to_log",
]
