"""The panels of a picture as numbers: their axes and lines. A line that is flat everywhere is not drawn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from lossreg.authoring.plot.calls import Value, channels_of, contract_of
from lossreg.authoring.plot.curves import (
    EMPTY_SIDE,
    LOGITS,
    Curve,
    Scene,
    curve,
    empty_mask,
    false_disc,
    one_colour,
    probabilities,
    right_disc,
)
from lossreg.authoring.plot.shapes import RADIUS, SWEEPS, sampled
from lossreg.authoring.plot.variants import ONE, policies, variants
from lossreg.registries import losses

PANELS = ("value", "gradient", "empty", "empty_gradient", "absent", *SWEEPS)

LOGIT = "logit of every pixel"
DISC_LOGIT = "logit inside the disc, the opposite outside"
MEAN = "mean prediction = sigmoid(logit) (probability)"
DISC_MEAN = "probability inside the disc"
SLOPE = "d loss / d logit"

NOTHING = 1e-6  # a span of a loss that is rounding alone
VISIBLE = 0.005  # of the largest span: less than one can see


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
    def span(self) -> float:
        """Return the difference between the largest value and the smallest."""
        return max(self.values) - min(self.values)


class Panel(NamedTuple):
    """A panel of a picture.

    Args:
        title: the subject of the panel.
        across, up: the axes, with their units.
        lines: each varies.
        constant: lines that are the same everywhere, which are not drawn.
    """

    title: str
    across: str
    up: str
    lines: tuple[Line, ...]
    constant: tuple[Line, ...]


def constant(panel: Panel) -> str:
    """Say which lines are the same everywhere, and where: "0 everywhere: absent = zero"."""
    found: dict[str, list[str]] = {}
    for line in panel.constant:
        of = ", ".join(filter(None, [line.label, "" if line.target is None else f"target {line.target}"]))
        about = "about " if line.span > NOTHING else ""
        found.setdefault(f"{about}{line.values[0]:.2g} everywhere", []).append(of)
    return "; ".join(f"{where}: {', '.join(of)}" if any(of) else where for where, of in found.items())


def panels(
    name: str, params: Mapping[str, Any] | None = None, *, vary: tuple[str, Sequence[Any]] | None = None
) -> dict[str, Panel]:
    """Sample the panels of a loss of logits and masks, by their names in PANELS.

    Args:
        name: a name, an alias or provider/name.
        params: its parameters; required ones that are left out are those of its smallest config.
        vary: a parameter and its values, a line for each. None: the parameter that shows most.
    Raises:
        LossregError: the loss has other inputs than logits and masks or class indices.
        InvalidConfigError: the loss does not take these parameters.
    """
    entry, given = losses.entry(name), params or {}
    channels = channels_of(entry)
    drawn = variants(entry, given, vary, channels)
    scenes = _scenes(drawn, positional=bool((contract_of(entry) or {}).get("positional")))
    found = dict(_over_logits(drawn, scenes))
    if choices := policies(entry, given, channels):
        over = {label: curve(value, scenes.empty) for label, value in choices.items()}
        found["absent"] = _panel(f"{scenes.on_empty}, by absent", scenes.mean, "loss", _on_empty(over, "values"))
    swept = {
        key: [Line(label, sweep.numbers, sampled(value, sweep)) for label, value in drawn.items()]
        for key, sweep in SWEEPS.items()
    }
    scale = max(line.span for lines in swept.values() for line in lines)
    for key, sweep in SWEEPS.items():
        found[key] = _panel(sweep.title, sweep.across, "loss", swept[key], scale)
    return {key: found[key] for key in PANELS if key in found}


class _Scenes(NamedTuple):
    """What value and gradient are drawn of, by the target of an image of one colour, and the words for it."""

    full: Mapping[int | None, Scene]
    empty: Scene
    title: str
    logit: str
    on_empty: str
    mean: str


def _scenes(drawn: Mapping[str, Value], *, positional: bool) -> _Scenes:
    """Return images of one colour, or discs for a loss to which these tell nothing."""
    full: Mapping[int | None, Scene] = {1: one_colour(1), 0: one_colour(0)}
    if not positional and any(_varies(value, scene) for value in drawn.values() for scene in full.values()):
        size = f"{EMPTY_SIDE} x {EMPTY_SIDE} pixels"
        return _Scenes(full, empty_mask(), "value", LOGIT, f"value on an empty mask, {size}", MEAN)
    title = f"value, a disc of radius {RADIUS}"
    on_empty = f"value on an empty mask where a disc of radius {RADIUS} is predicted"
    return _Scenes({None: right_disc()}, false_disc(), title, DISC_LOGIT, on_empty, DISC_MEAN)


def _varies(value: Value, scene: Scene) -> bool:
    return Line(ONE, LOGITS, curve(value, scene, LOGITS[::13]).values).span > NOTHING


def _over_logits(drawn: Mapping[str, Value], scenes: _Scenes) -> Iterator[tuple[str, Panel]]:
    """Yield value and gradient over the logit, and on an empty mask."""
    over = [(label, t, curve(value, scene)) for label, value in drawn.items() for t, scene in scenes.full.items()]
    for key, kind, title, up in (
        ("value", "values", scenes.title, "loss"),
        ("gradient", "gradients", f"{scenes.title.replace('value', 'gradient')}, summed over the pixels", SLOPE),
    ):
        lines = [Line(label, LOGITS, getattr(each, kind), target) for label, target, each in over]
        yield key, _panel(title, scenes.logit, up, lines)
    empty = {label: curve(value, scenes.empty) for label, value in drawn.items()}
    of_pixels = "mean over the pixels" if scenes.empty.pixels > 1 else "summed over the pixels"
    yield "empty", _panel(scenes.on_empty, scenes.mean, "loss", _on_empty(empty, "values"))
    title = f"{scenes.on_empty.replace('value', 'gradient')}, {of_pixels}"
    yield "empty_gradient", _panel(title, scenes.mean, SLOPE, _on_empty(empty, "gradients"))


def _on_empty(over: Mapping[str, Curve], kind: str) -> list[Line]:
    return [Line(label, probabilities(LOGITS), getattr(each, kind)) for label, each in over.items()]


def _panel(title: str, across: str, up: str, lines: Sequence[Line], scale: float | None = None) -> Panel:
    """Return a panel; where the labels make no difference, the lines of the first stand for all.

    Args:
        scale: a line that spans less than VISIBLE of it is constant. None: the largest span of these lines.
    """
    by_label: dict[str, list[Line]] = {}
    for line in lines:
        by_label.setdefault(line.label, []).append(line)
    first, *others = by_label.values()
    if all([line.values for line in other] == [line.values for line in first] for other in others):
        lines = [line._replace(label=ONE) for line in first]
    least = max(NOTHING, VISIBLE * (max(line.span for line in lines) if scale is None else scale))
    drawn = tuple(line for line in lines if line.span >= least)
    return Panel(title, across, up, drawn, tuple(line for line in lines if line.span < least))
