"""The losses of one picture: one for each value of a parameter, or for each policy for absent classes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from torch import nn

from lossreg.authoring.describe import description
from lossreg.authoring.plot.calls import Value, caller
from lossreg.config.factory import build
from lossreg.errors import LossregError
from lossreg.loss import Loss
from lossreg.registry.entry import Entry

# The parameter that shows most of a loss is the first of these that it has, drawn with these values and its default.
VALUES: Mapping[str, Sequence[float]] = {
    "gamma": (0.0, 0.5, 1.0, 2.0, 5.0),
    "exponent": (0.5, 1.0, 2.0),
    "epsilon": (-1.0, 0.0, 1.0, 4.0),
    "k": (0.01, 0.1, 0.5, 1.0),
    "pos_weight": (0.25, 1.0, 4.0),
    "beta": (0.5, 1.0, 2.0, 4.0),
    "smooth": (0.0, 1.0, 100.0),
}
LEAST = 0.01
ONE = ""  # the label of the only loss of a picture


def variants(
    entry: Entry, params: Mapping[str, Any], vary: tuple[str, Sequence[Any]] | None, channels: int
) -> dict[str, Value]:
    """Return the losses of a picture by label.

    Args:
        entry: the loss.
        params: its parameters; its smallest config has those that are left out.
        vary: a parameter and its values. None: the one that shows most, or the steps of a schedule.
        channels: as in `caller`.
    Raises:
        InvalidConfigError: the loss does not take these parameters.
    """
    given = _given(entry, params)
    name, values = vary or _telling(entry, given)
    if name:
        return {label(name, value): caller(_built(entry, {**given, name: value}), channels) for value in values}
    module = _built(entry, given)
    steps = _steps(module)
    if len(steps) > 1:
        return {label("step", step): caller(module, channels, step) for step in steps}
    return {ONE: caller(module, channels)}


def policies(entry: Entry, params: Mapping[str, Any], channels: int) -> dict[str, Value]:
    """Return the loss with each policy for masks without target pixels that it has; none if it has no choice."""
    found = {}
    schema = description(entry)["parameters"]["properties"].get("absent", {})
    for policy in schema.get("enum", ()):
        with suppress(LossregError):  # one that has no meaning for this loss
            module = _built(entry, {**_given(entry, params), "absent": policy})
            found[label("absent", policy)] = caller(module, channels)
    return found if len(found) > 1 else {}


def label(name: str, value: object) -> str:
    """Return `name = value`."""
    if isinstance(value, float):
        return f"{name} = {value:g}"
    return f"{name} = {value if isinstance(value, str) else json.dumps(value)}"


def _given(entry: Entry, params: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**entry.metadata.get("example", {}), **params}


def _built(entry: Entry, params: Mapping[str, Any]) -> nn.Module:
    module: nn.Module = build({"name": entry.full_name, "params": dict(params)})
    return module


def _telling(entry: Entry, given: Mapping[str, Any]) -> tuple[str, Sequence[Any]]:
    properties = description(entry)["parameters"]["properties"]
    for name, values in VALUES.items():
        if name in properties and name not in given:
            schema = properties[name]
            default = schema.get("default")
            own = {default} if isinstance(default, int | float) else set()
            like = {0.0} if any(0 < value < LEAST for value in own) else set()  # the same line as the default
            return name, sorted({value for value in values if _is_allowed(value, schema)} - like | own)
    return "", ()


def _is_allowed(value: float, schema: Mapping[str, Any]) -> bool:
    low, high = schema.get("minimum", value), schema.get("maximum", value)
    above, below = schema.get("exclusiveMinimum", value - 1), schema.get("exclusiveMaximum", value + 1)
    return bool(low <= value <= high and above < value < below)


def _steps(module: nn.Module) -> list[int]:
    """Return the first step, the middle and the last of a schedule."""
    if not isinstance(module, Loss) or "step" not in module.option_names():
        return []
    points = [step for part in module.modules() for points in getattr(part, "points", ()) for step, _ in points]
    return sorted({0, max(points) // 2, max(points)})
