"""The request of a pass: its sums, activation, exponent, ignored value and threshold."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

Activation = Literal["sigmoid", "softmax"]

# In the order in which `sums` stacks them.
FIELDS = (
    "intersection",
    "predicted",
    "actual",
    "valid",
    "cross_entropy_positive",
    "cross_entropy_negative",
    "focal_positive",
    "focal_negative",
    "hard_intersection",
    "hard_union",
    "predicted_squared",
    "actual_squared",
    "cross_entropy_uniform",
    "counted",
    "product",
)
FOCAL = frozenset({"focal_positive", "focal_negative"})
CROSS_ENTROPY = frozenset({"cross_entropy_positive", "cross_entropy_negative"})
OVERLAP = frozenset({"intersection", "predicted"})
HARD = frozenset({"hard_intersection", "hard_union"})
SQUARED = frozenset({"predicted_squared", "actual_squared"})
# Defined for independent masks alone.
NEGATIVES = frozenset({"cross_entropy_negative", "focal_negative"})
# Defined for mutually exclusive classes alone.
UNIFORM = frozenset({"cross_entropy_uniform"})
# The others are counts, and the gradient of a count is zero.
DIFFERENTIABLE = OVERLAP | CROSS_ENTROPY | FOCAL | UNIFORM | {"predicted_squared", "product"}


class Request(NamedTuple):
    """Everything about a pass except its tensors. Hashable.

    needs: names from FIELDS, in their order. ignore_index: None where the target's dtype cannot represent it.
    """

    activation: Activation
    needs: tuple[str, ...]
    gamma: float
    ignore_index: int | None
    threshold: float

    def merged(self, other: Request) -> Request | None:
        """Return one request for the sums of both; None if they read the tensors in different ways."""
        if (self.activation, self.ignore_index) != (other.activation, other.ignore_index):
            return None
        # A pass that does not use gamma or the threshold accepts the other's.
        gamma = self._common(other, FOCAL, self.gamma, other.gamma)
        threshold = self._common(other, HARD, self.threshold, other.threshold)
        if gamma is None or threshold is None:
            return None
        needs = {*self.needs, *other.needs}
        return self._replace(needs=tuple(f for f in FIELDS if f in needs), gamma=gamma, threshold=threshold)

    def _common(self, other: Request, fields: frozenset[str], mine: float, theirs: float) -> float | None:
        if fields.isdisjoint(self.needs):
            return theirs
        return mine if mine == theirs or fields.isdisjoint(other.needs) else None


def sums_dtype(input: Tensor) -> torch.dtype:
    """Return float32, or float64 for float64 input."""
    return torch.float64 if input.dtype == torch.float64 else torch.float32


def is_index(x: Tensor, t: Tensor) -> bool:
    """Return True if a target is class indices (B, L), for logits (B, C, L)."""
    return t.ndim < x.ndim
