"""Lovasz losses: the Jaccard loss of a thresholded mask, made convex and continuous in the errors of the pixels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Unpack

import torch
from torch import Tensor

from lossreg import Term, losses
from lossreg_segmentation.dense_loss import CLASSES_CONTRACT, INDEPENDENT_CONTRACT, DenseLoss, DenseOptions, Pixels
from lossreg_segmentation.distributed import check_ranking

TAGS = ("segmentation", "ranking", "logits", "imbalance")

# torch sorts integers by radix, three times as fast, if they are one row of at least this length on the CPU.
RADIX_LENGTH = 32768


class LovaszLoss(DenseLoss):
    """Base of the Lovasz losses: a term from the errors of the pixels."""

    means_pixels = False
    meaningless: ClassVar[Mapping[str, str]] = {"weight": "it ranks pixels"}

    def __init__(self, *, batch: bool = False, **options: Unpack[DenseOptions]) -> None:
        super().__init__(**options)
        check_ranking(batch, self.distributed)
        self.batch = batch

    def extension(self, errors: Tensor, pixels: Pixels) -> Term:
        """Return the Lovasz extension of the Jaccard loss at errors (B, C, *) >= 0, as a term."""
        if self.ignore_index is not None:
            errors = torch.where(pixels.valid, errors, 0.0)  # sorted after all pixels with an error
        errors, masks = self.rows(errors), self.rows(pixels.target)
        values = (errors * jaccard_increments(errors.detach(), masks)).sum(2)
        return self.class_term(values, self.counted(pixels))


@losses.register(
    "lovasz_hinge", aliases=("lovasz_hinge_loss",), tags=(*TAGS, "binary", "multilabel"), contract=INDEPENDENT_CONTRACT
)
class LovaszHinge(LovaszLoss):
    r"""Intersection over union of independent masks, through hinge errors.

        loss = sum_i max(0, 1 - x_i (2 t_i - 1)) (J_i - J_{i-1}), largest error first
        J_i = 1 - IoU of the target with the mask in which the first i pixels are wrong

    Math:
        L = \sum_{i=1}^{n} m_i\, (J_i - J_{i-1}), \quad m_i = \max(0,\; 1 - x_i (2 t_i - 1))
        J_i = 1 - \frac{T - \sum_{j \le i} t_j}{T + \sum_{j \le i} (1 - t_j)}, \quad J_0 = 0
        where $x_i$ is the logit and $t_i$ the target of pixel $i$, the pixels are in the order of falling $m_i$, $T =
        \sum_i t_i$ and $n$ the number of valid pixels. An empty mask costs its largest $m_i$; `absent` changes that.
    Args:
        batch: sort the pixels of the batch as one large image; otherwise each mask by itself.
    Shapes:
        input (N, C, *) logits; target (N, C, *) masks, or (N, *) for C = 1. A soft target counts as the mask t > 0.5.
        terms: {"lovasz_hinge": (N, C)}, >= 0, in units of logits; (1, C) with batch=True.
    Raises:
        ShapeError: sizes differ; nothing is broadcast.
    Numerics: float32 or wider; the increments of J have no cancellation; finite for any finite logit; all ignored
        gives 0. The value of an empty mask is its largest error.
    Source: Berman et al. 2018, eq. 8, 9 and algorithm 1, at the margins of section 3; batch=True is the
        authors' per_image=False.
    """

    tasks = ("binary", "multilabel")

    def formula(self, pixels: Pixels, task: str) -> dict[str, Term]:
        """Return the extension at the hinge errors."""
        # A margin is positive or negative: a soft target between the two has no meaning.
        pixels = pixels._replace(target=(pixels.target > 0.5).to(pixels.logits.dtype))
        errors = torch.relu(1 - pixels.logits * (2 * pixels.target - 1))
        return {"lovasz_hinge": self.extension(errors, pixels)}


@losses.register(
    "lovasz_softmax", aliases=("lovasz_softmax_loss",), tags=(*TAGS, "multiclass"), contract=CLASSES_CONTRACT
)
class LovaszSoftmax(LovaszLoss):
    r"""Intersection over union of classes, through the errors of their probabilities.

        loss = mean_c sum_i |t_ci - p_ci| (J_i - J_{i-1}), largest error first
        J_i = 1 - IoU of class c with the mask in which the first i pixels are wrong

    The value of a class without pixels is its largest p; absent="ignore" excludes it, like "present" in the authors'
    code.

    Math:
        L = \frac{1}{C} \sum_c \sum_{i=1}^{n} m_{ci}\, (J_{ci} - J_{c,i-1}), \quad m_{ci} = |t_{ci} - p_{ci}|
        J_{ci} = 1 - \frac{T_c - \sum_{j \le i} t_{cj}}{T_c + \sum_{j \le i} (1 - t_{cj})}, \quad J_{c0} = 0
        where $p_{ci}$ is the predicted probability of class $c$ at pixel $i$, $t_{ci}$ its target, the $n$ pixels are
        in the order of falling $m_{ci}$, $T_c = \sum_i t_{ci}$ and $C$ the number of classes. A class without pixels
        costs its largest $p_{ci}$; `absent` changes that.
    Args:
        batch: sort the pixels of the batch as one large image; otherwise each example by itself.
    Shapes:
        input (N, C, *) logits; target (N, *) class index or (N, C, *) soft classes, whose t count as parts of pixels,
        so that the loss is 0 at p = t.
        terms: {"lovasz_softmax": (N, C)}, in [0, 1]; (1, C) with batch=True.
    Raises:
        ShapeError: sizes differ; nothing is broadcast.
    Numerics: float32 or wider; the increments of J have no cancellation; finite for any finite logit; all ignored
        gives 0.
    Source: Berman et al. 2018, eq. 8, 9, 11 and algorithm 1; batch=True is the authors' per_image=False.
    """

    tasks = ("multiclass",)

    def formula(self, pixels: Pixels, task: str) -> dict[str, Term]:
        """Return the extension at the errors of the probabilities."""
        errors = torch.abs(pixels.target - pixels.probabilities())
        return {"lovasz_softmax": self.extension(errors, pixels)}


@torch.no_grad()
def jaccard_increments(errors: Tensor, masks: Tensor) -> Tensor:
    """Return each pixel's increment of the Jaccard loss as pixels become wrong, from the largest error down.

    errors (B, C, L) >= 0; masks (B, C, L) in [0, 1]. The increments are the gradient to the errors: their order is
    constant almost everywhere, so autograd needs only the product with the errors. Pixels without an error come last,
    in any order, and do not change the increments of the others.
    """
    in_rows = errors.device.type == "cpu" and errors.shape[2] >= RADIX_LENGTH and not torch.compiler.is_compiling()
    if not in_rows or len(errors) == 0:
        return _increments(errors, masks)
    rows = zip(errors.flatten(0, 1), masks.flatten(0, 1), strict=True)
    return torch.stack([_increments(*row) for row in rows]).view_as(errors)


def _increments(errors: Tensor, masks: Tensor) -> Tensor:
    """Return the increments along the last dimension."""
    order = torch.sort(_falling(errors), dim=-1).indices
    t = masks.gather(-1, order)
    found = t.cumsum(-1)
    intersection = found[..., -1:] - found
    rank = torch.arange(1, t.shape[-1] + 1, dtype=t.dtype, device=t.device)
    union = intersection + rank
    # J = rank / union; J - J_previous as one fraction, since the difference loses most digits where J is close to 1.
    steps = torch.addcmul(intersection, t, rank).div_(union * (intersection + t).add_(rank - 1))
    steps[..., 0] = 1 / union[..., 0]  # from J = 0; a mask without pixels has no neighbour to divide by
    return torch.empty_like(steps).scatter_(-1, order, steps)


def _falling(errors: Tensor) -> Tensor:
    """Return numbers that rise as errors >= 0 fall: of the floats' bits, read as integers, which have their order."""
    if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
        return -errors  # torch.jit cannot record the view as another type
    return -errors.contiguous().view(torch.int64 if errors.dtype == torch.float64 else torch.int32)
