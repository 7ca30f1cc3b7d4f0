"""Reduction: the only code that turns the terms of a loss into values per example, means and a total."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from lossreg.errors import InputError, ShapeError
from lossreg.loss.output import Term

_DIMENSIONS = {"example": 1, "pair": 2, "batch": None}  # of a term's values; None for any


def per_example(terms: Mapping[str, Term], parts: Mapping[str, Tensor] | None = None) -> Tensor | None:
    """Return the weighted sum of the terms for each example, (B,); None if a weighted term is of the whole batch.

    Args:
        terms: the terms of a loss, by name.
        parts: the terms' values per example, (B,) each, where they are computed already.
    """
    counted = _counted(terms)
    if any(term.per == "batch" for term in counted.values()):
        return None
    known = {name: example_values(name, term) for name, term in counted.items()} if parts is None else parts
    weighted = [_weighted(term, known[name]) for name, term in counted.items()]
    if len({values.shape for values in weighted}) > 1:
        sizes = ", ".join(f"{name} {tuple(values.shape)}" for name, values in zip(counted, weighted, strict=True))
        raise ShapeError(f"terms differ in their number of examples: {sizes}")
    return weighted[0] if len(weighted) == 1 else torch.stack(weighted).sum(0)


def total(means: Mapping[str, Tensor], terms: Mapping[str, Term]) -> Tensor:
    """Return the weighted sum of the terms' means, 0-dim."""
    weighted = [_weighted(term, means[name]) for name, term in _counted(terms).items()]
    return weighted[0] if len(weighted) == 1 else torch.stack(weighted).sum()


def mean(name: str, term: Term, part: Tensor | None = None) -> Tensor:
    """Return a term's mean before its weight, 0-dim; `part` holds its values per example if computed already."""
    if term.per == "batch":
        _check(name, term)
        values, count = term.values, term.count
        if count is None:
            return values.mean()
        return (values * count).sum() / _divisor(count.sum())
    if term.count is None and term.examples is None:  # every class and example counts alike
        if part is None:
            _check(name, term)
        return term.values.mean()
    values = example_values(name, term) if part is None else part
    return values.mean() if term.examples is None else values.sum() / term.examples


def example_values(name: str, term: Term) -> Tensor:
    """Return a term's values per example, (B,): the mean over classes of each."""
    _check(name, term)
    values, count = term.values, term.count
    if term.per == "example":
        return values
    if count is None:
        return values.mean(1)
    return (values * count).sum(1) / _divisor(count.sum(1))


def _counted(terms: Mapping[str, Term]) -> Mapping[str, Term]:
    """Return the terms of weights other than 0, or all if there is none, so that a zero total keeps its graph."""
    return {name: t for name, t in terms.items() if isinstance(t.weight, Tensor) or t.weight != 0} or terms


def _weighted(term: Term, value: Tensor) -> Tensor:
    """Multiply a value by the weight. Skip a factor of 1: on small tensors a product costs as much as the loss."""
    return value if isinstance(term.weight, float) and term.weight == 1 else term.weight * value


def _check(name: str, term: Term) -> None:
    """Check that the shapes of a term fit its unit."""
    shape = tuple(term.values.shape)
    if term.per not in _DIMENSIONS:
        raise InputError(f"term {name!r}: per must be 'example', 'pair' or 'batch', got {term.per!r}")
    expected = _DIMENSIONS[term.per]
    if expected is not None and len(shape) != expected:
        raise ShapeError(f"term {name!r}: values per {term.per!r} must be {expected}-dim, got shape {shape}")
    if term.values.numel() == 0 and term.examples is None:
        raise ShapeError(f"term {name!r} is empty, shape {shape}: the batch has no examples")
    if term.count is not None and term.per == "example":
        raise InputError(f"term {name!r}: values per 'example' have no classes for count to weight; leave count out")
    if term.count is not None and tuple(term.count.shape) != shape:
        raise ShapeError(f"term {name!r}: count must have the shape of values, {shape}, got {tuple(term.count.shape)}")


def _divisor(count: Tensor) -> Tensor:
    """Replace counts of 0 by 1, so that 0 / 0 is 0 in value and in gradient."""
    return torch.where(count > 0, count, 1.0)
