"""What each query would cost with each target: a loss over sums, from the sums of all pairs.

A sum over pixels of f(x) t is a matrix product, so no map is ever made for a pair. The overlap is sum p t, which is
that of hard targets.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from lossreg_segmentation.mask_loss import MaskLoss
from lossreg_segmentation.statistics import MaskStatistics

Map = Callable[[Tensor, float], Tensor]

# By the sum: the factor of t, a function of the logits and of gamma.
INSIDE: dict[str, Map] = {
    "intersection": lambda x, gamma: x.sigmoid(),
    "product": lambda x, gamma: x.sigmoid(),
    "cross_entropy_positive": lambda x, gamma: F.softplus(-x),
    "focal_positive": lambda x, gamma: torch.sigmoid(-x) ** gamma * F.softplus(-x),
}
# The factor of 1 - t.
OUTSIDE: dict[str, Map] = {
    "cross_entropy_negative": lambda x, gamma: F.softplus(x),
    "focal_negative": lambda x, gamma: torch.sigmoid(x) ** gamma * F.softplus(x),
}
# Sums of one mask alone.
OF_LOGITS: dict[str, Map] = {
    "predicted": lambda x, gamma: x.sigmoid(),
    "predicted_squared": lambda x, gamma: x.sigmoid().square(),
}
OF_TARGET: dict[str, Callable[[Tensor], Tensor]] = {
    "actual": lambda t: t,
    "actual_squared": Tensor.square,
    "valid": torch.ones_like,
    "counted": torch.ones_like,
}
FIELDS = frozenset({*INSIDE, *OUTSIDE, *OF_LOGITS, *OF_TARGET}) & frozenset(MaskStatistics._fields)
# Read by the policy for absent classes, beside the sums that the loss needs.
ALWAYS = frozenset({"predicted", "actual", "valid"})


def has_cost(loss: object) -> bool:
    """Return True if a loss can be computed from the sums of all pairs."""
    return isinstance(loss, MaskLoss) and not loss.positional and loss.needs <= FIELDS


def mask_cost(loss: MaskLoss, x: Tensor, t: Tensor) -> Tensor:
    """Return the loss, with its own parameters, of each pair of logits (B, Q, P) and targets (B, M, P): (B, Q, M)."""
    shape = *x.shape[:2], t.shape[1]
    # Each pair is an example with one mask, so that no formula mixes pairs.
    terms = loss.formula(_sums(x, t, loss.gamma, loss.needs | ALWAYS), "binary")
    values = sum((term.weight * term.values.reshape(-1) for term in terms.values()), x.new_zeros(()))
    return values.view(shape)


def _sums(x: Tensor, t: Tensor, gamma: float, needs: frozenset[str]) -> MaskStatistics:
    """Return the sums of all pairs, (B Q M, 1) each."""
    shape = *x.shape[:2], t.shape[1]
    factors = {name: INSIDE[name](x, gamma) for name in INSIDE if name in needs}
    factors |= {name: OUTSIDE[name](x, gamma) for name in OUTSIDE if name in needs}
    found: dict[str, Tensor] = {}
    if factors:
        products = torch.cat([*factors.values()], 1) @ t.transpose(1, 2)
        for (name, factor), product in zip(factors.items(), products.split(x.shape[1], 1), strict=True):
            found[name] = product if name in INSIDE else factor.sum(2, keepdim=True) - product
    for name in needs.intersection(OF_LOGITS):
        found[name] = OF_LOGITS[name](x, gamma).sum(2, keepdim=True)
    for name in needs.intersection(OF_TARGET):
        found[name] = OF_TARGET[name](t).sum(2).unsqueeze(1)
    return MaskStatistics(**{name: field.expand(shape).reshape(-1, 1) for name, field in found.items()})


def class_cost(classes: Tensor, labels: Tensor) -> Tensor:
    """Return minus the probability of the class of each label (B, M) by logits (B, Q, C + 1): (B, Q, M)."""
    chances = classes.softmax(-1)
    return -chances.gather(2, labels.unsqueeze(1).expand(-1, classes.shape[1], -1))
