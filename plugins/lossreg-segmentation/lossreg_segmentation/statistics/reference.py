"""The statistics in plain torch: the oracle for every faster implementation."""

from __future__ import annotations

import torch
from torch import Tensor

from lossreg_segmentation.statistics.checks import counting, is_ignored


def reference(
    input: Tensor,
    target: Tensor,
    activation: str,
    needs: frozenset[str],
    gamma: float,
    ignore_index: int | None,
    threshold: float,
    weight: Tensor | None = None,
) -> dict[str, Tensor]:
    """Compute the sums in `needs`, (B, C) each. `mask_statistics` has checked the arguments."""
    x = input.flatten(2) if input.ndim > 2 else input.unsqueeze(2)
    x = x if x.dtype == torch.float64 else x.float()
    t, valid, soft = read_target(input, target, ignore_index, x.dtype)
    if activation == "softmax":  # the classes of a pixel share one sum, so one ignored class ignores the pixel
        valid = valid.all(1, keepdim=True)
    w = weight if weight is None or weight.ndim == 3 else weight.reshape(*weight.shape[:2], x.shape[2])
    if w is not None:
        valid = valid & (w > 0)
        t = torch.where(valid, t, 0.0)
    # Before the activation: a NaN logit under an ignored position would survive a product with zero.
    x = torch.where(valid, x, 0.0)
    elements = _softmax(x, t, gamma, needs) if activation == "softmax" else _sigmoid(x, t, soft, gamma, needs)
    p = elements.pop("p")
    if "intersection" in needs:
        elements["intersection"] = torch.minimum(p, t) if soft else p * t
    if "product" in needs:
        elements["product"] = p * t
    elements |= {"predicted": p, "actual": t.expand_as(p), "valid": torch.ones_like(p)}
    if "predicted_squared" in needs:
        elements["predicted_squared"] = p * p
    if "actual_squared" in needs:
        elements["actual_squared"] = (t * t).expand_as(p)
    if needs & {"hard_intersection", "hard_union"}:
        hit, mask = _predicted(x, activation, threshold), t > 0.5
        elements |= {"hard_intersection": (hit & mask).to(x.dtype), "hard_union": (hit | mask).to(x.dtype)}
    elements["counted"] = elements["valid"]
    return {name: _sum(elements[name], valid, None if name == "counted" else w) for name in sorted(needs)}


def _sum(elements: Tensor, valid: Tensor, weight: Tensor | None) -> Tensor:
    weighed = elements if weight is None else weight * elements
    return torch.where(valid, weighed, 0.0).sum(2)


def read_target(
    input: Tensor, target: Tensor, ignore_index: int | None, dtype: torch.dtype
) -> tuple[Tensor, Tensor, bool]:
    """Return the target as (B, C or 1, L) in `dtype`, a mask of its valid positions, and True if it is soft."""
    soft = target.is_floating_point()
    is_index = target.ndim < input.ndim
    t = counting(target.detach()).unsqueeze(1) if is_index else counting(target.detach())
    t = t.flatten(2) if t.ndim > 2 else t.unsqueeze(2)  # which no reshape to -1 does for an empty batch
    valid = ~is_ignored(t, ignore_index)
    if is_index:
        classes = t.new_ones(input.shape[1], dtype=torch.long).cumsum(0) - 1  # of the target's kind, as a DTensor is
        t = t.long() == classes.view(1, -1, 1)
    return t.masked_fill(~valid, 0).to(dtype), valid, soft


def _sigmoid(x: Tensor, t: Tensor, soft: bool, gamma: float, needs: frozenset[str]) -> dict[str, Tensor]:
    elements = {"p": torch.sigmoid(x)}
    if needs & {"cross_entropy_positive", "cross_entropy_negative"}:
        elements |= {"cross_entropy_positive": -t * _log_sigmoid(x)}
        elements |= {"cross_entropy_negative": (t - 1) * _log_sigmoid(-x)}
    if needs & {"focal_positive", "focal_negative"}:
        focal = -t * _log_sigmoid(x) + (t - 1) * _log_sigmoid(-x)
        if gamma > 0:  # gamma 0 is its own branch: 0 * -inf would be NaN
            # log(1 - p_t), never a power: (1 - p_t)^gamma has a NaN gradient at p_t = 1 for gamma < 1.
            rest = (
                torch.logaddexp(_log_sigmoid(x) + torch.log1p(-t), _log_sigmoid(-x) + torch.log(t))
                if soft
                else _log_sigmoid(torch.where(t > 0, -x, x))
            )
            focal = focal * torch.exp(gamma * rest)
        elements |= {"focal_positive": t * focal, "focal_negative": (1 - t) * focal}
    return elements


def _log_sigmoid(x: Tensor) -> Tensor:
    """Return log(sigmoid(x)), by operators that DTensors have, too."""
    return -torch.logaddexp(torch.zeros_like(x), -x)


def _softmax(x: Tensor, t: Tensor, gamma: float, needs: frozenset[str]) -> dict[str, Tensor]:
    log_p = torch.log_softmax(x, 1)
    elements = {"p": log_p.exp()}
    if "cross_entropy_positive" in needs:
        elements["cross_entropy_positive"] = _at_target(t, log_p)
    if "cross_entropy_uniform" in needs:
        elements["cross_entropy_uniform"] = -log_p
    if "focal_positive" in needs:
        focal = _at_target(t, log_p)
        elements["focal_positive"] = focal * torch.exp(gamma * _log_rest(x, log_p)) if gamma > 0 else focal
    return elements


def _at_target(t: Tensor, log_p: Tensor) -> Tensor:
    """Return -t log p, which is 0 for t = 0 also where a logit of -inf excludes a class."""
    return torch.where(t > 0, -t * log_p, 0.0)


def _log_rest(x: Tensor, log_p: Tensor) -> Tensor:
    """Return log(1 - p) for each class. For the likeliest class, add the others, because 1 - p rounds to 0 there."""
    top = torch.zeros_like(x, dtype=torch.bool).scatter_(1, x.argmax(1, keepdim=True), 1)
    rest = x.masked_fill(top, -torch.inf).clamp_min(torch.finfo(x.dtype).min / 2)  # of -inf alone: NaN as its gradient
    others = rest.logsumexp(1, keepdim=True) - x.logsumexp(1, keepdim=True)
    # p <= 1/2 for every class but the likeliest.
    small = torch.where(top, 0.0, log_p.exp())
    return torch.where(top, others, torch.log1p(-small))


def _predicted(x: Tensor, activation: str, threshold: float) -> Tensor:
    if activation == "sigmoid":
        return x > threshold
    return torch.zeros_like(x, dtype=torch.bool).scatter_(1, x.argmax(1, keepdim=True), 1)
