"""The soft skeleton of a mask: centre lines from differentiable erosions and dilations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from lossreg.errors import DTypeError, InputError, ShapeError
from lossreg_segmentation.statistics.plain import obstacle

MAX_ITERATIONS = 64


def soft_skeleton(p: Tensor, iterations: int) -> Tensor:
    """Compute the centre lines of p, in [0, 1], shaped like p (N, C, *): the parts that openings remove, per erosion.

        s_0 = max(p - open(p), 0),  s_k = s_(k-1) + (1 - s_(k-1)) max(p_k - open(p_k), 0),  p_k = erode(p_(k-1))

    Args:
        p: probabilities or masks, float, values in [0, 1].
        iterations: number of erosions, 1 to 64; at least half of the widest structure's width in pixels, because wider
            structures get no centre line.
    Raises:
        ShapeError: no axes after (N, C).
        InputError: iterations outside 1 to 64.
    Numerics: float32 or wider. Where neighbours are equal the pixel itself receives the gradient. An iteration stores
        two maps for the gradient and recomputes the others.
    Source: Shit et al. 2021, algorithm 1; erosion is the minimum over a cross and dilation the maximum over a square,
        as in their code.
    """
    if not isinstance(p, Tensor) or not p.is_floating_point():
        given = p.dtype if isinstance(p, Tensor) else type(p).__name__
        raise DTypeError(f"p must be a floating tensor, got {given}; use mask.float()")
    if p.ndim < 3:
        raise ShapeError(f"masks have shape {tuple(p.shape)}, expected (N, C, *): a skeleton needs an axis after C")
    if not 1 <= iterations <= MAX_ITERATIONS:
        raise InputError(f"iterations must be from 1 to {MAX_ITERATIONS}, got {iterations}")
    p = p if p.dtype == torch.float64 else p.float()
    skeleton = torch.zeros_like(p)
    for _ in range(iterations + 1):
        if p.requires_grad and torch.is_grad_enabled() and not obstacle(p):  # no transform of torch can recompute
            p, skeleton = checkpoint(_step, p, skeleton, use_reentrant=False, preserve_rng_state=False)
        else:
            p, skeleton = _step(p, skeleton)
    return skeleton


def _step(p: Tensor, skeleton: Tensor) -> tuple[Tensor, Tensor]:
    """Return p eroded once, and the skeleton with the part of p that an opening removes."""
    eroded = erosion(p)
    lost = torch.relu(p - dilation(eroded))
    return eroded, skeleton + (1 - skeleton) * lost


def erosion(p: Tensor) -> Tensor:
    """Return the minimum over each pixel and its neighbours along the axes, (B, C, *)."""
    return _extremum(p, list(range(2, p.ndim)), False)


def dilation(p: Tensor) -> Tensor:
    """Return the maximum over each pixel and all its neighbours, also diagonal ones, (B, C, *)."""
    for axis in range(2, p.ndim):
        p = _extremum(p, [axis], True)
    return p


def _extremum(x: Tensor, axes: Sequence[int], largest: bool) -> Tensor:
    """Return the minimum or maximum of each pixel and its neighbours; an operator of our own has no forward mode."""
    found: Tensor = extremum_in_steps(x, axes, largest) if obstacle(x) else extremum(x, axes, largest)
    return found


def extremum_in_steps(x: Tensor, axes: Sequence[int], largest: bool) -> Tensor:
    """Do the same as `extremum`, and give the same gradient, by operators of torch alone."""
    found, fill = x, -torch.inf if largest else torch.inf
    for axis in axes:
        for by in (1, -1):
            other = shifted(x, axis, by, fill)
            found = torch.where(other > found if largest else other < found, other, found)
    return found


def shifted(x: Tensor, axis: int, by: int, fill: float) -> Tensor:
    """Shift x by one pixel, up for by=1 and down for by=-1, with `fill` at the border."""
    size = x.shape[axis]
    border = torch.full_like(x.narrow(axis, 0, 1), fill)
    kept = x.narrow(axis, 0 if by > 0 else 1, size - 1)
    return torch.cat([border, kept] if by > 0 else [kept, border], axis)


# torch's pooling stores an int64 index for each value and takes ten times as long on one channel.
@torch.library.custom_op("lossreg::extremum", mutates_args=())
def extremum(x: Tensor, axes: Sequence[int], largest: bool) -> Tensor:
    """Return the minimum or maximum of each pixel and its two neighbours along each of the axes."""
    best, fill = (torch.maximum, -torch.inf) if largest else (torch.minimum, torch.inf)
    found = x
    for axis in axes:
        for by in (1, -1):
            found = best(found, shifted(x, axis, by, fill))
    return found.contiguous()


@extremum.register_fake
def _(x: Tensor, axes: Sequence[int], largest: bool) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, ctx.axes, _ = inputs
    ctx.save_for_backward(x, output)


def _gradient(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
    """Route the gradient to the pixel itself if it has the result's value, else to the first neighbour that has it."""
    x, found = ctx.saved_tensors
    gradient = grad * (x == found)
    rest = grad - gradient
    for axis in ctx.axes:
        for by in (1, -1):
            taken = rest * (shifted(x, axis, by, torch.nan) == found)
            gradient = gradient + shifted(taken, axis, -by, 0.0)
            rest = rest - taken
    return gradient, None, None


extremum.register_autograd(_gradient, setup_context=_keep)
