"""Cross-entropy of the hardest pixels alone: the pixels with the lowest probability of their true class."""

from __future__ import annotations

import math
from typing import Annotated, Unpack

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import logsigmoid

from lossreg import Term, losses
from lossreg.authoring import Per
from lossreg_segmentation.dense_loss import CONTRACT, DenseOptions, Pixels, WeightedDenseLoss
from lossreg_segmentation.distributed import check_ranking

TAGS = ("segmentation", "pixelwise", "binary", "multilabel", "multiclass", "logits", "imbalance", "hard_examples")


class HardPixelOptions(DenseOptions, total=False):
    """Options shared by the means over the hardest pixels. `HardPixelLoss` documents them and their defaults."""

    batch: bool


class HardPixelLoss(WeightedDenseLoss):
    """Base of means over the hardest pixels. A subclass chooses them.

    Args:
        batch: choose among all pixels of the batch, as of one large image; otherwise among those of each example.
        **options: the options of `DenseLoss`.
    """

    has_absent_classes = False

    def __init__(self, *, batch: bool = False, **options: Unpack[DenseOptions]) -> None:
        super().__init__(**options)
        check_ranking(batch, self.distributed)
        self.batch = batch

    def chosen(self, cross_entropy: Tensor, valid: Tensor) -> Tensor:
        """Return weights in [0, 1] of the pixels in the last dimension."""
        raise NotImplementedError(f"{type(self).__name__} must define chosen(cross_entropy, valid)")

    def mean_of_hardest(self, pixels: Pixels) -> Term:
        """Return the mean over the chosen pixels of each mask, or of each example of a multiclass task."""
        cross_entropy, valid = self.rows(pixel_cross_entropy(pixels)), self.rows(pixels.valid)
        counted = torch.ones_like(valid)
        if pixels.multiclass and self.leaves_out:  # no pixel of a class that is left out is hard
            counted = (self.counted_classes(pixels.target) @ self.rows(pixels.target)).unsqueeze(1)
            valid = valid & (counted > 0)
        with torch.no_grad():
            kept = self.chosen(cross_entropy, valid)
        weights = kept if pixels.weight is None else kept * self.rows(pixels.weight)
        whole = weights if self.mean_over == "weights" else kept
        if not pixels.multiclass:
            return self.class_term(ratio_of_sums(cross_entropy * weights, whole), self.counted(pixels))
        self.no_policy_for_absent_classes()
        per: Per = "batch" if self.batch else "example"
        by_class = self.class_weights(pixels.target)
        if by_class is None:
            return Term(ratio_of_sums(cross_entropy * weights, whole).squeeze(1), per)
        factors = by_class.view(1, -1, *[1] * (pixels.target.ndim - 2))
        of_classes = pixels._replace(target=factors * pixels.target)
        weighted, total = self.rows(pixel_cross_entropy(of_classes)), self.rows(of_classes.target).sum(1, keepdim=True)
        whole = total * weights if self.mean_over == "weights" else counted * kept
        return Term(ratio_of_sums(weighted * weights, whole).squeeze(1), per)


@losses.register(
    "ohem_cross_entropy", aliases=("ohem_cross_entropy_loss", "ohem", "ohem_loss"), tags=TAGS, contract=CONTRACT
)
class OHEMCrossEntropy(HardPixelLoss):
    r"""Cross-entropy of the pixels whose p_t is low: online hard example mining.

        loss = mean of -log p_t over the pixels with p_t < threshold

    Math:
        L = \frac{1}{|K|} \sum_{i \in K} \ell_i, \quad K = \{ i : q_i < \tau \}
        where $q_i = e^{-\ell_i}$ is the probability of the true class of pixel $i$, $\ell_i$ its cross-entropy and
        $\tau$ `threshold` (0.7). $K$ has at least $\lfloor m n \rfloor$ of the $n$ valid pixels, the hardest, for $m$
        `min_share` (0.0625).
    Args:
        threshold: probability of the true class below which a pixel is kept, in (0, 1].
        min_share: share of the valid pixels that is always kept, the hardest first, in [0, 1]; rounded down. With 0 the
            loss is 0 once no pixel is below the threshold.
    Shapes:
        input (N, C, *) logits; target (N, *) class index or (N, C, *) soft classes or masks; p_t of a soft target is
        exp(-cross-entropy).
        terms: {"ohem_cross_entropy": (N,) multiclass, (N, C) otherwise}, nats, or (1,) and (1, C) with batch=True; with
        class_weight sum_i w l / sum_i w over the kept pixels, which are chosen without it.
    Raises:
        ShapeError: sizes differ; nothing is broadcast.
        InputError: absent= with multiclass, where a class without pixels adds nothing.
    Numerics: float32 or wider; finite for any finite logit, and where other classes have -inf; all ignored gives 0.
        Equally hard pixels share the last places of the minimum.
    Source: Shrivastava et al. 2016, section 4, for pixels as in Wu et al. 2016 (arXiv 1605.06885).
    """

    def __init__(
        self,
        *,
        threshold: Annotated[float, Field(gt=0, le=1)] = 0.7,
        min_share: Annotated[float, Field(ge=0, le=1)] = 0.0625,
        **options: Unpack[HardPixelOptions],
    ) -> None:
        super().__init__(**options)
        self.threshold = threshold
        self.min_share = min_share

    def chosen(self, cross_entropy: Tensor, valid: Tensor) -> Tensor:
        """Choose the pixels below the threshold, or the minimal share if that is more."""
        hard = (valid & (cross_entropy > -math.log(self.threshold))).to(cross_entropy.dtype)
        least = hardest(cross_entropy, valid, self.min_share)
        return torch.where(hard.sum(-1, keepdim=True) >= least.sum(-1, keepdim=True), hard, least)

    def formula(self, pixels: Pixels, task: str) -> dict[str, Term]:
        """Return the mean over the chosen pixels."""
        return {"ohem_cross_entropy": self.mean_of_hardest(pixels)}


