"""One pass over logits and target, which the terms of a weighted sum can share."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from lossreg_segmentation.statistics import MaskStatistics, mask_statistics
from lossreg_segmentation.statistics.request import FIELDS, Activation, Request


@dataclass(eq=False, slots=True)
class MaskPass:
    """Arguments of `mask_statistics`. A target (N, *) of independent masks is that of each of them."""

    input: Tensor
    target: Tensor
    activation: Activation
    needs: frozenset[str]
    gamma: float = 2.0
    ignore_index: int | None = None
    threshold: float = 0.0
    weight: Tensor | None = None

    def merged(self, other: object) -> MaskPass | None:
        """Return one pass for both, if they read the same tensors in the same way; otherwise None."""
        if not isinstance(other, MaskPass) or self.input is not other.input or self.target is not other.target:
            return None
        if self.weight is not other.weight:
            return None
        both = self.request().merged(other.request())
        if both is None:
            return None
        return replace(self, needs=frozenset(both.needs), gamma=both.gamma, threshold=both.threshold)

    def request(self) -> Request:
        """Return everything about the pass except its tensors."""
        needs = tuple(name for name in FIELDS if name in self.needs)
        return Request(self.activation, needs, float(self.gamma), self.ignore_index, float(self.threshold))

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
            weight=self.weight,
        )
