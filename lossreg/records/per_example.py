"""The loss of each example of a batch."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from lossreg.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn

_INSTEAD = "use a loss that splits (see lossreg.losses.find), or reduce by hand and give (B,) values"


def compute_per_example_loss(loss: nn.Module, *inputs: Any, **options: Any) -> Tensor:
    """Compute the loss of each example: its mean is the training scalar, or its sum under reduction="sum".

    It is differentiable, so that examples can be weighted: `(weights * values).sum().backward()`. A `lossreg.Loss` is
    computed once, for any reduction, and no device is waited for. Any other module must have an attribute `reduction`.
    It is called once unchanged and once with "none", and the two results are compared: a mean over part of a batch, by
    class weights or ignored targets, does not split. A loss that contrasts the examples of a batch gives the part of
    each, which depends on the others.

    Args:
        loss: a `lossreg.Loss`, or a module with `reduction` "mean", "sum", "none" or "batchmean".
        *inputs, **options: arguments of the loss. The examples are the first dimension of the first tensor.
    Returns:
        (B,).
    Raises:
        InputError: the loss does not split over examples; gives the reason and a remedy.
    """
    from lossreg.loss import Loss

    if not isinstance(loss, Loss):
        return _of_module(loss, inputs, options)
    try:
        return loss.per_example(*inputs, **options)
    except InputError as error:
        of_batch = getattr(error, "terms", None)
        if not of_batch:
            raise
        raise InputError(
            f"{type(loss).__name__} does not split over examples (terms of the whole batch: {', '.join(of_batch)}),"
            f" as with batch=True or a product of losses; {_INSTEAD}",
            terms=of_batch,
        ) from None


def _of_module(loss: nn.Module, inputs: tuple[Any, ...], options: Mapping[str, Any]) -> Tensor:
    """Compute values with reduction="none", and check that they give the module's own result."""
    import torch

    name, reduction = type(loss).__name__, getattr(loss, "reduction", None)
    if reduction not in ("mean", "sum", "none", "batchmean"):
        raise InputError(
            f"{name} has no attribute `reduction` of 'mean', 'sum', 'none' or 'batchmean' (it is {reduction!r}), so its"
            f" value cannot be split over examples; {_INSTEAD}"
        )
    split = copy.copy(loss)  # shares the parameters
    split.reduction = "none"  # type: ignore[assignment]
    elements = split(*inputs, **options)
    batch = next(_tensors([*inputs, *options.values()])).shape[:1]
    if not isinstance(elements, torch.Tensor) or elements.ndim == 0 or elements.shape[:1] != batch:
        returned = tuple(elements.shape) if isinstance(elements, torch.Tensor) else type(elements).__name__
        raise InputError(
            f"{name} with reduction='none' returned {returned}, and not values for each of {tuple(batch)} examples: it"
            f" does not split; {_INSTEAD}"
        )
    flat = elements.flatten(1) if elements.ndim > 1 else elements[:, None]
    values = flat.sum(1) if reduction in ("sum", "batchmean") else flat.mean(1)
    if reduction != "none":
        _compare(name, values.sum() if reduction == "sum" else values.mean(), loss(*inputs, **options), flat)
    return values


def _compare(name: str, total: Tensor, scalar: Tensor, elements: Tensor) -> None:
    """Check that the values give the training scalar, but for rounding."""
    import torch

    with torch.no_grad():
        precision = torch.finfo(total.dtype).eps ** 0.5
        slack = precision * elements.abs().mean().nan_to_num(0, 0, 0).item()
        same = scalar.ndim == 0 and torch.isclose(total, scalar, rtol=precision, atol=slack, equal_nan=True).item()
    if not same:
        raise InputError(
            f"{name} does not split over examples: their values give {total.item():g}, and it returned"
            f" {scalar.detach().cpu().tolist()!r:.80}; it divides by a count over the whole batch (class weights,"
            f" ignored targets, lengths), so that the value of an example depends on the others; {_INSTEAD}"
        )


def _tensors(tree: Any) -> Iterator[Tensor]:
    """Yield the tensors in nested inputs."""
    import torch

    if isinstance(tree, torch.Tensor):
        yield tree
    elif isinstance(tree, Mapping | list | tuple):
        for value in tree.values() if isinstance(tree, Mapping) else tree:
            yield from _tensors(value)
