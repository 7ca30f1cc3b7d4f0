"""What each example of a batch loses."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from lossreg.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn

_INSTEAD = "use a loss that splits (lossreg.losses.find shows them), or reduce by hand and give (B,) values"


def compute_per_example_loss(loss: nn.Module, *inputs: Any, **options: Any) -> Tensor:
    """The loss of each example, whose mean is the training scalar; whose sum, under reduction="sum".

    It is differentiable, so that examples can be weighed anew: `(weights * values).sum().backward()`. A `lossreg.Loss`
    is computed once, whatever its reduction, and nothing waits for the device. Any other module must have an attribute
    `reduction`: it is called once as it is and once with "none", and what its values give is compared with what it
    returned, since a mean over what is left of a batch, by class weights or ignored targets, does not split.
    A loss that contrasts the examples of a batch gives the part of each, which depends on the others.

    Args:
        loss: a `lossreg.Loss`, or a module with `reduction` "mean", "sum", "none" or "batchmean".
        *inputs, **options: as the loss takes them. The first tensor has the examples along its first dimension.
    Returns:
        (B,).
    Raises:
        InputError: the loss does not split over examples. Says why, and what to use.
    """
    from lossreg.loss import Loss, per_example

    if not isinstance(loss, Loss):
        return _of_module(loss, inputs, options)
    terms = loss.terms(*inputs, **options)
    values = per_example(terms)
    if values is None:
        whole = [name for name, term in terms.items() if term.per == "batch"]
        raise InputError(
            f"{type(loss).__name__} does not split over examples (terms of the whole batch: {', '.join(whole)}),"
            f" as with batch=True or a product of losses; {_INSTEAD}",
            terms=whole,
        )
    return values


def _of_module(loss: nn.Module, inputs: tuple[Any, ...], options: Mapping[str, Any]) -> Tensor:
    """By reduction="none", where that gives what the module itself returns."""
    import torch

    name, reduction = type(loss).__name__, getattr(loss, "reduction", None)
    if reduction not in ("mean", "sum", "none", "batchmean"):
        raise InputError(
            f"{name} has no attribute `reduction` of 'mean', 'sum', 'none' or 'batchmean' (it is {reduction!r}), so how"
            f" its value splits over examples is unknown; {_INSTEAD}"
        )
    split = copy.copy(loss)  # shares the parameters
    split.reduction = "none"  # type: ignore[assignment]
    elements = split(*inputs, **options)
    batch = next(_tensors([*inputs, *options.values()])).shape[:1]
    if not isinstance(elements, torch.Tensor) or elements.ndim == 0 or elements.shape[:1] != batch:
        given = tuple(elements.shape) if isinstance(elements, torch.Tensor) else type(elements).__name__
        raise InputError(
            f"{name} with reduction='none' returned {given}, and not values for each of {tuple(batch)} examples: it"
            f" does not split; {_INSTEAD}"
        )
    flat = elements.flatten(1) if elements.ndim > 1 else elements[:, None]
    values = flat.sum(1) if reduction in ("sum", "batchmean") else flat.mean(1)
    if reduction != "none":
        _compare(name, values.sum() if reduction == "sum" else values.mean(), loss(*inputs, **options), flat)
    return values


def _compare(name: str, total: Tensor, scalar: Tensor, elements: Tensor) -> None:
    """That the values give the training scalar, but for rounding."""
    import torch

    with torch.no_grad():
        precision = torch.finfo(total.dtype).eps ** 0.5
        slack = precision * elements.abs().mean().nan_to_num(0, 0, 0).item()
        same = scalar.ndim == 0 and torch.isclose(total, scalar, rtol=precision, atol=slack, equal_nan=True).item()
    if not same:
        raise InputError(
            f"{name} does not split over examples: their values give {total.item():g}, and it returned"
            f" {scalar.detach().cpu().tolist()!r:.80}; it divides by what counts in the whole batch (class weights,"
            f" ignored targets, lengths), so that the value of an example depends on the others; {_INSTEAD}"
        )


def _tensors(tree: Any) -> Iterator[Tensor]:
    """The tensors in a nest of inputs."""
    import torch

    if isinstance(tree, torch.Tensor):
        yield tree
    elif isinstance(tree, Mapping | list | tuple):
        for value in tree.values() if isinstance(tree, Mapping) else tree:
            yield from _tensors(value)
