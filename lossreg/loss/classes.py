"""Values per class of the terms of a loss, computed when they are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lossreg.errors import InputError
from lossreg.loss.output import ByClass, Term


def values_by_class(terms: Mapping[str, Term]) -> dict[str, ByClass]:
    """Return, for each term that has values per class, the function that computes them; it holds no graph."""
    found: dict[str, ByClass] = {}
    for name, term in terms.items():
        if term.by_class is not None:
            found[name] = term.by_class
        elif term.per == "pair":
            found[name] = counted(term.values, term.count)
    return found


def counted(values: Tensor, count: Tensor | None) -> ByClass:
    """Return the function that gives values (B, C), and NaN where their count is 0."""
    return partial(_counted, values.detach(), None if count is None else count.detach())


def _counted(values: Tensor, count: Tensor | None) -> Tensor:
    return values.clone() if count is None else torch.where(count > 0, values, torch.nan)


def values_of(by_class: Mapping[str, ByClass]) -> dict[str, Tensor]:
    """Compute the values per class of each term."""
    with torch.no_grad():
        return {name: values() for name, values in by_class.items()}


class Again:
    """The values per class of a call that was computed as one function: they come from its terms.

    Raises:
        InputError: when they are read after an input has changed in place.
    """

    def __init__(
        self, terms: Callable[..., dict[str, Term]], inputs: Sequence[Any], options: Mapping[str, Any]
    ) -> None:
        self.terms, self.inputs, self.options = terms, inputs, options
        self.versions = self._versions()

    def __call__(self) -> dict[str, Tensor]:
        if self._versions() != self.versions:
            raise InputError("an input has changed in place since evaluate(); read per_class before it changes")
        with torch.no_grad():
            return values_of(values_by_class(self.terms(self.inputs, self.options)))

    def _versions(self) -> list[int]:
        given = (*self.inputs, *self.options.values()) if self.options else self.inputs
        return [x._version for x in given if isinstance(x, Tensor) and not x.is_inference()]
