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
    p, z = log_p.exp(), tile.pick(log_p)
    if "predicted" in needs:
        sums["predicted"] = sum_of(p, tile.valid)
    if "predicted_squared" in needs:
        sums["predicted_squared"] = sum_of(p * p, tile.valid)
    if "cross_entropy_uniform" in needs:
        sums["cross_entropy_uniform"] = -sum_of(log_p, tile.valid)
    if "intersection" in needs:
        sums["intersection"] = tile.total(torch.minimum(tile.pick(p), t) if tile.soft else tile.pick(p) * t)
    if "cross_entropy_positive" in needs:
        sums["cross_entropy_positive"] = tile.total(-t * z)
    if "focal_positive" in needs:
        sums["focal_positive"] = tile.total(_rest(p, tile).pow_(request.gamma).mul_(-t * z))
    return sums


def _rest(p: Tensor, tile: Tile) -> Tensor:
    """Return 1 - p; for the likeliest or the picked class as the sum over the others, because 1 - p may round to 0."""
    top = p.argmax(1, keepdim=True) if tile.chosen is None else tile.chosen
    others = p.scatter(1, top, 0).sum(1, keepdim=True)
    return (1 - p).scatter_(1, top, others) if tile.chosen is None else others


def class_gradient(tile: Tile, grads: dict[str, Tensor], gamma: float) -> Tensor:
    """Return g_j - p_j sum_c g_c with g_j = p_j dL/dp_j + dL/dlog p_j, the gradient to the logits."""
    t, chosen = tile.t, tile.chosen
    log_p = torch.log_softmax(tile.x, 1)
    p, z = log_p.exp(), tile.pick(log_p)
    # Per class, selected by the target.
    of = {name: tile.pick(grad.expand(p.shape)) for name, grad in grads.items()}
    picked, at_target = tile.pick(p), torch.zeros_like(z)
    if "intersection" in of:
        at_target += picked * overlap_slope(picked, tile) * of["intersection"]
    if "cross_entropy_positive" in of:
        at_target -= t * of["cross_entropy_positive"]
    if "focal_positive" in of:
        rest = _rest(p, tile)
        ratio = z / rest.clamp_min(torch.finfo(z.dtype).tiny)
        at_target -= (1 - gamma * picked * ratio) * rest.pow_(gamma) * t * of["focal_positive"]
    gradient = p * grads["predicted"] if "predicted" in grads else torch.zeros_like(p)
    if "predicted_squared" in grads:
        gradient.addcmul_(p * p, grads["predicted_squared"], value=2)
    if "cross_entropy_uniform" in grads:
        gradient -= grads["cross_entropy_uniform"]
    gradient = gradient.add_(at_target) if chosen is None else gradient.scatter_add_(1, chosen, at_target)
    gradient -= p * gradient.sum(1, keepdim=True)
    return gradient if tile.valid is None else gradient.mul_(tile.valid)
