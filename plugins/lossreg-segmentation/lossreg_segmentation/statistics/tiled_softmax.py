"""The sums and the gradient of tiles of mutually exclusive classes."""

from __future__ import annotations

import torch
from torch import Tensor

from lossreg_segmentation.statistics.request import Request
from lossreg_segmentation.statistics.tiles import Tile, overlap_slope, sum_of


def class_sums(tile: Tile, request: Request) -> dict[str, Tensor]:
    """Return the differentiable sums of classes."""
    t, needs, sums = tile.t, set(request.needs), {}
    log_p = torch.log_softmax(tile.x, 1)
    p, z = log_p.exp(), _of_target(log_p, tile)
    if "predicted" in needs:
        sums["predicted"] = sum_of(p, tile.share)
    if "predicted_squared" in needs:
        sums["predicted_squared"] = sum_of(p * p, tile.share)
    if "cross_entropy_uniform" in needs:
        sums["cross_entropy_uniform"] = -sum_of(log_p, tile.share)
    if "intersection" in needs:
        overlap = tile.weighed(torch.minimum(tile.pick(p), t)) if tile.soft else tile.pick(p) * tile.mass
        sums["intersection"] = tile.total(overlap)
    if "product" in needs:
        sums["product"] = tile.total(tile.pick(p) * tile.mass)
    if "cross_entropy_positive" in needs:
        sums["cross_entropy_positive"] = tile.total(-tile.mass * z)
    if "focal_positive" in needs:
        sums["focal_positive"] = tile.total(_rest(p, tile).pow_(request.gamma).mul_(-tile.mass * z))
    return sums


def _of_target(log_p: Tensor, tile: Tile) -> Tensor:
    """Return log p of the target's class; 0 for a target of 0, also where a logit of -inf excludes a class."""
    return tile.pick(log_p) if tile.chosen is not None else log_p.masked_fill(tile.t == 0, 0)


def _rest(p: Tensor, tile: Tile) -> Tensor:
    """Return 1 - p; for the likeliest or the picked class as the sum over the others, because 1 - p may round to 0."""
    top = p.argmax(1, keepdim=True) if tile.chosen is None else tile.chosen
    others = p.scatter(1, top, 0).sum(1, keepdim=True)
    return (1 - p).scatter_(1, top, others) if tile.chosen is None else others


def class_gradient(tile: Tile, grads: dict[str, Tensor], gamma: float) -> Tensor:
    """Return the gradient to the logits, p_j (u_j - sum p u) + v_j - p_j sum v with u = dL/dp and v = dL/dlog p."""
    p = torch.softmax(tile.x, 1)
    gradient = _of_log_p(tile, grads, p, gamma)
    if grads.keys() & {"intersection", "product", "predicted", "predicted_squared"}:
        of_p = _of_p(tile, grads, p)
        gradient.addcmul_(p, of_p.sub_((p * of_p).sum(1, keepdim=True)))
    return gradient if tile.valid is None else gradient.mul_(tile.valid)


def _of_p(tile: Tile, grads: dict[str, Tensor], p: Tensor) -> Tensor:
    """Return dL/dp."""
    slope = torch.zeros_like(p)
    if "predicted" in grads:
        slope += grads["predicted"]
    if "predicted_squared" in grads:
        slope.addcmul_(p, grads["predicted_squared"], value=2)
    if picked := _of_picked(tile, grads, p):
        of_class = sum(picked[1:], picked[0])
        slope = slope.add_(of_class) if tile.chosen is None else slope.scatter_add_(1, tile.chosen, of_class)
    return slope


def _of_picked(tile: Tile, grads: dict[str, Tensor], p: Tensor) -> list[Tensor]:
    """Return the parts of dL/dp at the target's class."""
    picked = []
    if "intersection" in grads:
        picked.append(overlap_slope(tile.pick(p), tile) * tile.pick(grads["intersection"].expand(p.shape)))
    if "product" in grads:
        picked.append(tile.t * tile.pick(grads["product"].expand(p.shape)))
    return picked


def _of_log_p(tile: Tile, grads: dict[str, Tensor], p: Tensor, gamma: float) -> Tensor:
    """Return v_j - p_j sum v with v = dL/dlog p, as v_j (1 - p_j) - p_j (sum v - v_j), which keeps the digits of 1 - p.

    At one picked class that is v (1 - p), and -p v at the others.
    """
    if not grads.keys() & {"cross_entropy_positive", "focal_positive", "cross_entropy_uniform"}:
        return torch.zeros_like(p)
    t, chosen, rest = tile.t, tile.chosen, _rest(p, tile)
    v = torch.zeros_like(t)
    if "cross_entropy_positive" in grads:
        v = v - t * tile.pick(grads["cross_entropy_positive"].expand(p.shape))
    if "focal_positive" in grads:
        log_p = _of_target(torch.log_softmax(tile.x, 1), tile)
        log_p = torch.where(rest < 0.5, torch.log1p(-rest), log_p)  # a logarithm of 1 - 1e-8 has no digits left
        ratio = log_p / rest.clamp_min(torch.finfo(p.dtype).tiny)
        slope = (1 - gamma * tile.pick(p) * ratio) * rest.pow(gamma)
        v = v - slope * t * tile.pick(grads["focal_positive"].expand(p.shape))
    if chosen is None:
        if "cross_entropy_uniform" in grads:
            v = v - grads["cross_entropy_uniform"]
        return v * rest - p * (v.sum(1, keepdim=True) - v)
    gradient = (-p * v).scatter_(1, chosen, v * rest)
    if "cross_entropy_uniform" in grads:
        uniform = grads["cross_entropy_uniform"]
        gradient += p * uniform.sum(1, keepdim=True) - uniform
    return gradient
