"""The numbers of a monitor's last window, for progress bars and loggers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from lossreg.health.rules.judged import are_masks, exclude_each_other
from lossreg.health.window import Mask, Window


@dataclass(frozen=True)
class Snapshot:
    """The means of a monitor's last window; before the first one, and where something was not given, None.

    Of class indices, and of other exclusive classes, all but class 0 are foreground.

    Args:
        step: of the window's last update.
        loss: mean of the totals.
        pred_mean: mean probability of foreground, in [0, 1].
        target_mean: mean of the target, in [0, 1].
        pred_foreground: share of the pixels with a probability above 0.5, in [0, 1].
        target_foreground: share of the pixels with a target above 0.5, in [0, 1].
        empty: share of the examples whose target has no foreground, in [0, 1].
        components: share of each of several components in the total, in [0, 1], by weighted magnitude. Without the
            monitor's `loss=` the weights are taken as 1.
    """

    step: int | None = None
    loss: float | None = None
    pred_mean: float | None = None
    target_mean: float | None = None
    pred_foreground: float | None = None
    target_foreground: float | None = None
    empty: float | None = None
    components: Mapping[str, float] = field(default_factory=dict)

    def as_dict(self, prefix: str = "") -> dict[str, float]:
        """Return the numbers that are known, by name, such as {"loss": 0.4, "pred_mean": 0.1, "share_dice": 0.7}.

        Args:
            prefix: of the names, such as "health/".
        """
        known = {name: value for name, value in vars(self).items() if isinstance(value, float)}
        shares = {f"share_{name}": value for name, value in self.components.items()}
        return {f"{prefix}{name}": value for name, value in (known | shares).items()}


def snapshot_of(window: Window) -> Snapshot:
    """Return the snapshot of a window."""
    masks = list(_foregrounds(window))
    losses = [loss for _, loss in window.losses()]
    empty = [float(example.empty) for example in window.examples() if example.empty is not None]
    predicted, target, positive, foreground = map(_mean, _columns(masks))
    loss, shares = _mean(losses), _shares(window)
    return Snapshot(window.step, loss, predicted, target, positive, foreground, _mean(empty), shares)


def _columns(masks: Sequence[Mask]) -> list[list[float]]:
    fields = ("predicted", "target", "positive", "foreground")
    return [[value for mask in masks if (value := getattr(mask, name)) is not None] for name in fields]


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None


def _foregrounds(window: Window) -> Iterator[Mask]:
    """Yield the masks of each example that show foreground: all, or the sum of exclusive classes but the first."""
    judged = [example.masks for example in window.examples() if are_masks(example)]
    valid = [[mask for mask in masks if mask.valid > 0 and mask.predicted is not None] for masks in judged]
    examples = [masks for masks in valid if masks]
    is_exclusive = exclude_each_other(examples)
    for masks in examples:
        yield from [_sum(masks[1:])] if is_exclusive else masks


def _sum(masks: Sequence[Mask]) -> Mask:
    """Return a mask of the classes together. All of them have a target, or none has."""
    predicted, target, positive, foreground = (sum(values) if values else None for values in _columns(masks))
    return Mask(masks[0].valid, predicted, target=target, positive=positive, foreground=foreground)


def _shares(window: Window) -> dict[str, float]:
    """Return the mean share of each component over the updates."""
    shares: dict[str, list[float]] = {}
    for update in window.updates:
        parts = {name: abs(value * window.weights.get(name, 1.0)) for name, value in update.components.items()}
        whole = sum(parts.values())
        for name, part in parts.items() if len(parts) > 1 and 0 < whole < float("inf") else ():
            shares.setdefault(name, []).append(part / whole)
    return {name: fmean(values) for name, values in shares.items()}
