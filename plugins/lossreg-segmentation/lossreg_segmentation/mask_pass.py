"""One pass over logits and target, which the terms of a weighted sum can share."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from lossreg_segmentation.statistics import MaskStatistics, mask_statistics
from lossreg_segmentation.statistics.request import FOCAL, HARD, Activation


@dataclass(eq=False, slots=True)
class MaskPass:
    """Arguments of `mask_statistics`. A target (N, *) of independent masks is the target of their one channel."""

    input: Tensor
    target: Tensor
    activation: Activation
    needs: frozenset[str]
    gamma: float = 2.0
    ignore_index: int | None = None
    threshold: float = 0.0

    def merged(self, other: object) -> MaskPass | None:
        """Return one pass for both, if they read the same tensors in the same way; otherwise None."""
        if not isinstance(other, MaskPass) or self.input is not other.input or self.target is not other.target:
            return None
        if (self.activation, self.ignore_index) != (other.activation, other.ignore_index):
            return None
        # A pass that does not use gamma or the threshold accepts the other's.
        gamma = self._common(other, FOCAL, self.gamma, other.gamma)
        threshold = self._common(other, HARD, self.threshold, other.threshold)
        if gamma is None or threshold is None:
            return None
        return replace(self, needs=self.needs | other.needs, gamma=gamma, threshold=threshold)

    def compute(self) -> MaskStatistics:
        """Compute the sums."""
        target = self.target
        if self.activation == "sigmoid" and target.ndim < self.input.ndim:
            target = target.unsqueeze(1)
        return mask_statistics(
            self.input,
            target,
            activation=self.activation,
            needs=self.needs,
            gamma=self.gamma,
            ignore_index=self.ignore_index,
            threshold=self.threshold,
        )

    def _common(self, other: MaskPass, fields: frozenset[str], mine: float, theirs: float) -> float | None:
        if not self.needs & fields:
            return theirs
        return mine if mine == theirs or not other.needs & fields else None
