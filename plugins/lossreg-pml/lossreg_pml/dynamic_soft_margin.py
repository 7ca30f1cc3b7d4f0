"""The library's DynamicSoftMarginLoss, corrected for more than one training step."""

from __future__ import annotations

from typing import Any

from pytorch_metric_learning import losses  # type: ignore[import-untyped]
from torch import Tensor


class DynamicSoftMarginLoss(losses.DynamicSoftMarginLoss):  # type: ignore[misc]
    """The library's class with a histogram that keeps no graph.

    The library's histogram keeps the graph of each batch, so that the second backward pass raises: the first graph is
    freed. Here the histogram is detached after each call. Values, and the gradient of a first step, are the library's.
    """

    hist_: Tensor

    def forward(self, *args: Any, **options: Any) -> Tensor:
        value: Tensor = super().forward(*args, **options)
        self.hist_ = self.hist_.detach()
        return value
