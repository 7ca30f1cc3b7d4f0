"""The checks of a monitor's arguments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from lossreg.errors import InputError
from lossreg.health.rules import Rule
from lossreg.health.statistics import Activation


def check_options(rules: object, every: int, action: object, activation: object, loss: object) -> None:
    """Check the arguments of LossMonitor.

    Raises:
        InputError: an argument of the wrong type or out of range.
    """
    if rules is not None and (isinstance(rules, str) or not isinstance(rules, Sequence)):
        raise InputError(f"rules must be a list, such as [Collapse(), NonFinite()], got {rules!r:.80}")
    for rule in rules or ():
        if not isinstance(rule, Rule):
            raise InputError(f"rules must be instances of lossreg.health.Rule, such as Collapse(), got {rule!r:.80}")
    if not isinstance(every, int) or every < 1:
        raise InputError(f"every must be a number of updates >= 1, got {every!r}")
    if action not in ("warn", "raise", "stop") and not callable(action):
        raise InputError(f"action must be 'warn', 'raise', 'stop' or a callable of an event, got {action!r:.80}")
    if activation not in get_args(Activation):
        allowed = ", ".join(map(repr, get_args(Activation)))
        raise InputError(f"activation must be one of {allowed}, got {activation!r:.80}")
    if loss is not None and not callable(getattr(loss, "terms", None)):
        name = type(loss).__name__
        raise InputError(f"loss must be a lossreg.Loss, because its terms are differentiated, got {name}; leave it out")
