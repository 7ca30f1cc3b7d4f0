"""The forward pass of a plan and its gradient on a CPU: two passes over the tensors, and the steps of `finish`."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from lossreg_segmentation.one_function.finish import Finish
from lossreg_segmentation.one_function.groups import Array


class Launch(Protocol):
    """The two passes over tensors of one shape and type."""

    def sums(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> Array:
        """Compute the sums, (K, B, C)."""

    def gradient(self, input: Tensor, target: Tensor, slopes: Array, weight: Tensor | None = None) -> Tensor:
        """Compute the gradient to the input from that to the sums."""


class Steps:
    """The steps in NumPy, for every table."""

    def __init__(self, launch: Launch, finish: Finish, shape: tuple[int, ...]) -> None:
        self.launch, self.finish, self.shape = launch, finish, shape

    def forward(
        self, input: Tensor, target: Tensor, predicted: Array | None, weight: Tensor | None
    ) -> tuple[Array, float, Any] | None:
        """Return the value of each example, (B,), or of the batch, (1,), their mean, and a state.

        None if a sum is not finite: the terms say which of them is, where here 0 times infinity makes all NaN.
        """
        sums = self.launch.sums(input, target, weight)
        if not isfinite(np.add.reduce(sums, None)):
            return None
        total, kept = self.finish.total(sums, predicted)
        return total, float(np.add.reduce(total)) / total.size, (sums, predicted, kept)

    def terms(self, state: Any) -> tuple[Sequence[str], Sequence[Array]]:
        """Return the names of the terms and their values, (B,), or (1,) for a term of the batch."""
        found = self.finish.terms(*state)
        return list(found), list(found.values())

    def table(self, state: Any) -> tuple[Sequence[str], Array]:
        """Return the names of the terms and their values, (T + 1, B + 1), if none is of the whole batch.

        The last row is the weighted sum of the terms, the last column the mean over the examples.
        """
        names, values = self.terms(state)
        rows = np.array([*values, self.finish.weighted(state[2])])
        return names, np.concatenate([rows, rows.mean(1, keepdims=True)], 1)

    def backward(
        self,
        input: Tensor,
        target: Tensor,
        state: Any,
        factor: Any,
        mean: bool,
        logits: bool,
        weight: Tensor | None,
    ) -> tuple[Tensor | None, Array | None]:
        """Return the gradients to the logits, if wanted, and to the predicted numbers.

        Args:
            factor: of each example's value, (B,), or (1,) for all.
            mean: True if it is a float, the factor of the mean over examples, and of the value of the batch.
        """
        with np.errstate(all="ignore"):  # an infinite gradient is no mistake of ours
            slopes, errors = self.finish.slopes(state[2], factor, mean, self.shape)
        return self.launch.gradient(input, target, slopes, weight) if logits else None, errors
