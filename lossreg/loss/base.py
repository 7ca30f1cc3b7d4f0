"""A loss: its terms, its output, and the only code that reduces them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lossreg.errors import InputError, ShapeError
from lossreg.loss.shared_passes import Pass, computed

Reduction = Literal["mean", "sum", "none"]
Per = Literal["example", "pair", "batch"]

_DIMENSIONS = {"example": 1, "pair": 2, "batch": None}  # of a term's values; None for any


@dataclass(frozen=True, eq=False)
class Term:
    """One unreduced part of a loss.

    Args:
        values: (B,) per "example", (B, C) per "pair" of example and class or mask, any shape per "batch".
        per: what one value belongs to. "batch" says that the values do not split over examples.
        weight: factor of this term in the total; 0 keeps the term as a component that is only logged.
        count: how much each value counts in the mean over classes, >= 0, shaped like `values`; None counts all alike.
            An example of which nothing counts is 0 and stays in the mean over examples, so that no example's gradient
            depends on which others share its batch, and accumulated or distributed batches give the same mean.
        examples: 0-dim, what the sum over examples is divided by; None for their number. Where a batch lies on several
            ranks it is the mean of theirs, and a rank may have none.
    """

    values: Tensor
    per: Per = "pair"
    weight: float | Tensor = 1.0
    count: Tensor | None = None
    examples: Tensor | None = None


@dataclass(frozen=True, eq=False)
class LossOutput:
    """What a loss says about one batch.

    total: 0-dim, differentiable. components: each term before its weight, 0-dim, detached and cloned, since trainers
    scale losses in place. per_example: (B,), detached, whose mean is the total; None where the loss does not split
    over examples. per_example_components: the same of each term before its weight; terms of the whole batch have none.
    `total, components = output` works.
    """

    total: Tensor
    components: dict[str, Tensor]
    per_example: Tensor | None = None
    per_example_components: dict[str, Tensor] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Tensor | dict[str, Tensor]]:
        return iter((self.total, self.components))


class Loss(nn.Module):
    """Base class of losses: the author writes `terms` and nothing else.

    A loss whose terms are functions of something that others compute as well may write `passes` and `terms_from`
    instead: a weighted sum then computes that once.

    Args:
        reduction: how the values of the examples become one: "mean", "sum", or "none" for (B,).
    """

    def __init__(self, *, reduction: Reduction = "mean") -> None:
        super().__init__()
        if reduction not in ("mean", "sum", "none"):
            raise InputError(f"reduction is 'mean', 'sum' or 'none', got {reduction!r}", reduction=reduction)
        self.reduction = reduction

    def terms(self, *inputs: Any, **options: Any) -> dict[str, Term]:
        """The unreduced parts of this loss. A subclass names what it takes: `terms(self, input, target)`."""
        if type(self).terms_from is Loss.terms_from:
            name = type(self).__name__
            raise NotImplementedError(f"{name} must define terms(self, input, target) -> dict[str, Term]")
        return self.terms_from(iter(computed(self.passes(*inputs, **options))), *inputs, **options)

    def passes(self, *inputs: Any, **options: Any) -> Sequence[Pass]:
        """The work on the inputs whose results `terms_from` takes."""
        return ()

    def terms_from(self, results: Iterator[Any], *inputs: Any, **options: Any) -> dict[str, Term]:
        """The terms, from the next results, as many as there are `passes`."""
        return self.terms(*inputs, **options)

    def option_names(self) -> frozenset[str]:
        """What a call can be given by name alone, so that a sum knows which of its losses takes what."""
        return keywords(type(self).terms) | keywords(type(self).passes)

    def forward(self, *inputs: Any, **options: Any) -> Tensor:
        """The training scalar, 0-dim; (B,) under reduction="none". Takes what `terms` takes."""
        terms = self._checked(self.terms(*inputs, **options))
        if self.reduction == "mean":
            return _total({name: _mean(name, term) for name, term in terms.items()}, terms)
        values = self._split(terms)
        return values.sum() if self.reduction == "sum" else values

    def evaluate(self, *inputs: Any, **options: Any) -> LossOutput:
        """Total, components and per-example values, from the same terms; under reduction="none" the total is the mean.

        Raises:
            InputError: as `forward` does, where the reduction needs a loss that splits over examples.
        """
        terms = self._checked(self.terms(*inputs, **options))
        parts = {name: _examples(name, term) for name, term in terms.items() if term.per != "batch"}
        means = {name: _mean(name, term, parts.get(name)) for name, term in terms.items()}
        values = per_example(terms, parts) if self.reduction == "mean" else self._split(terms, parts)
        total = values.sum() if self.reduction == "sum" and values is not None else _total(means, terms)
        components = {name: mean.detach().clone() for name, mean in means.items()}
        split = {name: part.detach().clone() for name, part in parts.items()}
        return LossOutput(total, components, None if values is None else values.detach().clone(), split)

    def _split(self, terms: dict[str, Term], parts: Mapping[str, Tensor] | None = None) -> Tensor:
        """(B,), which every reduction but the mean needs."""
        values = per_example(terms, parts)
        if values is None:
            whole = [name for name, term in terms.items() if term.per == "batch"]
            raise InputError(
                f"reduction={self.reduction!r} needs a loss that splits over examples; {type(self).__name__} does not"
                f" (terms of the whole batch: {', '.join(whole)}); use reduction='mean'",
                terms=whole,
            )
        return values

    def _checked(self, terms: dict[str, Term]) -> dict[str, Term]:
        if isinstance(terms, dict) and terms and all(isinstance(term, Term) for term in terms.values()):
            return terms
        raise InputError(f"{type(self).__name__}.terms must return at least one Term by name, got {terms!r:.200}")

    def extra_repr(self) -> str:
        shown = (f"{k}={v!r}" for k, v in vars(self).items() if not k.startswith("_") and k != "training")
        return ", ".join(shown)


def evaluate(loss: nn.Module, *inputs: Any, **options: Any) -> LossOutput:
    """Evaluate any module as a loss.

    A module that is no `Loss` gives its output as the total and as the one component; how it splits is unknown.

    Raises:
        ShapeError: the module returned something else than one value.
    """
    if isinstance(loss, Loss):
        return loss.evaluate(*inputs, **options)
    total = scalar(loss, loss(*inputs, **options))
    return LossOutput(total, {type(loss).__name__: total.detach().clone()})


def keywords(method: Callable[..., Any]) -> frozenset[str]:
    """The parameters of a method that have a default, or can be given by name alone."""
    declared = inspect.signature(method).parameters.values()
    return frozenset(p.name for p in declared if p.default is not p.empty or p.kind is p.KEYWORD_ONLY)


def scalar(loss: nn.Module, value: object) -> Tensor:
    """`value` if it is a 0-dim tensor; an error that names `loss` otherwise."""
    if isinstance(value, Tensor) and value.ndim == 0:
        return value
    given = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
    raise ShapeError(
        f"{type(loss).__name__} returned {given}, expected a 0-dim tensor; choose a reduction that gives one value"
    )


def per_example(terms: Mapping[str, Term], values: Mapping[str, Tensor] | None = None) -> Tensor | None:
    """(B,): the weighted sum of the terms for each example; None if a term that weighs is of the whole batch.

    `values` are the terms' own, (B,) each, where they are known already.
    """
    weighed = _weighed(terms)
    if any(term.per == "batch" for term in weighed.values()):
        return None
    known = {name: _examples(name, term) for name, term in weighed.items()} if values is None else values
    parts = [_scaled(term, known[name]) for name, term in weighed.items()]
    if len({part.shape for part in parts}) > 1:
        sizes = ", ".join(f"{name} {tuple(part.shape)}" for name, part in zip(weighed, parts, strict=True))
        raise ShapeError(f"terms differ in their number of examples: {sizes}")
    return parts[0] if len(parts) == 1 else torch.stack(parts).sum(0)


def _weighed(terms: Mapping[str, Term]) -> Mapping[str, Term]:
    """The terms that count in the total; all of them if none does, so that zero stays connected to the graph."""
    return {name: t for name, t in terms.items() if isinstance(t.weight, Tensor) or t.weight != 0} or terms


def _total(means: Mapping[str, Tensor], terms: Mapping[str, Term]) -> Tensor:
    parts = [_scaled(term, means[name]) for name, term in _weighed(terms).items()]
    return parts[0] if len(parts) == 1 else torch.stack(parts).sum()


def _scaled(term: Term, value: Tensor) -> Tensor:
    """A factor of 1 is no operation: on small tensors each costs as much as the loss."""
    return value if isinstance(term.weight, float) and term.weight == 1 else term.weight * value


def _mean(name: str, term: Term, examples: Tensor | None = None) -> Tensor:
    """0-dim; `examples` are the term's values of each, where they are known already."""
    if term.per == "batch":
        _check(name, term)
        values, count = term.values, term.count
        if count is None:
            return values.mean()
        return (values * count).sum() / _safe(count.sum())
    if term.count is None and term.examples is None:  # classes and examples all alike
        if examples is None:
            _check(name, term)
        return term.values.mean()
    values = _examples(name, term) if examples is None else examples
    return values.mean() if term.examples is None else values.sum() / term.examples


