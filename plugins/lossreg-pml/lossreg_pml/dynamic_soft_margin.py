"""DynamicSoftMarginLoss of the library, for more than one training step."""

from __future__ import annotations

from typing import Any

from pytorch_metric_learning import losses  # type: ignore[import-untyped]
from torch import Tensor


class DynamicSoftMarginLoss(losses.DynamicSoftMarginLoss):  # type: ignore[misc]
    """The library's class, which keeps the graph of each batch in its histogram.

    There the second backward pass raises that the first graph is gone. Here the histogram forgets where it came from
    once the loss is known: values, and the gradient of a first step, are the library's.
    """

    hist_: Tensor

    def forward(self, *args: Any, **options: Any) -> Tensor:
        value: Tensor = super().forward(*args, **options)
        self.hist_ = self.hist_.detach()
        return value
