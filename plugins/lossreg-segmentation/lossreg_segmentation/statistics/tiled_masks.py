"""The sums and the gradient of tiles of independent masks with hard targets, by few steps that write into buffers.

With z = (1 - 2 t) x, all parts of a pixel follow from e^z: the probability of the wrong answer is e^z / (1 + e^z), that
of the right one is 1 / (1 + e^z), and the cross-entropy is log(1 + e^z). Each has all its digits at every logit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.linalg import vecdot

from lossreg_segmentation.statistics.request import CROSS_ENTROPY, FOCAL, OVERLAP, Request
from lossreg_segmentation.statistics.tiles import Rows, Scratch, Tile, combine, products, sum_of


def hard_sums(tile: Tile, request: Request, scratch: Scratch) -> dict[str, Tensor]:
    """Return the differentiable sums."""
    needs, both = set(request.needs), tile.masses
    if not needs & (CROSS_ENTROPY | FOCAL):
        p, sums = torch.sigmoid(tile.x, out=scratch.block(1, tile.t)[1]), {}
        if needs & (OVERLAP | {"product"}):
            sums["intersection"] = sums["product"] = vecdot(p, tile.mass)
            sums["predicted"] = sum_of(p, tile.share)
        if "predicted_squared" in needs:
            sums["predicted_squared"] = sum_of(p.square_(), tile.share)
        return sums
    values, wrong, right, loss, *focal = scratch.block(4 if needs & FOCAL else 3, tile.t)
    _write_answers(tile, wrong, right, loss)
    if focal:
        torch.pow(wrong, request.gamma, out=focal[0]).mul_(loss)
    found = products(values, both)
    right, wrong = found[:, 1:2, 0], found[:, :1, 1]
    sums = {"intersection": right, "product": right, "predicted": right + wrong}
    for k, name in ((2, "cross_entropy"), (3, "focal")):
        sums |= {f"{name}_positive": found[:, k : k + 1, 0], f"{name}_negative": found[:, k : k + 1, 1]}
    if "predicted_squared" in needs:
        squares = products(values[:, :2].square_(), both)
        sums["predicted_squared"] = squares[:, 1:, 0] + squares[:, :1, 1]
    return sums


class Slopes(NamedTuple):
    """The derivatives of a loss by p, by the cross-entropy and by the focal loss, at targets 1 and 0, for each row."""

    by_target: Tensor  # (rows, 1 to 3, 2); the losses' with the sign of dz/dx
    squared: Tensor | None  # by p^2, (rows, 1, 1)
    cross_entropy: bool
    focal: bool

    @classmethod
    def of(cls, grads: dict[str, Tensor], like: Tensor) -> Slopes:
        """Arrange the gradients of sums, each (rows, 1, 1)."""
        zero = torch.zeros_like(like)
        predicted = grads.get("predicted", zero)
        inside = predicted + grads.get("intersection", zero)
        pairs = [inside + grads["product"] if "product" in grads else inside, predicted]
        for name, fields in {"cross_entropy": CROSS_ENTROPY, "focal": FOCAL}.items():
            if grads.keys() & fields:
                pairs += [-grads.get(f"{name}_positive", zero), grads.get(f"{name}_negative", zero)]
        by_target = torch.cat(pairs, 2).view(len(like), len(pairs) // 2, 2)
        squared = grads.get("predicted_squared")
        return cls(by_target, squared, not CROSS_ENTROPY.isdisjoint(grads), not FOCAL.isdisjoint(grads))


def write_gradient(tile: Tile, rows: Rows, slopes: Slopes, gamma: float, scratch: Scratch, out: Tensor) -> None:
    """Write dL/dx, with dp/dx = wrong right, and d loss/dz = wrong for the cross-entropy."""
    by_target = slopes.by_target[rows]
    weights, gradient, *of_losses = scratch.block(by_target.shape[1], tile.t, "weights")
    _, wrong, right, loss = scratch.block(3, tile.t)
    combine(by_target, tile.both, weights)
    if not of_losses and slopes.squared is None:
        _store(torch.mul, gradient, _write_slope(tile.x, wrong, right), out)
        return
    _write_answers(tile, wrong, right, loss if slopes.focal else None)
    if slopes.squared is not None:
        p = torch.mul(wrong, tile.both[:, 1:]).addcmul_(right, tile.t)
        gradient.addcmul_(p, slopes.squared[rows], value=2)
    gradient.mul_(right)
    if slopes.cross_entropy:
        gradient.add_(of_losses[0])
    if not slopes.focal:
        _store(torch.mul, gradient, wrong, out)
        return
    gradient.mul_(wrong)
    # d/dz [wrong^g loss] = wrong^g (g right loss + wrong)
    slope = torch.add(wrong, loss.mul_(right), alpha=gamma, out=right).mul_(wrong.pow_(gamma))
    _store(torch.add, gradient, slope.mul_(of_losses[-1]), out)


def _store(step: Callable[..., Tensor], a: Tensor, b: Tensor, out: Tensor) -> None:
    """Compute the last step into the result; in the dtype of the computation if that is another."""
    if out.dtype == a.dtype:
        step(a, b, out=out)
    else:
        out.copy_(step(a, b, out=a))


def _write_answers(tile: Tile, wrong: Tensor, right: Tensor, loss: Tensor | None) -> None:
    z, limit = wrong, 0.9 * math.log(torch.finfo(wrong.dtype).max)
    torch.addcmul(tile.x, tile.t, tile.x, value=-2, out=z)
    above = (z - limit).clamp_min_(0) if z.amax().item() > limit else None  # there e^z might be infinite
    power = (z if above is None else z.clamp_max_(limit)).exp_()
    if loss is not None:
        torch.log1p(power, out=loss)
        if above is not None:
            loss.add_(above)
    torch.add(power, 1, out=right).reciprocal_()
    power.mul_(right)


def _write_slope(x: Tensor, out: Tensor, rest: Tensor) -> Tensor:
    """Write p (1 - p), as e / (1 + e)^2 with e = exp(-|x|): 1 - p would round to 0."""
    e = torch.abs(x, out=out).neg_().exp_()
    return e.div_(torch.add(e, 1, out=rest).square_())