def _examples(name: str, term: Term) -> Tensor:
    """(B,): the mean over classes of each example."""
    _check(name, term)
    values, count = term.values, term.count
    if term.per == "example":
        return values
    if count is None:
        return values.mean(1)
    return (values * count).sum(1) / _safe(count.sum(1))


def _check(name: str, term: Term) -> None:
    shape = tuple(term.values.shape)
    if term.per not in _DIMENSIONS:
        raise InputError(f"term {name!r} is per 'example', 'pair' or 'batch', got {term.per!r}")
    expected = _DIMENSIONS[term.per]
    if expected is not None and len(shape) != expected:
        raise ShapeError(f"term {name!r} is per {term.per!r}, so {expected}-dim, got shape {shape}")
    if term.values.numel() == 0 and term.examples is None:
        raise ShapeError(f"term {name!r} is empty, shape {shape}: the batch holds no examples")
    if term.count is not None and term.per == "example":
        raise InputError(f"term {name!r} is per 'example', which has no classes for a count to weigh; leave count out")
    if term.count is not None and tuple(term.count.shape) != shape:
        raise ShapeError(f"term {name!r} has values of shape {shape}, so count too, got {tuple(term.count.shape)}")


def _safe(total: Tensor) -> Tensor:
    """A divisor: 1 where nothing counts, so that 0 / 0 is 0 in value and in gradient."""
    return torch.where(total > 0, total, 1.0)
