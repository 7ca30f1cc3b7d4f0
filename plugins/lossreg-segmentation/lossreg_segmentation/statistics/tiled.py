"""The statistics on a CPU: torch over tiles that stay in cache, and a gradient that recomputes intermediate values.

Over whole tensors, each of about twenty steps would read and write every position in memory. Here all steps process one
tile before the next is read, and backward needs only input and target.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.linalg import vecdot
from torch.nn.functional import softplus

from lossreg_segmentation.statistics.request import CROSS_ENTROPY, DIFFERENTIABLE, FOCAL, HARD, Request, sums_dtype
from lossreg_segmentation.statistics.threads import in_threads
from lossreg_segmentation.statistics.tiled_masks import Slopes, hard_sums, write_gradient
from lossreg_segmentation.statistics.tiled_softmax import class_gradient, class_sums
from lossreg_segmentation.statistics.tiles import Reader, Scratch, Tile, overlap_slope, rows_of, sum_of, tiles

# More threads would wait for the interpreter's lock.
THREADS = 4


def forward(x: Tensor, t: Tensor, request: Request, w: Tensor | None = None) -> Tensor:
    """Compute the sums of `request.needs`, (K, B, C), of logits (B, C, L). InputError for invalid targets."""
    reader, differentiable = Reader(x, t, w, request, check=True), DIFFERENTIABLE.intersection(request.needs)
    rows, width, length = reader.logits.shape
    places = tiles(list(range(rows)), width, length)

    @torch.no_grad()  # threads do not inherit it
    def add(first: int, last: int) -> Tensor:
        # In float64: a large mask is many tiles.
        sums = torch.zeros(len(request.needs), rows, width, dtype=torch.float64, device=x.device)
        scratch = Scratch(reader.dtype)
        for place in places[first:last]:
            tile = reader.read(place, scratch)
            found = _count_sums(tile, request, scratch)
            if differentiable:
                found |= _sums(tile, request, scratch)
            if request.needs:
                sums[:, place.rows] += torch.stack([found[name] for name in request.needs])
        return sums

    parts = in_threads(len(places), THREADS, add)
    return torch.stack(parts).sum(0).view(len(request.needs), *x.shape[:2]).to(sums_dtype(x))


def backward(x: Tensor, t: Tensor, grads: Tensor, request: Request, w: Tensor | None = None) -> Tensor:
    """Compute dL/dx from dL/dsums (K, B, C). Rows whose sums have no gradient are not read."""
    gradient, reader = torch.empty_like(x), Reader(x, t, w, request, check=False)
    into = rows_of(gradient, request)
    of_sums = grads.to(reader.dtype).reshape(len(grads), *into.shape[:2], 1).unbind()
    carrying = {name: of for name, of in zip(request.needs, of_sums, strict=True) if name in DIFFERENTIABLE}
    live = (torch.stack(list(carrying.values())) != 0).flatten(2).any(2).any(0)
    into.index_fill_(0, (~live).nonzero().flatten(), 0)
    places = tiles(live.nonzero().flatten().tolist(), *into.shape[1:])

    hard = request.activation == "sigmoid" and not t.is_floating_point()
    slopes = Slopes.of(carrying, next(iter(carrying.values()))) if hard else None

    @torch.no_grad()
    def fill(first: int, last: int) -> None:
        scratch = Scratch(reader.dtype)
        for place in places[first:last]:
            tile = reader.read(place, scratch)
            here = into[place.rows, :, place.columns]  # a copy where the rows are not adjacent
            out = here if tile.weight is None else torch.empty_like(here, dtype=reader.dtype)
            if slopes:
                write_gradient(tile, place.rows, slopes, request.gamma, scratch, out)
            else:
                of = class_gradient if request.activation == "softmax" else _soft_gradient
                out.copy_(of(tile, {name: grad[place.rows] for name, grad in carrying.items()}, request.gamma))
            if tile.weight is not None:
                here.copy_(out.mul_(tile.weight))
            if isinstance(place.rows, Tensor):
                into[place.rows, :, place.columns] = here

    in_threads(len(places), THREADS, fill)
    return gradient


def _count_sums(tile: Tile, request: Request, scratch: Scratch) -> dict[str, Tensor]:
    """Return the sums without a gradient."""
    x, t, needs, sums = tile.x, tile.t, set(request.needs), {}
    if "actual" in needs:
        sums["actual"] = tile.total(tile.mass)
    if "actual_squared" in needs:
        sums["actual_squared"] = tile.total(t * tile.mass if tile.soft else tile.mass)
    if "valid" in needs:
        sums["valid"] = sum_of(torch.ones_like(x[:, :1]), tile.share).expand(x.shape[:2])
    if "counted" in needs:
        sums["counted"] = sum_of(torch.ones_like(x[:, :1]), tile.valid).expand(x.shape[:2])
    if not needs & HARD:
        return sums
    mask = t.gt(0.5).to(t.dtype) if tile.soft else t
    if request.activation == "softmax":
        hit = torch.zeros_like(x).scatter_(1, x.argmax(1, keepdim=True), 1)
    else:
        hit = torch.gt(
            x, request.threshold, out=scratch.block(x.shape[1], t)[0]
        )  # several times faster than through bool
    mask = tile.weighed(mask)
    both = tile.total(tile.pick(hit) * mask)
    return sums | {"hard_intersection": both, "hard_union": sum_of(hit, tile.share) + tile.total(mask) - both}


def _sums(tile: Tile, request: Request, scratch: Scratch) -> dict[str, Tensor]:
    """Return the differentiable sums."""
    if request.activation == "softmax":
        return class_sums(tile, request)
    return _soft_sums(tile, request) if tile.soft else hard_sums(tile, request, scratch)


def _soft_sums(tile: Tile, request: Request) -> dict[str, Tensor]:
    """Return the differentiable sums of independent masks."""
    x, t, u, needs, sums = tile.x, tile.t, tile.u, set(request.needs), {}
    p = torch.sigmoid(x)
    if "intersection" in needs:
        sums["intersection"] = tile.weighed(torch.minimum(p, t)).sum(2)
    if "product" in needs:
        sums["product"] = vecdot(p, tile.mass)
    if "predicted" in needs:
        sums["predicted"] = sum_of(p, tile.share)
    if "predicted_squared" in needs:
        sums["predicted_squared"] = sum_of(p * p, tile.share)
    if not needs & (CROSS_ENTROPY | FOCAL):
        return sums
    positive, negative, both = _cross_entropies(tile, u)
    losses = {"cross_entropy_positive": (positive, t), "cross_entropy_negative": (negative, u)}
    if needs & FOCAL:
        wrong = p.mul_(u).addcmul_(torch.sigmoid(-x), t)  # 1 - p would round to 0
        focal = wrong.pow_(request.gamma) * both
        losses |= {"focal_positive": (focal, t), "focal_negative": (focal, u)}
    return sums | {name: vecdot(loss, tile.weighed(share)) for name, (loss, share) in losses.items() if name in needs}


def _cross_entropies(tile: Tile, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return -log p and -log(1 - p), each right where its weight t or u is not 0, and -t log p - u log(1 - p)."""
    x, t = tile.x, tile.t
    if tile.soft:
        positive, negative = softplus(-x, threshold=50), softplus(x, threshold=50)
        return positive, negative, t * positive + u * negative
    both = softplus((u - t).mul_(x), threshold=50)  # a hard target needs only one of the two logarithms
    return both, both, both