@losses.register(
    "topk",
    aliases=("topk_loss", "topk_cross_entropy", "topk_cross_entropy_loss"),
    tags=TAGS,
    contract=CONTRACT,
)
class TopK(HardPixelLoss):
    r"""Cross-entropy of the hardest share of the pixels.

        loss = mean of the floor(k n) largest -log p_t of n valid pixels, at least one

    Math:
        L = \frac{1}{|K|} \sum_{i \in K} \ell_i, \quad |K| = \max(1, \lfloor k\, n \rfloor)
        where $\ell_i = -\log q_i$ is the cross-entropy of pixel $i$, $q_i$ the probability of its class, $K$ are the
        pixels with the largest of $n$ and $k$ is the parameter k (0.1).
    Args:
        k: share of the valid pixels that is kept, in (0, 1]. 1 gives cross-entropy.
    Shapes:
        input (N, C, *) logits; target (N, *) class index or (N, C, *) soft classes or masks.
        terms: {"topk": (N,) multiclass, (N, C) otherwise}, nats, or (1,) and (1, C) with batch=True; with class_weight
        sum_i w l / sum_i w over the kept pixels, which are chosen without it.
    Raises:
        ShapeError: sizes differ; nothing is broadcast.
        InputError: absent= with multiclass, where a class without pixels adds nothing.
    Numerics: float32 or wider; finite for any finite logit, and where other classes have -inf; all ignored gives 0.
        Equally hard pixels share the last places.
    Source: Wu et al. 2016 (arXiv 1605.06885); nnU-Net's TopKLoss, which takes k in percent; batch=True as there.
    """

    def __init__(self, *, k: Annotated[float, Field(gt=0, le=1)] = 0.1, **options: Unpack[HardPixelOptions]) -> None:
        super().__init__(**options)
        self.k = k

    def chosen(self, cross_entropy: Tensor, valid: Tensor) -> Tensor:
        """Choose the share k of the valid pixels."""
        return hardest(cross_entropy, valid, self.k, minimum=1)

    def formula(self, pixels: Pixels, task: str) -> dict[str, Term]:
        """Return the mean over the chosen pixels."""
        return {"topk": self.mean_of_hardest(pixels)}


def pixel_cross_entropy(pixels: Pixels) -> Tensor:
    """Return the cross-entropy of each pixel: (B, 1, *) of classes, (B, C, *) of independent masks."""
    if pixels.multiclass:
        return -share_of(pixels.target, pixels.logits.log_softmax(1)).sum(1, keepdim=True)
    outside = share_of(1 - pixels.target, logsigmoid(-pixels.logits))
    return -share_of(pixels.target, logsigmoid(pixels.logits)) - outside


def share_of(share: Tensor, logarithm: Tensor) -> Tensor:
    """Multiply; a share of 0 is 0 also where the probability is 0, as that of a class with logits of -inf."""
    return torch.where(share > 0, share * logarithm, 0.0)


def hardest(values: Tensor, valid: Tensor, share: float, *, minimum: int = 0) -> Tensor:
    """Return weights that choose the floor(share n) largest of n valid values; ties share the last places."""
    pixels = valid.sum(-1, keepdim=True, dtype=values.dtype)
    most = max(1, math.ceil(share * values.shape[-1]))  # independent of the ignored positions
    count = torch.minimum(part_of(share, pixels).clamp(minimum, most), pixels)
    ranked = values.masked_fill(~valid, -torch.inf)
    top = ranked.topk(most).values
    least = top.gather(-1, (count.long() - 1).clamp_min(0))
    tied = (ranked == least).to(values.dtype)
    places = count - (top > least).sum(-1, keepdim=True)
    return torch.where(ranked > least, 1.0, tied * (places / tied.sum(-1, keepdim=True).clamp_min(1)))


def part_of(share: float, count: Tensor) -> Tensor:
    """Return a share of `count` pixels, rounded down as in exact arithmetic: 0.29 of 100 is 29."""
    return (share * count.double() + 1e-6).floor().to(count.dtype)


def ratio_of_sums(values: Tensor, weights: Tensor) -> Tensor:
    """Return the sum of values divided by the sum of weights, over the last dimension; 0 where all weights are 0."""
    total = weights.sum(-1)
    return values.sum(-1) / torch.where(total > 0, total, 1.0)
