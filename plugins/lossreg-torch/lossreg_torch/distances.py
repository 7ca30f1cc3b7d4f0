"""Distances between embeddings, for TripletMarginWithDistanceLoss: of the last dimension, smaller for what is alike."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def cosine(first: Tensor, second: Tensor) -> Tensor:
    """1 - cosine of the angle, from 0 for one direction to 2 for opposite ones."""
    return 1 - functional.cosine_similarity(first, second, dim=-1)


def squared_euclidean(first: Tensor, second: Tensor) -> Tensor:
    """Sum of squared differences."""
    return (first - second).square().sum(-1)


def manhattan(first: Tensor, second: Tensor) -> Tensor:
    """Sum of absolute differences."""
    return (first - second).abs().sum(-1)


def chebyshev(first: Tensor, second: Tensor) -> Tensor:
    """Largest absolute difference."""
    return (first - second).abs().amax(-1)
