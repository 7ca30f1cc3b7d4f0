"""The check that predictions are what the monitor's `activation` declares, logits or probabilities."""

from __future__ import annotations

from lossreg.health.event import HealthWarning
from lossreg.health.statistics import Activation
from lossreg.health.window import Window
from lossreg.messages import warn

WINDOWS = 3  # within 0 and 1 before a warning; the logits of a new network may be for one
SPAN = 0.5  # of their range; the logits of a network that is new, or is only evaluated, lie closer together
EDGE = 0.01  # or a distance from 0 or 1 that probabilities have

LOGITS_EXPECTED = (
    "{}, as probabilities do, and logits are expected: if the loss takes logits, as bce_dice_focal does, remove the"
    " sigmoid or softmax from the model; if the loss takes probabilities, pass activation='none'"
)
PROBABILITIES_EXPECTED = "{}, so they are not probabilities: leave out activation='none'"


class ActivationCheck:
    """Warns once if the range of the predictions of the first windows contradicts the activation."""

    def __init__(self, activation: Activation) -> None:
        self._expects_logits = activation != "none"
        self._within = 0  # windows with all predictions in [0, 1]
        self._is_over = False

    def add(self, window: Window) -> None:
        """Look at a window, and warn if it settles the question."""
        masks = [mask for example in window.examples() for mask in example.masks]
        ranges = [(m.lowest, m.highest) for m in masks if m.lowest is not None and m.highest is not None]
        if self._is_over or not ranges:
            return
        lowest, highest = min(low for low, _ in ranges), max(high for _, high in ranges)
        found = f"the predictions range from {lowest:.3g} to {highest:.3g}"
        is_within = 0 <= lowest <= highest <= 1
        if not self._expects_logits or not is_within or lowest == highest:
            self._is_over = True
            if not self._expects_logits and not is_within:
                warn(PROBABILITIES_EXPECTED.format(found), HealthWarning)
            return
        self._within += 1
        is_wide = highest - lowest >= SPAN or lowest < EDGE or highest > 1 - EDGE
        if self._within >= WINDOWS and is_wide:
            self._is_over = True
            warn(LOGITS_EXPECTED.format(found), HealthWarning)
