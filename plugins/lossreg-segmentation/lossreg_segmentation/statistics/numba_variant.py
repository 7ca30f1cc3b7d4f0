"""The variants of the compiled kernels."""

from __future__ import annotations

from typing import NamedTuple

from lossreg_segmentation.statistics.request import (
    CROSS_ENTROPY,
    DIFFERENTIABLE,
    FOCAL,
    HARD,
    OVERLAP,
    SQUARED,
    UNIFORM,
    Request,
)


class Variant(NamedTuple):
    """The features of a kernel. One kernel is compiled per variant and dtypes; it computes only these features.

    overlap: intersection and predicted. hard: the thresholded sums. squared: the sums of p^2 and t^2. uniform: the
    cross-entropy of all classes. soft: targets between 0 and 1. class_index: targets that are class indices.
    ignore: some target value is ignored. power: gamma if it is 0, 1 or 2, and 3 otherwise. product: the sum of p t of
    soft targets, and its gradient; that of hard targets is the intersection. weighted: positions have weights.
    """

    overlap: bool
    cross_entropy: bool
    focal: bool
    hard: bool
    squared: bool
    uniform: bool
    soft: bool
    class_index: bool
    ignore: bool
    power: int
    product: bool
    weighted: bool


def variant_of(request: Request, *, soft: bool, index: bool, gradient: bool, weighted: bool) -> Variant:
    """Return the variant for a pass; counts have no gradient, so a gradient's variant excludes them."""
    needs = frozenset(request.needs)
    focal, product = bool(needs & FOCAL), "product" in needs
    return Variant(
        overlap=bool(needs & OVERLAP) or (product and not soft),
        cross_entropy=bool(needs & CROSS_ENTROPY),
        focal=focal,
        hard=bool(needs & HARD) and not gradient,
        squared=bool(needs & (SQUARED & DIFFERENTIABLE if gradient else SQUARED)),
        uniform=bool(needs & UNIFORM),
        soft=soft,
        class_index=index,
        ignore=request.ignore_index is not None,
        power=0 if not focal else int(request.gamma) if request.gamma in (0, 1, 2) else 3,
        product=product and (soft or gradient),
        weighted=weighted,
    )
