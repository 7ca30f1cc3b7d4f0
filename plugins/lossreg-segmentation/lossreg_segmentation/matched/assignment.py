"""The assignment: which query is compared with which target, of least total cost."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from lossreg.errors import ImplementationError
from lossreg_segmentation.statistics.plain import has_values, transforms_are_active


def assign(costs: Tensor, sizes: Sequence[int]) -> Tensor:
    """Assign the targets of each image to different queries; waits for the device once, for all levels and images.

    Args:
        costs: (L, B, Q, M) of L levels and B images; a pair whose cost is not finite is the last choice.
        sizes: number of targets of each image, at most M; further columns are not read.
    Returns:
        (L, R, 3): image, query and target of each pair, min(Q, M_b) for an image, in the order of the queries.
    """
    # Without the dispatcher, whose first call of an operator in Python imports the compiler.
    if has_values(costs) and not transforms_are_active():
        return _assign(costs, sizes)
    pairs: Tensor = torch.ops.lossreg.assign(costs, sizes)
    return pairs


def _assign(costs: Tensor, sizes: Sequence[int]) -> Tensor:
    solve = _scipy_optimize().linear_sum_assignment
    count = pairs_of(costs.shape[2], sizes)
    if count == 0:
        return costs.new_empty((len(costs), 0, 3), dtype=torch.long)
    rows = []
    for level in costs.detach().cpu():
        for image, (cost, size) in enumerate(zip(level, sizes, strict=True)):
            pair = solve(_finite(cost[:, :size]).numpy())
            query, target = (torch.from_numpy(each).long() for each in pair)
            rows.append(torch.stack([torch.full_like(query, image), query, target], 1))
    pairs = torch.cat(rows).view(len(costs), count, 3)
    if costs.device.type != "cuda":
        return pairs.to(costs.device)
    return pairs.pin_memory().to(costs.device, non_blocking=True)  # the host need not wait for this copy


# A custom operator, so that torch.compile does not trace SciPy.
_operator = torch.library.custom_op(
    "lossreg::assign", _assign, mutates_args=(), schema="(Tensor costs, SymInt[] sizes) -> Tensor"
)


@_operator.register_fake
def _(costs: Tensor, sizes: Sequence[int]) -> Tensor:
    return costs.new_empty((costs.shape[0], pairs_of(costs.shape[2], sizes), 3), dtype=torch.long)


def pairs_of(queries: int, sizes: Sequence[int]) -> int:
    """Return the number of pairs of a level: all targets, or all queries of an image that has fewer."""
    return sum(min(queries, size) for size in sizes)


def _finite(cost: Tensor) -> Tensor:
    """Replace infinite costs and NaN by a cost that no sum of the others reaches, and that rounds none of them away."""
    usable = cost.isfinite()
    if usable.all():
        return cost
    known = torch.where(usable, cost, 0.0).double()
    worst = known.max() + min(cost.shape) * (known.max() - known.min()) + 1
    return torch.where(usable, known, worst)


def _scipy_optimize() -> Any:
    """Import scipy.optimize on first use, because only `matched` needs it."""
    try:
        optimize: Any = import_module("scipy.optimize")
    except ImportError as error:
        raise ImplementationError(
            "matched assigns queries by SciPy, which is not installed: pip install 'lossreg-segmentation[matching]'",
            implementation="scipy",
        ) from error
    return optimize
