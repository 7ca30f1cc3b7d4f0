"""The terms of a loss before reduction, and its output for one batch after reduction."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor

from lossreg.errors import DTypeError, InputError, ShapeError

if TYPE_CHECKING:
    from typing import Self

Reduction = Literal["mean", "sum", "none"]
Per = Literal["example", "pair", "batch"]
ByClass = Callable[[], Tensor]


@dataclass(frozen=True, eq=False)
class Term:
    """One unreduced part of a loss.

    Args:
        values: (B,) per "example", (B, C) per "pair" of example and class or mask, any shape per "batch".
        per: the unit of one value. By default "example" for (B,) and "pair" for (B, C). "batch" marks values that do
            not split over examples; it is never inferred.
        weight: factor of this term in the total; 0 keeps the term as a component that is only logged.
        count: how much each value counts in the mean over classes, >= 0, shaped like `values`; None counts all alike.
            An example whose counts are all 0 has the value 0 and stays in the mean over examples. So no example's
            gradient depends on which others share its batch, and accumulated or distributed batches give the same mean.
        examples: 0-dim, divisor of the sum over examples; None for their number. For a batch spread over several ranks
            it is the mean of their numbers, and a rank may have none.
        by_class: computes the detached values of each class, (B, C), or (1, C) of a batch, with NaN where a class does
            not count; it is called only when `LossOutput.per_class` is read. None: those of "pair".
    Raises:
        ShapeError: `per` is left out and values have neither one nor two dimensions.
    """

    values: Tensor
    per: Per | None = None
    weight: float | Tensor = 1.0
    count: Tensor | None = None
    examples: Tensor | None = None
    by_class: ByClass | None = None

    def __post_init__(self) -> None:
        if self.per is None:
            object.__setattr__(self, "per", _unit(self.values))


def _unit(values: Tensor) -> Per:
    """Infer the unit of one value from the number of dimensions."""
    if not isinstance(values, Tensor):
        raise DTypeError(f"the values of a Term must be a tensor, got {type(values).__name__}")
    if values.ndim == 1:
        return "example"
    if values.ndim == 2:
        return "pair"
    raise ShapeError(
        f"the values of a Term without per= are (B,) or (B, C), got shape {tuple(values.shape)};"
        " write per='batch' for values that do not split over examples"
    )


def not_kept() -> dict[str, Tensor]:
    """Raise InputError, in place of values per class that would keep the inputs of a training step in memory."""
    raise InputError(
        "the values per class of this call are not kept, because they are computed from its inputs; read"
        " lossreg.evaluate(loss, input, target).per_class, or call the loss under torch.no_grad() without torch.compile"
    )


if TYPE_CHECKING:
    # Type checkers unpack nothing but a tuple into values of different types. At run time LossOutput is no tuple:
    # DataParallel, accelerate and Transformers rebuild tuples from their items, and would lose the other fields.
    class _Pair(tuple[Tensor, dict[str, Tensor]]):
        def __new__(cls, *fields: Any, **named: Any) -> Self: ...

else:
    _Pair = object


@dataclass(frozen=True, eq=False)
class LossOutput(_Pair):
    """The output of a loss for one batch.

    total: 0-dim, differentiable. components: each term before its weight, 0-dim, detached and cloned, since trainers
    scale losses in place. per_example: (B,), detached, whose mean is the total; None where the loss does not split
    over examples. per_example_components: the same of each term before its weight; terms of the whole batch have none.
    per_class: (B, C), detached, of each term that has values per class or mask, or (1, C) of the whole batch; NaN where
    a class does not count. It is computed when it is first read, from the inputs of the call.

    `total, components = output` works, and type checkers see the pair (total, components).
    """

    total: Tensor
    components: dict[str, Tensor]
    per_example: Tensor | None = None
    per_example_components: dict[str, Tensor] = field(default_factory=dict)
    by_class: Callable[[], dict[str, Tensor]] = field(default=dict, repr=False)

    @cached_property
    def per_class(self) -> dict[str, Tensor]:
        return self.by_class()

    def __getstate__(self) -> dict[str, Any]:
        try:
            return {**vars(self), "per_class": self.per_class, "by_class": dict}
        except InputError:  # they are not to be had any more
            return {**vars(self), "by_class": not_kept}

    def __iter__(self) -> Iterator[Tensor | dict[str, Tensor]]:
        return iter((self.total, self.components))

    if not TYPE_CHECKING:  # checkers have these of the pair, with the type of each item

        def __len__(self) -> int:
            return 2

        def __getitem__(self, index: int) -> Tensor | dict[str, Tensor]:
            return (self.total, self.components)[index]
