"""The statistics: one pass over logits and target computes the sums per mask of the overlap and pixelwise losses.

A call of `mask_statistics` passes these files in this order:

    checks.py      types, devices, shapes and target values; advice.py finds the call that mends what it refuses
    value_checks.py  values of target, weights and logits, also in compiled graphs
    request.py     `Request`: everything about a pass except its tensors
    choice.py      the implementation: the first that supports the tensors, or the one set by `implementation(...)`
    plain.py       whether kernels may read the tensors, or a transform of torch is active; then the reference computes
    weights.py     the weights of positions, if there are any: checks, and the form that implementations read
    op.py          the function of autograd; calls forward and backward of the implementation
    graph.py       the same as torch operators, for compilers

The implementations; each but the reference has forward(x, t, request, w) and backward(x, t, grads, request, w):

    reference.py   plain torch, the oracle for the others; differentiated by autograd, without op.py
    tiled*.py      torch over tiles that fit the cache, on CPU: tiles.py reads them, threads.py distributes them
    numba_*.py     compiled CPU kernels: the driver calls sigmoid or softmax, compiled per numba_variant.py
    triton_*.py    GPU kernels: the driver calls sigmoid or softmax, which plan a pass and launch its kernels

The result is the sums, `MaskStatistics`. Sums of each region of an image are those of a pass over tiles of one region:
regions.py packs the pixels into such tiles, and numba_regions.py does so by runs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from lossreg.authoring import debugging
from lossreg.errors import InputError
from lossreg_segmentation.statistics import graph as graph  # registers the operators
from lossreg_segmentation.statistics.autocast import outside_autocast
from lossreg_segmentation.statistics.checks import check_tensors
from lossreg_segmentation.statistics.choice import chosen, implementation
from lossreg_segmentation.statistics.op import mask_sums
from lossreg_segmentation.statistics.plain import without_notes
from lossreg_segmentation.statistics.reference import reference
from lossreg_segmentation.statistics.request import DIFFERENTIABLE, FIELDS, NEGATIVES, UNIFORM, Activation, Request
from lossreg_segmentation.statistics.value_checks import check_pass, checked
from lossreg_segmentation.statistics.weights import read_weight

__all__ = ["NEGATIVES", "UNIFORM", "Activation", "MaskStatistics", "chosen", "implementation", "mask_statistics"]


class MaskStatistics(NamedTuple):
    """Sums over the valid positions of each mask, (B, C), float32 or wider; None if not requested.

    p is the activated input, t the target, p_t = p t + (1 - p)(1 - t). Nats. Only the sums of p, p^2, p t and min(p, t)
    and the five losses have a gradient, and only to the input. With weights each element of a sum, but of `counted`,
    is multiplied by the weight of its position.
    """

    intersection: Tensor | None = None  # sum of min(p, t); p t for hard targets
    predicted: Tensor | None = None  # sum of p
    actual: Tensor | None = None  # sum of t
    valid: Tensor | None = None  # number of positions that are not ignored; with weights their sum
    cross_entropy_positive: Tensor | None = None  # sum of -t log p
    cross_entropy_negative: Tensor | None = None  # sum of -(1 - t) log(1 - p); sigmoid only
    focal_positive: Tensor | None = None  # t part of the sum of (1 - p_t)^gamma cross-entropy
    focal_negative: Tensor | None = None  # (1 - t) part of it; sigmoid only
    hard_intersection: Tensor | None = None  # positions of both the thresholded input and the target
    hard_union: Tensor | None = None  # positions of either
    predicted_squared: Tensor | None = None  # sum of p^2
    actual_squared: Tensor | None = None  # sum of t^2; that of t for hard targets
    cross_entropy_uniform: Tensor | None = None  # sum of -log p, independent of the target; softmax only
    counted: Tensor | None = None  # number of positions that are not ignored and weigh more than 0
    product: Tensor | None = None  # sum of p t; the intersection for hard targets

    def over_batch(self) -> MaskStatistics:
        """Return the sums over the whole batch, (1, C)."""
        return MaskStatistics(*(None if field is None else field.sum(0, keepdim=True) for field in self))


def mask_statistics(
    input: Tensor,
    target: Tensor,
    *,
    activation: Activation,
    needs: Iterable[str],
    gamma: float = 2.0,
    ignore_index: int | None = None,
    threshold: float = 0.0,
    weight: Tensor | None = None,
) -> MaskStatistics:
    """Compute the fields of `MaskStatistics` that are named in `needs`.

    Args:
        activation: "sigmoid" for independent masks, "softmax" over C for classes.
        gamma: focusing exponent of the focal sums, >= 0.
        ignore_index: target value of positions that are in no sum; their logits may have any value, NaN included, and
            receive a gradient of exactly zero. With softmax, one ignored class ignores the pixel.
        threshold: logit above which a position counts as predicted in the hard sums (sigmoid); softmax takes argmax.
        weight: weights >= 0 of the positions, floating or bool, without a gradient. A position of weight 0 is ignored,
            with any target; with `ignore_index`, both must let a position count. Read in the type of the sums.
    Shapes:
        input (B, C, *) logits; target (B, C, *), or (B, *) class index with softmax, or (B, 1, *) shared by all C masks
        with sigmoid. bool, integer (0 and 1) or float in [0, 1]. weight (B, 1, *) or (B, *), or (B, C, *) with
        sigmoid.
    Raises:
        ShapeError, DTypeError, InputError: sizes, types, target values or weights that do not fit. Values are read on
            a CPU, and on a device under lossreg.debug_checks().
        InputError: under lossreg.debug_checks(), NaN or infinite logits at valid positions. There, a batch without
            valid positions causes a warning.
    Numerics: float32 inside, float64 for float64 input; autocast is off; finite for logits from -1e30 to 1e30, and with
        softmax for logits of -inf, which exclude classes that are no pixel's target. A pixel whose own class is
        excluded has an infinite cross-entropy, whose gradient has no meaning and differs between implementations.
    """
    wanted = frozenset(needs)
    if unknown := wanted - frozenset(MaskStatistics._fields):
        allowed = ", ".join(MaskStatistics._fields)
        raise InputError(f"unknown statistics {sorted(unknown)}; allowed are {allowed}")
    if activation == "softmax" and (undefined := wanted & NEGATIVES):
        raise InputError(f"statistics {sorted(undefined)} need activation='sigmoid': softmax has no negatives")
    if activation == "sigmoid" and (undefined := wanted & UNIFORM):
        raise InputError(f"statistics {sorted(undefined)} need activation='softmax': independent masks have no classes")
    check_tensors(input, target, activation)
    input, target = without_notes(input), without_notes(target)
    weight = None if weight is None else read_weight(weight, input, activation)
    name = chosen(input, target, activation, weight)
    if name == "reference":
        target = checked(input, target, activation, ignore_index, weight)
        with outside_autocast(input):
            options = activation, wanted, gamma, ignore_index, threshold, weight
            return MaskStatistics(**reference(input, target, *options))
    # Kernels check the target during the pass. A compiled graph cannot contain the switch: its operators read it.
    if not torch.compiler.is_compiling() and debugging():
        check_pass(input, target, activation, ignore_index, weight)
    request = Request(activation, tuple(f for f in FIELDS if f in wanted), float(gamma), ignore_index, float(threshold))
    sums = zip(request.needs, mask_sums(input, target, request, name, weight).unbind(), strict=True)
    return MaskStatistics(**{field: found if field in DIFFERENTIABLE else found.detach() for field, found in sums})
