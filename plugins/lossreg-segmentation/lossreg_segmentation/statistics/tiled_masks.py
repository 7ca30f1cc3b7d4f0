"""The sums and the gradient of tiles of independent masks with hard targets, by steps that write into buffers.

With z = (1 - 2 t) x, all parts of a pixel follow from e^z: the probability of the wrong answer is e^z / (1 + e^z), that
of the right one is 1 / (1 + e^z), and the cross-entropy is log(1 + e^z). Each has all its digits at every logit.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.linalg import vecdot

from lossreg_segmentation.statistics.request import CROSS_ENTROPY, FOCAL, OVERLAP, Request
from lossreg_segmentation.statistics.tiles import Scratch, Tile, sum_of


def hard_sums(tile: Tile, request: Request, scratch: Scratch) -> dict[str, Tensor]:
    """Return the differentiable sums."""
    t, needs, sums = tile.t, set(request.needs), {}
    wrong, right, loss, u = scratch.like(t, 4)
    if not needs & (CROSS_ENTROPY | FOCAL):
        p = torch.sigmoid(tile.x, out=right)
        if needs & OVERLAP:
            sums["intersection"], sums["predicted"] = vecdot(p, t), sum_of(p, tile.valid)
        if "predicted_squared" in needs:
            sums["predicted_squared"] = sum_of(p.square_(), tile.valid)
        return sums
    tile.write_u(u)
    _write_answers(tile, wrong, right, loss)
    if needs & CROSS_ENTROPY:
        sums["cross_entropy_positive"], sums["cross_entropy_negative"] = vecdot(loss, t), vecdot(loss, u)
    if needs & OVERLAP:
        sums["intersection"] = vecdot(right, t)
        sums["predicted"] = sums["intersection"] + vecdot(wrong, u)
    if "predicted_squared" in needs:
        sums["predicted_squared"] = vecdot(right.square_(), t) + vecdot(torch.square(wrong, out=right), u)
    if needs & FOCAL:
        loss.mul_(wrong.pow_(request.gamma))
        sums["focal_positive"], sums["focal_negative"] = vecdot(loss, t), vecdot(loss, u)
    return sums


def hard_gradient(tile: Tile, grads: dict[str, Tensor], gamma: float, scratch: Scratch) -> Tensor:
    """Return dL/dx, with dp/dx = wrong right, and d loss/dz = wrong for the cross-entropy."""
    t, keys = tile.t, grads.keys()
    gradient, weight, u, wrong, right, loss = scratch.like(t, 6)
    tile.write_u(u)
    predicted = grads.get("predicted", t.new_zeros(len(t), 1, 1))
    _write_weights(tile, u, predicted, predicted + grads.get("intersection", 0), gradient)
    if not keys - OVERLAP:
        return gradient.mul_(_write_slope(tile.x, wrong))
    _write_answers(tile, wrong, right, loss if keys & FOCAL else None)
    if "predicted_squared" in keys:
        p = torch.mul(wrong, u, out=weight).addcmul_(right, t)
        gradient.addcmul_(p, grads["predicted_squared"], value=2)
    gradient.mul_(right)
    if keys & CROSS_ENTROPY:
        gradient.add_(_write_weights(tile, u, *_by_target(grads, "cross_entropy"), weight))
    gradient.mul_(wrong)
    if keys & FOCAL:
        # d/dz [wrong^g loss] = wrong^g (g right loss + wrong)
        slope = torch.add(wrong, loss.mul_(right), alpha=gamma, out=right).mul_(wrong.pow_(gamma))
        gradient.addcmul_(_write_weights(tile, u, *_by_target(grads, "focal"), weight), slope)
    return gradient


def _by_target(grads: dict[str, Tensor], name: str) -> tuple[Tensor, Tensor]:
    """Return dL/dsum dz/dx of the pixels with target 0 and 1."""
    either = grads.get(f"{name}_negative"), grads.get(f"{name}_positive")
    zero = torch.zeros_like(next(grad for grad in either if grad is not None))
    negative, positive = (zero if grad is None else grad for grad in either)
    return negative, -positive


def _write_weights(tile: Tile, u: Tensor, at_0: Tensor, at_1: Tensor, out: Tensor) -> Tensor:
    """Write each row's value for the target of a pixel; 0 where ignored."""
    torch.mul(u, at_0, out=out)
    return out.add_(tile.t, alpha=at_1.item()) if at_1.numel() == 1 else out.add_(tile.t * at_1)


def _write_answers(tile: Tile, wrong: Tensor, right: Tensor, loss: Tensor | None) -> None:
    z, limit = wrong, 0.9 * math.log(torch.finfo(wrong.dtype).max)
    torch.addcmul(tile.x, tile.t, tile.x, value=-2, out=z)
    above = (z - limit).clamp_min_(0) if z.amax() > limit else None  # there e^z might be infinite
    power = (z if above is None else z.clamp_max_(limit)).exp_()
    if loss is not None:
        torch.log1p(power, out=loss)
        if above is not None:
            loss.add_(above)
    torch.add(power, 1, out=right).reciprocal_()
    power.mul_(right)


def _write_slope(x: Tensor, out: Tensor) -> Tensor:
    """Write p (1 - p), as e / (1 + e)^2 with e = exp(-|x|): 1 - p would round to 0."""
    e = torch.abs(x, out=out).neg_().exp_()
    return e.div_((e + 1).square_())
