"""The panels of a picture as numbers: their axes and lines, and what is the same everywhere and therefore not drawn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from lossreg.authoring.plot.calls import channels_of, contract_of
from lossreg.authoring.plot.curves import (
    EMPTY_SIDE,
    Curve,
    Curves,
    DiscCurves,
    curves,
    disc_curves,
    probabilities,
)
from lossreg.authoring.plot.shapes import RADIUS, SWEEPS, sampled
from lossreg.authoring.plot.variants import ONE, Variant, policies, variants
from lossreg.registries import losses

PANELS = ("value", "gradient", "empty", "empty_gradient", "absent", *SWEEPS)

LOGIT = "logit of every pixel"
DISC_LOGIT = "logit inside the disc, the opposite outside"
MEAN = "mean prediction = sigmoid(logit) (probability)"
DISC_MEAN = "probability inside the disc"


class Line(NamedTuple):
    """A line of a panel.

    Args:
        label: what differs from the other lines; empty for an only one.
        across: the numbers of the axis.
        values: the value at each of them.
        target: 1 or 0 for an image of one colour, None for a shape.
    """

    label: str
    across: tuple[float, ...]
    values: tuple[float, ...]
    target: int | None = None

    @property
    def is_constant(self) -> bool:
        """Return True if the values differ by less than one can see."""
        low, high = min(self.values), max(self.values)
        return high - low <= 1e-6 * max(1.0, abs(low), abs(high))


class Panel(NamedTuple):
    """A panel of a picture.

    Args:
        title: what is drawn.
        across, up: the axes, with their units.
        lines: each varies.
        constant: lines that are the same everywhere, which are not drawn.
    """

    title: str
    across: str
    up: str
    lines: tuple[Line, ...]
    constant: tuple[Line, ...]


def panels(
    name: str, params: Mapping[str, Any] | None = None, *, vary: tuple[str, Sequence[Any]] | None = None
) -> dict[str, Panel]:
    """Sample the panels of a loss of logits and masks, by their names in PANELS.

    Args:
        name: a name, an alias or provider/name.
        params: its parameters; required ones that are left out are those of its smallest config.
        vary: a parameter and its values, a line for each. None: the parameter that tells most.
    Raises:
        LossregError: the loss has other inputs than logits and masks or class indices.
        InvalidConfigError: the loss does not take these parameters.
    """
    entry = losses.entry(name)
    channels = channels_of(entry)
    positional = bool((contract_of(entry) or {}).get("positional"))
    drawn = variants(entry, params, vary)
    found = dict(_over_logits(drawn, channels, positional))
    if choices := policies(entry, params):
        over = dict(_over_logits(choices, channels, positional))["empty"]
        found["absent"] = over._replace(title=f"{over.title}, by absent")
    for key, sweep in SWEEPS.items():
        lines = [
            Line(label, sweep.numbers, sampled(one.module, sweep, channels=channels, step=one.step))
            for label, one in drawn.items()
        ]
        found[key] = _panel(sweep.title, sweep.across, "loss", lines)
    return {key: found[key] for key in PANELS if key in found}


def _over_logits(drawn: Mapping[str, Variant], channels: int, positional: bool) -> Iterator[tuple[str, Panel]]:
    """Yield value and gradient over the logit, and on an empty mask: of images of one colour if these tell anything."""
    if not positional:
        plain = {label: curves(one.module, channels=channels, step=one.step) for label, one in drawn.items()}
        found = dict(_of_images(plain))
        if found["value"].lines:
            yield from found.items()
            return
    discs = {label: disc_curves(one.module, channels=channels, step=one.step) for label, one in drawn.items()}
    yield from _of_discs(discs)


def _of_images(plain: Mapping[str, Curves]) -> Iterator[tuple[str, Panel]]:
    pairs = [(label, target, each) for label, each in plain.items() for target in (1, 0)]

    def lines(kind: str) -> list[Line]:
        return [
            Line(label, each.logits, getattr(each.foreground if target else each.background, kind), target)
            for label, target, each in pairs
        ]

    def on_empty(kind: str) -> list[Line]:
        return [Line(label, probabilities(each.logits), getattr(each.empty, kind)) for label, each in plain.items()]

    size = f"{EMPTY_SIDE} x {EMPTY_SIDE} pixels"
    yield "value", _panel("value", LOGIT, "loss", lines("values"))
    yield "gradient", _panel("gradient", LOGIT, "d loss / d logit, summed over the pixels", lines("gradients"))
    yield "empty", _panel(f"value on an empty mask, {size}", MEAN, "loss", on_empty("values"))
    yield (
        "empty_gradient",
        _panel(
            "mean gradient on the empty mask", MEAN, "d loss / d logit, mean over the pixels", on_empty("gradients")
        ),
    )


def _of_discs(discs: Mapping[str, DiscCurves]) -> Iterator[tuple[str, Panel]]:
    def lines(of: str, kind: str) -> list[Line]:
        return [
            Line(label, probabilities(each.logits) if of == "empty" else each.logits, getattr(_curve(each, of), kind))
            for label, each in discs.items()
        ]

    slope = "d loss / d logit, summed over the pixels"
    yield "value", _panel(f"value, a disc of radius {RADIUS}", DISC_LOGIT, "loss", lines("right", "values"))
    yield "gradient", _panel("gradient, the same disc", DISC_LOGIT, slope, lines("right", "gradients"))
    title = f"an empty mask where a disc of radius {RADIUS} is predicted"
    yield "empty", _panel(title, DISC_MEAN, "loss", lines("empty", "values"))
    yield "empty_gradient", _panel(f"gradient, {title}", DISC_MEAN, slope, lines("empty", "gradients"))


def _curve(each: DiscCurves, of: str) -> Curve:
    return each.empty if of == "empty" else each.right


def _panel(title: str, across: str, up: str, lines: Sequence[Line]) -> Panel:
    """Return a panel; where the labels make no difference, the lines of the first stand for all."""
    by_label: dict[str, list[Line]] = {}
    for line in lines:
        by_label.setdefault(line.label, []).append(line)
    first, *others = by_label.values()
    if all([line.values for line in other] == [line.values for line in first] for other in others):
        lines = [line._replace(label=ONE) for line in first]
    varying = tuple(line for line in lines if not line.is_constant)
    return Panel(title, across, up, varying, tuple(line for line in lines if line.is_constant))
