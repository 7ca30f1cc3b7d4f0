"""Rules for the trend of the total: a spike, and a plateau."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from lossreg.health.event import Finding
from lossreg.health.rules.rule import Rule, Verdicts
from lossreg.health.window import Window, ids

NORMAL = 1.4826  # standard deviation of a normal distribution in median absolute deviations


@dataclass(frozen=True, kw_only=True)
class Spike(Rule):
    """A total far above those before it. Later totals are not compared, so the first steep fall is no spike.

    Totals of 0, such as those of batches without foreground, are no measure of the others and do not count.

    Args:
        deviations: standard deviations above the median of the earlier totals, estimated from their median absolute
            deviation, >= 0.
        magnitudes: the same of the logarithms of the totals, if all are above 0, >= 0. It leaves out the long tails of
            losses at batches of one image, where one total is often ten times another.
        factor: times the largest magnitude among the earlier totals, >= 1. Losses of small batches have long tails,
            and a gradient scaler doubles its scale; neither reaches 3.
        span: number of earlier totals, in updates, >= 2.
        least: minimum number of them, in updates, in [2, span].
    Reads: loss, history.
    """

    deviations: float = 10.0
    magnitudes: float = 6.0
    factor: float = 3.0
    span: int = 100
    least: int = 30

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 2 <= self.least <= self.span:
            self._refuse("2 <= least <= span", least=self.least, span=self.span)

    @property
    def history(self) -> int:
        return self.span

    def check(self, window: Window) -> Verdicts:
        before = list(window.history)
        judged, found = False, None
        for update in window.updates:
            loss = update.loss
            if loss is None or not math.isfinite(loss):
                continue
            recent = [value for value in before[-self.span :] if value]
            if len(recent) >= self.least:
                judged = True
                if self._is_spike(loss, recent) and (found is None or loss > found[0]):
                    found = loss, median(recent), update
            before.append(loss)
        if found is None:
            return {"": None} if judged else {}
        value, usual, update = found
        worst = sorted(update.examples, key=lambda example: -(example.loss if example.loss is not None else -math.inf))
        hint = "look at the samples of this update; if the loss stays high, lower the learning rate or clip gradients"
        return {"": Finding("warning", {"loss": value, "median": usual}, hint, "fault", ids(worst), update.step)}

    def _is_spike(self, loss: float, recent: Sequence[float]) -> bool:
        if min(recent) == max(recent):  # no deviation to compare with
            return False
        if loss <= self.factor * max(map(abs, recent)) or not _is_beyond(loss, recent, self.deviations):
            return False
        return min(recent) <= 0 or _is_beyond(math.log(loss), [math.log(value) for value in recent], self.magnitudes)


def _is_beyond(value: float, others: Sequence[float], deviations: float) -> bool:
    """Return True if a value is above the median of others by a number of their standard deviations."""
    middle = median(others)
    return value > middle + deviations * NORMAL * median(abs(other - middle) for other in others)


@dataclass(frozen=True, kw_only=True)
class Plateau(Rule):
    """A total that no longer falls: the later half of the last totals has as high a median as the earlier half.

    A converged training does this as well, so the rule is not among the defaults.

    Args:
        span: number of last totals, in updates, >= 4. Several epochs, so that both halves have similar samples.
        fall: minimum fall of the median, as a share of the earlier median, >= 0.
    Reads: loss, history.
    """

    span: int = 1000
    fall: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.span < 4:
            self._refuse("span >= 4", span=self.span)

    @property
    def history(self) -> int:
        return self.span

    def check(self, window: Window) -> Verdicts:
        losses = [*window.history, *(loss for _, loss in window.losses() if math.isfinite(loss))][-self.span :]
        if len(losses) < self.span:
            return {}
        half = self.span // 2
        before, after = median(losses[:half]), median(losses[-half:])
        if before - after > self.fall * abs(before) or max(map(abs, losses)) == 0:
            return {"": None}
        hint = "if the training has not converged: raise the learning rate or restart its schedule, and check that the"
        hint += " optimizer has all parameters"
        return {"": Finding("info", {"before": before, "after": after, "updates": self.span}, hint)}