def _soft_gradient(tile: Tile, grads: dict[str, Tensor], gamma: float) -> Tensor:
    x, t, u = tile.x, tile.t, tile.u
    p, n = torch.sigmoid(x), torch.sigmoid(-x)  # 1 - p would round to 0
    slope, pu, nt = p * n, p * u, n.mul_(t)
    gradient = torch.zeros_like(x)
    if "intersection" in grads:
        gradient.addcmul_(overlap_slope(p, tile), grads["intersection"])
    if "product" in grads:
        gradient.addcmul_(t, grads["product"])
    if "predicted" in grads:
        gradient.add_(grads["predicted"] if tile.valid is None else grads["predicted"] * tile.valid)
    if "predicted_squared" in grads:
        gradient.addcmul_(p if tile.valid is None else p * tile.valid, grads["predicted_squared"], value=2)
    gradient.mul_(slope)
    if "cross_entropy_positive" in grads:
        gradient.addcmul_(nt, grads["cross_entropy_positive"], value=-1)
    if "cross_entropy_negative" in grads:
        gradient.addcmul_(pu, grads["cross_entropy_negative"])
    if grads.keys() & FOCAL:
        weight = t * grads.get("focal_positive", 0) + u * grads.get("focal_negative", 0)
        # d/dx [wrong^g ce] = wrong^g (g ce wrong'/wrong + ce')
        wrong = pu + nt
        ratio = slope.mul_(u - t).div_(wrong.clamp_min(torch.finfo(x.dtype).tiny))
        ratio.mul_(_cross_entropies(tile, u)[2]).mul_(gamma).add_(pu.sub_(nt))
        gradient.addcmul_(ratio.mul_(wrong.pow_(gamma)), weight)
    return gradient
