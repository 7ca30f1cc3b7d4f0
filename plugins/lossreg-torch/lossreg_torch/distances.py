"""Distances of embeddings along the last dimension, for TripletMarginWithDistanceLoss."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def cosine(first: Tensor, second: Tensor) -> Tensor:
    """Return 1 - cosine of the angle, from 0 for one direction to 2 for opposite ones."""
    return 1 - functional.cosine_similarity(first, second, dim=-1)


def squared_euclidean(first: Tensor, second: Tensor) -> Tensor:
    """Return the sum of squared differences."""
    return (first - second).square().sum(-1)


def manhattan(first: Tensor, second: Tensor) -> Tensor:
    """Return the sum of absolute differences."""
    return (first - second).abs().sum(-1)


def chebyshev(first: Tensor, second: Tensor) -> Tensor:
    """Return the largest absolute difference."""
    return (first - second).abs().amax(-1)
