"""A loss over sums for each region of an image, such as a lesion, a cell or a patch, in place of the whole image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from pydantic import Field
from torch import Tensor, nn

from lossreg import Loss, Term, losses
from lossreg.authoring import Reduction, contract
from lossreg.errors import InputError
from lossreg_segmentation.mask_loss import MaskLoss
from lossreg_segmentation.region_pass import RegionPass
from lossreg_segmentation.segmentation_loss import required, share
from lossreg_segmentation.statistics import MaskStatistics

if TYPE_CHECKING:
    from lossreg_segmentation.mask_pass import MaskPass

Background = Literal["none", "shared"]


@losses.register(
    "per_region",
    aliases=("per_region_loss", "per_instance", "per_component"),
    tags=("composite", "segmentation", "instances", "binary", "multilabel", "multiclass", "logits", "imbalance"),
    contract=contract(
        input="as the loss", target="as the loss", tasks=["binary", "multilabel", "multiclass"], positional=True
    ),
    example={"loss": "dice"},
)
class PerRegion(Loss):
    r"""Mean of a loss over the regions of an image, where small objects count as much as large ones.

        loss = mean_c mean_r loss of class c over the pixels of region r

    The map of regions comes with each call: `loss(input, target, regions=labels)`. Connected components with the
    background "shared" give blob loss, Voronoi cells of the components CC loss, numbered patches a loss per patch.

    Math:
        L = \frac{1}{C} \sum_c \frac{1}{|R_c|} \sum_{r \in R_c} \ell_c(r)
        where $\ell_c(r)$ is the loss of class $c$ over the pixels of region $r$, $R_c$ are the regions with target
        pixels of class $c$, and $C$ is the number of classes with such a region.
    Args:
        loss: a loss over sums, such as dice, tversky, bce, focal or cross_entropy, or a sum of them.
        background: "shared": 0 is the background and belongs to every region; a region is its own pixels and these, so
            false positives far from all objects cost in each. "none": 0 is a region like the others.
        max_regions: largest number of regions in an image, >= 1. Labels go to max_regions with a shared background, and
            to max_regions - 1 without. Memory grows with it, by at most one tile of 256 positions per region.
        empty_regions: also count regions without target pixels of a class, as for patches, where false positives cost.
        reduction: over examples: "mean", "sum", or "none" for (N,).
    Shapes:
        input (N, C, *) logits; target as the loss takes it; regions (N, 1, *) or (N, *) for all classes, or (N, C, *),
        integers. Pixels with a number below 0 count nowhere.
        terms: those of the loss, each the mean over the regions: for (N, C), of each class over the regions with target
        pixels of it. A class without a region does not count, an image without one has the value 0.
    Raises:
        InputError: a loss that is none over sums, with batch=True or another reduction than the mean; no map, and on a
            CPU a label that is too large.
        ShapeError, DTypeError: a map that does not fit, or of floats.
    Numerics: as the loss, over logits and target packed by region, which are a copy of both. Ignored pixels are in no
        region. Softmax with a map per class takes a pass per class. Without Numba, pixels are sorted in every call.
    Source: Kofler et al. 2023 (blob loss), whose code costs each masked pixel log 2 under binary cross-entropy; here it
        costs nothing. Jaus et al. 2025 (CC metrics) for Voronoi cells.
    """

    def __init__(
        self,
        *,
        loss: nn.Module,
        background: Background = "none",
        max_regions: Annotated[int, Field(ge=1)] = 64,
        empty_regions: bool = False,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(reduction=reduction)
        if background not in ("none", "shared"):
            raise InputError(f"background is 'none' or 'shared', got {background!r}")
        self.loss = _checked(loss)
        self._signature = self._signature._replace(
            options=self._signature.options | self.loss.option_names(), open_options=False
        )
        self.background = background
        self.max_regions = max_regions
        self.empty_regions = empty_regions

    def maps(self) -> Mapping[str, Any]:
        """Return the options that have a value for each pixel."""
        return {**self.loss.maps(), "regions": "labels"}

    def passes(
        self, input: Tensor, target: Tensor, *, regions: Tensor | None = None, **options: Any
    ) -> list[RegionPass]:
        """Return the passes of the loss, over regions."""
        count = self.max_regions + (self.background == "shared")
        return [
            RegionPass(replace(each, needs=each.needs | {"actual", "valid"}), regions, count)
            for each in cast("list[MaskPass]", self.loss.passes(input, target, **options))
        ]

    def terms_from(
        self,
        results: Iterator[MaskStatistics],
        input: Tensor,
        target: Tensor,
        *,
        regions: Tensor | None = None,
        **options: Any,
    ) -> dict[str, Term]:
        """Compute the terms of the loss for each region as if it were an example, and their mean over the regions."""
        counted: list[Tensor] = []
        terms = self.loss.terms_from(self._as_examples(results, counted), input, target, **options)
        return {name: _mean_of_regions(term, counted[0]) for name, term in terms.items()}

    def _as_examples(self, results: Iterator[MaskStatistics], counted: list[Tensor]) -> Iterator[MaskStatistics]:
        """Yield the sums (B R, C), with those of the background; append which regions count, (B, R, C)."""
        for sums in results:
            shared = self.background == "shared"
            own = MaskStatistics(*(None if field is None else field[:, int(shared) :] for field in sums))
            counted.append(required(own, "valid" if self.empty_regions else "actual")[0] > 0)
            pairs = zip(own, sums, strict=True)
            if shared:
                own = MaskStatistics(*(None if a is None or b is None else a + b[:, :1] for a, b in pairs))
            yield MaskStatistics(*(None if field is None else field.flatten(0, 1) for field in own))


def _mean_of_regions(term: Term, counted: Tensor) -> Term:
    """Return the mean of a term of all regions as examples, over those that count."""
    batch, regions, _ = counted.shape
    values = term.values.unflatten(0, (batch, regions))
    if term.per == "example":  # of all classes
        weights = counted.any(2).to(values.dtype)
        return replace(term, values=share((values * weights).sum(1), weights.sum(1)), by_class=None)
    weights = counted.to(values.dtype)
    if term.count is not None:
        weights = weights * term.count.unflatten(0, (batch, regions))
    found = share((values * weights).sum(1), weights.sum(1))
    return replace(term, values=found, count=weights.amax(1), by_class=None)


def _checked(loss: nn.Module) -> Loss:
    """Return a loss if it is over sums of each image, or made of such losses."""
    name = type(loss).__name__
    if getattr(loss, "batch", False):
        raise InputError(
            f"{name} has batch=True, but regions of two images are not the same object; set batch=False for it"
        )
    if isinstance(loss, Loss) and loss.reduction != "mean":
        raise InputError(
            f"{name} has reduction={loss.reduction!r} inside per_region, which takes the mean over the regions; leave"
            " it out there and set it on per_region"
        )
    if isinstance(loss, MaskLoss) and not loss.positional:
        return loss
    parts = list(loss.children())
    if len(parts) == 1 and isinstance(parts[0], nn.ModuleList):
        parts = list(parts[0])
    if not isinstance(loss, Loss) or type(loss).passes is Loss.passes or not parts or isinstance(loss, PerRegion):
        raise InputError(
            f"per_region takes losses over sums, such as dice, tversky, bce, focal and cross_entropy, or a sum of"
            f" them; {name} is none of these; put it beside per_region in a weighted_sum"
        )
    for part in parts:
        _checked(part)
    return loss
