"""The set criterion: each target is matched with one query, and the pairs are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, NotRequired, TypedDict

import torch
from pydantic import Field
from torch import Tensor, nn

from lossreg import Loss, Term, losses
from lossreg.authoring import Reduction, component_names, contract
from lossreg.errors import InputError
from lossreg_segmentation.mask_loss import MaskLoss
from lossreg_segmentation.matched.costs import class_cost, has_cost, mask_cost
from lossreg_segmentation.matched.inputs import Level, Objects, read_levels, read_targets
from lossreg_segmentation.matched.pairs import Pairs, means_of_ranks
from lossreg_segmentation.matched.points import AllPixels, RandomPoints
from lossreg_segmentation.statistics.autocast import outside_autocast
from lossreg_segmentation.statistics.request import sums_dtype

Share = Annotated[float, Field(ge=0)]


class MatchedTerm(TypedDict):
    """A loss of the pairs' masks, or of the classes of all queries, and its factor."""

    loss: nn.Module
    of: Literal["mask", "class"]
    weight: NotRequired[Annotated[float, Field(default=1.0)]]


@losses.register(
    "matched",
    aliases=("matched_loss", "set_criterion"),
    tags=("composite", "segmentation", "instances", "random", "logits"),
    contract=contract(
        input="mask logits and class logits of queries, of one or several layers",
        target="masks and labels of each image",
        tasks=["instances"],
        per_example=False,
        positional=True,
        deterministic=False,
    ),
    example={"classes": 2, "terms": [{"of": "class", "name": "cross_entropy"}, {"of": "mask", "name": "dice"}]},
)
class Matched(Loss):
    r"""The loss of a set of masks and classes, as in DETR, MaskFormer and Mask2Former.

        matches = the pairs of a query and a target of least total cost, one query for each target
        loss = sum_levels sum_terms weight_k ( sum_pairs mask_k / masks          of masks
                                             | sum_queries w class_k / sum w )   of classes, w = no_object or 1

    Math:
        \sigma = \text{arg}\,\min_\sigma \sum_j \sum_k v_k\, c_k(\sigma(j), j)
        L = \sum_k w_k \frac{1}{M} \sum_j \ell_k(\sigma(j), j) + \sum_k w_k \frac{\sum_q u_q\, \ell_k(q)}{\sum_q
            u_q}
        where $\sigma(j)$ is the query matched with target $j$ of $M$, $c_k$ a cost with its factor $v_k$ (cost),
        $\ell_k$ a term with its weight $w_k$: of masks in the first sum, of classes in the second. $u_q$ is 1 for a
        query with a target, else `no_object` (0.1). Levels are added up.
    Args:
        classes: number of classes without that of no object, >= 1.
        terms: losses, each `of` masks or classes, with its weight (1 by default). A term of weight 0 is only logged.
        no_object: weight of a query without a target in terms of classes, >= 0.
        cost: factor, >= 0, of each cost of a pair: "class" is minus the probability of the target's class, and each
            term of masks, by its name, is that loss with its own parameters. None: the weights of the terms.
        points: number for each mask, >= 0; 0 compares all pixels.
        oversampling: candidates for uncertain points, as a multiple of points, >= 1.
        important: share of points that are uncertain, of least |input|, in [0, 1]; those of costs are all random.
        reduction: over images: "mean", "sum", or "none" for (B,).
    Shapes:
        input {"masks": (B, Q, H, W) logits, "classes": (B, Q, classes + 1) logits, the last of no object}, or a list of
        such dicts, one for each layer and the final one last; all have weight 1.
        target: for each image {"masks": (M, h, w), "labels": (M,) from 0 to classes - 1}. Smaller masks lie in the
        upper left corner of the largest of the batch, and predictions cover it.
        a loss of masks receives (R, 1, P) logits and targets of R pairs, soft at edges; one of classes receives
        (B Q, classes + 1) logits and class indices.
        terms: of the final level by the names of the losses; of level k before it, k.name.
    Raises:
        ShapeError: sizes that do not fit; nothing is broadcast.
        InputError: a label out of range; a term of masks without a cost, which has to be a loss over sums.
        ImplementationError: SciPy is not installed.
    Numerics: float32 or wider, without autocast. Queries of NaN are matched last, and targets without a query cost
        nothing. Costs have the overlap sum p t, also of soft points. `masks` is the number of targets, at least 1, and
        with gradients on it and sum w are means over ranks, by one all-reduce. Waits for the device once.
    Source: Carion et al. 2020, sec. 3.1; Cheng et al. 2021 and 2022, whose terms are cross_entropy, bce or focal, and
        dice with overlap="product". Mask2Former: weights 2, 5, 5. MaskFormer: 1, 20 (focal), 1 and points=0.
    """

    meaningless: ClassVar[Mapping[str, str]] = {"weight": "its predictions have other pixels than its targets"}

    def __init__(
        self,
        *,
        classes: Annotated[int, Field(ge=1)],
        terms: Annotated[Sequence[MatchedTerm], Field(min_length=1)],
        no_object: Share = 0.1,
        cost: Mapping[str, Share] | None = None,
        points: Annotated[int, Field(ge=0)] = 12544,
        oversampling: Annotated[float, Field(ge=1)] = 3.0,
        important: Annotated[float, Field(ge=0, le=1)] = 0.75,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(reduction=reduction)
        self.classes = classes
        self.no_object = no_object
        self.sampling = RandomPoints(points, oversampling, important) if points else AllPixels()
        parts = [term["loss"] for term in terms]
        self.names = component_names(parts)
        self.parts = nn.ModuleList(parts)
        self.kinds = [term["of"] for term in terms]
        self.weights = [float(term.get("weight", 1.0)) for term in terms]
        for name, kind, part in zip(self.names, self.kinds, self.parts, strict=True):
            _check_part(name, kind, part)
        self.cost = self._factors(cost)

    def _factors(self, cost: Mapping[str, float] | None) -> dict[str, float]:
        """Return the factors of the costs that count."""
        of_masks = {n: w for n, kind, w in zip(self.names, self.kinds, self.weights, strict=True) if kind == "mask"}
        if cost is None:
            of_classes = sum(w for kind, w in zip(self.kinds, self.weights, strict=True) if kind == "class")
            cost = {"class": of_classes, **of_masks}
        if unknown := set(cost) - {"class", *of_masks}:
            raise InputError(
                f"cost has {', '.join(sorted(unknown))}, which is no term of masks; the costs are"
                f" {', '.join(['class', *of_masks])}. For the cost of another loss add it as a term of weight 0"
            )
        factors = {name: float(factor) for name, factor in cost.items() if factor}
        if not factors:
            raise InputError("every cost is 0, so that any query fits any target; give one cost at least a factor > 0")
        for name, part in zip(self.names, self.parts, strict=True):
            if name in factors and name in of_masks and not has_cost(part):
                raise InputError(
                    f"{name} is no loss over sums, so it has no cost of all pairs; leave it out of the costs, as with"
                    " cost: {class: 2, dice: 5}, and match by other losses"
                )
        return factors

    def terms(self, input: Any, target: Any) -> dict[str, Term]:
        """Compute the terms of every level."""
        levels = read_levels(input, self.classes)
        targets = read_targets(target, levels[0], self.classes)
        with outside_autocast(levels[0].masks):
            pairs = Pairs.of_least_cost(levels, targets, self._costs)
            masks, classes = pairs.masks(self.sampling), pairs.classes(self.classes)
            images, matched = classes.shape[1], sum(pairs.counts)
            weighed = matched + self.no_object * (classes[0].numel() - matched)
            all_masks, all_weights = means_of_ranks([sum(len(t.labels) for t in targets), weighed], levels[0].masks)
            found: dict[str, Term] = {}
            for name, kind, part, weight in zip(self.names, self.kinds, self.parts, self.weights, strict=True):
                if kind == "mask":
                    values = pairs.by_image(_values(part, *(each.unsqueeze(1) for each in masks))) / all_masks
                else:
                    values = self._of_classes(part, levels, classes) / all_weights
                found |= _terms(name, values * images, weight)
        return found

    def _costs(self, level: Level, targets: Sequence[Objects], labels: Tensor) -> Tensor:
        """Return the cost of each query with each target, (B, Q, M)."""
        classes = level.classes.to(sums_dtype(level.masks))
        logits, masks = self.sampling.of_costs(level.masks, targets)
        parts = [
            self.cost[name] * mask_cost(part, logits, masks)
            for name, part in zip(self.names, self.parts, strict=True)
            if name in self.cost and isinstance(part, MaskLoss)
        ]
        if "class" in self.cost:
            parts.append(self.cost["class"] * class_cost(classes, labels))
        return torch.stack(parts).sum(0)

    def _of_classes(self, part: nn.Module, levels: Sequence[Level], classes: Tensor) -> Tensor:
        """Return the weighted sums over the queries of each image, (L, B)."""
        logits = torch.cat([level.classes.flatten(0, 1) for level in levels])
        values = _values(part, logits, classes.flatten()).view(classes.shape)
        return torch.where(classes == self.classes, self.no_object * values, values).sum(2)


def _values(part: Any, input: Tensor, target: Tensor) -> Tensor:
    """Return the values of a loss for each example; those of none are connected to the graph."""
    values: Tensor = part.per_example(input, target) if len(input) else input.flatten(1).sum(1)
    return values


def _terms(name: str, values: Tensor, weight: float) -> dict[str, Term]:
    """Return values (L, B) as a term for each level; those of the final one need no number."""
    # A rank without images has a mean as well: 0.
    examples = None if values.shape[1] else values.new_ones(())
    names = [f"{level}.{name}" for level in range(len(values) - 1)] + [name]
    return {each: Term(row, "example", weight, examples=examples) for each, row in zip(names, values, strict=True)}


def _check_part(name: str, kind: str, part: nn.Module) -> None:
    """Raise InputError for a loss that does not split over examples, or has options that it could not apply."""
    inner = [*part.modules()]
    if not isinstance(part, Loss) or any(getattr(each, "batch", False) for each in inner):
        raise InputError(
            f"{name} of matched must have a value for each pair or query: a loss of lossreg with batch=False"
        )
    if any(getattr(each, "positional", False) for each in inner):
        raise InputError(
            f"{name} of matched compares neighbouring pixels, and the points of pairs have no neighbours; leave it out"
        )
    if any(getattr(each, "distributed", "local") == "global" for each in inner):
        raise InputError(f"{name} of matched has distributed='global', but matched itself shares ranks; leave it out")
    if any(getattr(each, "ignore_index", None) is not None for each in inner):
        raise InputError(f"{name} of matched has ignore_index, but no point or query is ignored; leave it out")
    if any(getattr(each, "weighs_classes", False) for each in inner):
        raise InputError(
            f"{name} of matched has class_weight or leaves classes out, but each of its examples has one {kind}; leave"
            " that out, and weigh queries without a target by no_object"
        )
