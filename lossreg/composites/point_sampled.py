"""A loss on sampled points instead of all pixels, most of them where the prediction is uncertain."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal, get_args

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from lossreg.composites.base import Composite, terms_of, with_prefix
from lossreg.composites.point_checks import check_derivatives, check_masks, check_part, distances_of, map_of
from lossreg.contract import contract
from lossreg.errors import InputError
from lossreg.loss import Reduction, Term
from lossreg.registries import losses

Outside = Literal["border", "zeros"]


@losses.register(
    "point_sampled",
    aliases=("point_sampled_loss",),
    tags=("composite", "random", "hard_examples", "binary", "multilabel", "logits"),
    contract=contract(
        input="logits", target="mask", tasks=["binary", "multilabel"], positional=True, deterministic=False
    ),
    example={"loss": "bce"},
)
class PointSampled(Composite):
    r"""A loss on random points of each mask, most of them uncertain ones.

        loss = loss(input at P, target at P), |P| = points
        P = important points, of least |input| among oversampling * points random ones; the rest random

    Math:
        L = \ell(x_K, t_K), \quad |K| = N
        where $\ell$ is the loss, $x_K$ and $t_K$ are the logits and the target at $N$ `points` (12544): a share of
        `important` (0.75) has the least $|x|$ among `oversampling` (3) times $N$ random ones, the rest is random.
    Args:
        loss: the loss of the points, which have no neighbours. It treats each channel alone (sigmoid), since each has
            points of its own.
        points: number for each mask, >= 1.
        oversampling: candidates for the uncertain points, as a multiple of points, >= 1.
        important: share of uncertain points, in [0, 1]; 0 samples evenly.
        outside: what input and target are beyond the outermost pixel centres. "border" continues the border's value;
            "zeros" fades to 0 there, as in Mask2Former, so that every border is uncertain.
        ignore_index: target value of ignored pixels, the same as that of the loss. A point mixes the pixels around it:
            one that touches an ignored pixel is ignored, and sampled only if there are too few others.
        reduction: over examples: "mean", "sum", or "none" for (N,).
    Shapes:
        input (N, C, H, W) or (N, C, D, H, W) logits; target of that shape, or (N, *) for C = 1: masks, hard or soft.
        the loss receives (N, C, points) of both, the target soft at edges. An option with a value for each pixel,
        such as weight=, is sampled with them; a point that touches a pixel of weight 0 has the weight 0. Further inputs
        go to it unchanged.
        terms: those of the loss, under its name if it has one term, name.term if it has several.
    Raises:
        ShapeError: sizes differ; nothing is broadcast. Class indices, as each channel has its own points.
        DTypeError: input is not floating point.
        InputError: the loss has another reduction than the mean, another ignore_index, or task="multiclass"; it
            compares neighbouring pixels, or measures distances and gets no map of them. Numbers of objects or regions,
            which have nothing between them.
    Numerics: float32 or wider. Points come from torch's generator of the input's device: torch.manual_seed repeats
        them. Their coordinates have no gradient.
    Source: Kirillov et al. 2020 (PointRend), sec. 3.1; numbers of Cheng et al. 2022 (Mask2Former).
    """

    def __init__(
        self,
        *,
        loss: nn.Module,
        points: Annotated[int, Field(ge=1)] = 12544,
        oversampling: Annotated[float, Field(ge=1)] = 3.0,
        important: Annotated[float, Field(ge=0, le=1)] = 0.75,
        outside: Outside = "border",
        ignore_index: int | None = None,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__([loss], reduction=reduction)
        for part in loss.modules():
            check_part(part, ignore_index)
        self._needed_maps = [name for part in loss.modules() for name in distances_of(part)]
        self.loss = loss
        self.points = points
        self.oversampling = oversampling
        self.important = important
        if outside not in get_args(Outside):
            raise InputError(f"outside is 'border' or 'zeros', got {outside!r}")
        self.outside = outside
        self.ignore_index = ignore_index
        self.shares_batches = any(getattr(part, "distributed", "") == "global" for part in loss.modules())

    def terms(self, input: Tensor, target: Tensor, *others: Any, **options: Any) -> dict[str, Term]:
        check_masks(input, target, empty_batch=self.shares_batches)
        check_derivatives(input)
        logits = input if input.dtype == torch.float64 else input.float()
        # Before ignored pixels are compared: uint8 == -1 would find 255.
        masks = target.reshape(input.shape).to(logits.dtype)
        ((given, own),) = self.calls_of_parts((input, target, *others), options)
        for name in self._needed_maps:
            if own.get(name) is None:
                raise InputError(
                    f"point_sampled needs {name}=, because points have no distances of their own: compute a map, as"
                    f" {name}=signed_distance(target)"
                )
        maps = {
            name: map_of(own.pop(name), name, meaning, logits)
            for name, meaning in self.maps().items()
            if own.get(name) is not None
        }
        sampled, at_points = self.sampled(logits, masks, maps)
        return with_prefix(self.names[0], terms_of(self.loss, *sampled, *given[2:], **own, **at_points))

    def sampled(
        self, input: Tensor, target: Tensor, maps: Mapping[str, Tensor] = MappingProxyType({})
    ) -> tuple[tuple[Tensor, Tensor], dict[str, Tensor]]:
        """Sample logits, target and maps at the points, (N, C, points) each."""
        if len(input) == 0:  # nothing has a largest value; keep the gradient
            logits, masks, *others = (_none(x, self.points) for x in (input, target, *maps.values()))
            return (logits, masks), dict(zip(maps, others, strict=True))
        ignored = self._ignored(target, maps)
        if ignored is None:
            places = self.places(input)
            points = {name: sample(values, places) for name, values in maps.items()}
            return (self._at(input, places), self._masks_at(target, places)), points
        # grid_sample multiplies the neighbours of a pixel that it hits by 0, which a NaN logit would survive.
        input, target = torch.where(ignored, 0.0, input), torch.where(ignored, 0.0, target)
        places = self.places(input, ignored.to(input.dtype))
        touches = sample(ignored.to(input.dtype), places) > 0
        mixed = self._masks_at(target, places)
        points = {name: sample(values, places) for name, values in maps.items()}
        for name in points.keys() & self._calls.weights:
            points[name] = torch.where(touches, 0.0, points[name])
        marked = mixed if self.ignore_index is None else torch.where(touches, float(self.ignore_index), mixed)
        return (self._at(input, places), marked), points

    def _at(self, values: Tensor, places: Tensor) -> Tensor:
        return sample(values, places, self.outside)

    def _masks_at(self, target: Tensor, places: Tensor) -> Tensor:
        """Clamp interpolated values to the target's range: shares that sum to 1 + 1e-7 would exceed a mask's 1."""
        low, high = target.amin(), target.amax()
        if self.outside == "zeros":
            low, high = low.clamp_max(0), high.clamp_min(0)
        return self._at(target, places).clamp(low, high)

    def _ignored(self, target: Tensor, maps: Mapping[str, Tensor]) -> Tensor | None:
        """Return the pixels that are ignored or of weight 0; None if no pixel can be."""
        ignored = None if self.ignore_index is None else target == self.ignore_index
        for name in maps.keys() & self._calls.weights:
            ignored = maps[name] == 0 if ignored is None else ignored | (maps[name] == 0)
        return ignored

    def places(self, input: Tensor, ignored: Tensor | None = None) -> Tensor:
        """Draw the points of each mask, (N, C, points, dimensions) in [0, 1), the last dimension of the input first."""
        uncertain = int(self.important * self.points)
        random = _random(input, self.points - uncertain)
        if uncertain == 0:
            return random
        candidates = _random(input, int(self.oversampling * self.points))
        importance = -self._at(input.detach(), candidates).abs()
        if ignored is not None:
            importance = torch.where(sample(ignored, candidates) > 0, -torch.inf, importance)
        best = importance.topk(uncertain, dim=2, sorted=False).indices
        chosen = candidates.gather(2, best.unsqueeze(-1).expand(-1, -1, -1, input.ndim - 2))
        return torch.cat([chosen, random], dim=2)


def _random(input: Tensor, count: int) -> Tensor:
    # Always float32, so that inputs of every dtype have the same points.
    places = torch.rand(*input.shape[:2], count, input.ndim - 2, dtype=torch.float32, device=input.device)
    return places.to(input.dtype)


def sample(values: Tensor, places: Tensor, outside: Outside = "border") -> Tensor:
    """Interpolate values (N, C, *) linearly at places (N, C, P, dimensions) in [0, 1): (N, C, P)."""
    masks, dimensions = values.shape[:2], values.ndim - 2
    size = masks.numel()
    grid = (2 * places - 1).reshape(size, -1, *[1] * (dimensions - 1), dimensions)
    flat = values.reshape(size, 1, *values.shape[2:])
    return F.grid_sample(flat, grid, padding_mode=outside, align_corners=False).reshape(*masks, -1)


def _none(values: Tensor, points: int) -> Tensor:
    """Return the points of values without an example, (0, C, P)."""
    return values.flatten(2)[..., :1].expand(-1, -1, points)
