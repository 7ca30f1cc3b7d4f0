"""Cases: the inputs that a loss takes, and what a check may do with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

Kind = Literal["random", "soft", "empty", "full", "ignored"]
Oracle = Callable[..., Any]

IGNORED = 255  # the target value of ignored pixels


class Ignoring(NamedTuple):
    """Inputs that must cost the same: with some pixels ignored, with NaN in those, and without them."""

    marked: tuple[Any, ...]
    poisoned: tuple[Any, ...]
    cut: tuple[Any, ...]


class Options(dict[str, Any]):
    """Last among the inputs of a case: what the call is given by name, tensors or not."""


class Case:
    """Inputs of a loss. Subclass it for a kind of inputs that the kit does not know.

    Tensors that require a gradient are predictions; all others are what they are compared with. Inputs may nest tensors
    in lists, tuples and dicts; `Options` as the last of them are given by name.

    Args:
        label: what this case is called among those of one loss.
        params: of the config, away from their defaults where that can show a parameter that is dropped.
        contract: what differs from the contract of the loss with these parameters, such as {"has_parameters": True}.
        oracle: `oracle(*inputs, **params)`, an independent float64 implementation: takes detached float64 inputs, gives
            the loss, or one value per example.
        context: the checks run inside it.
    """

    kinds: tuple[Kind, ...] = ("random",)
    magnitude: float = 1e4  # of the largest predictions that must have finite values; less for what is no logit

    def __init__(
        self,
        label: str = "default",
        *,
        params: Mapping[str, Any] | None = None,
        contract: Mapping[str, Any] | None = None,
        oracle: Oracle | None = None,
        context: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        self.label = label
        self.params = dict(params or {})
        self.contract = dict(contract or {})
        self.oracle = oracle
        self.context = context

    def inputs(self, kind: Kind = "random", *, batch: int = 4) -> tuple[Any, ...]:
        """Inputs of `batch` examples, float32; the same on every call."""
        raise NotImplementedError(f"{type(self).__name__} must define inputs(kind, batch=...)")

    def take(self, inputs: tuple[Any, ...], examples: list[int]) -> tuple[Any, ...]:
        """The inputs of these examples, which lie along the first dimension of every tensor."""
        taken: tuple[Any, ...] = map_tensors(lambda x: x[examples], inputs)
        return taken

    def ignoring(self, inputs: tuple[Any, ...]) -> Ignoring | None:
        """Versions of the inputs with some pixels ignored; None where pixels cannot be left out."""
        return None

    def misfits(self, inputs: tuple[Any, ...]) -> Iterator[tuple[str, tuple[Any, ...]]]:
        """Inputs that do not fit each other, and what is wrong: a tensor of one example, a target of one place less."""
        given = tensors(inputs)
        for x in given if len(given) > 1 else []:
            for cut in (x[:1], x[..., :-1]) if x.ndim else ():
                if cut.shape == x.shape or (x.requires_grad and cut.shape[1:] != x.shape[1:]):
                    continue
                # Each by itself: what fits the others must not hide it.
                what = f"a tensor of shape {tuple(cut.shape)} in place of {tuple(x.shape)}"
                yield what, map_tensors(partial(_replaced, x, cut), inputs)


class MaskCase(Case):
    """Logits (N, C, *) and masks or class indices of one task.

    Args:
        task: "binary", "multilabel" or "multiclass"; a part of `params` where the loss takes it.
        size: of the images.
        **options: those of `Case`.
    """

    kinds = ("random", "soft", "empty", "full", "ignored")

    def __init__(self, task: str, *, size: tuple[int, ...] = (3, 5), **options: Any) -> None:
        super().__init__(options.pop("label", task), **options)
        self.task = task
        self.size = size
        self.classes = 1 if task == "binary" else 3

    def inputs(self, kind: Kind = "random", *, batch: int = 4) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(0)
        shape = (batch, self.classes, *self.size)
        input = torch.randn(shape, generator=generator) * 2
        return input.requires_grad_(), self._target(kind, shape, generator)

    def ignoring(self, inputs: tuple[Any, ...]) -> Ignoring:
        """The last column is ignored, or cut off."""
        input, target, *others = inputs
        marked, poison = target.clone(), input.detach().clone()
        marked[..., -1], poison[..., -1] = IGNORED, torch.nan
        cut = leaf(input[..., :-1]), target[..., :-1], *others
        return Ignoring((input, marked, *others), (leaf(poison), marked, *others), cut)

    def _target(self, kind: Kind, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        noise = torch.randn(shape, generator=generator)
        multiclass = self.task == "multiclass"
        if kind == "soft":
            return noise.softmax(1) if multiclass else noise.sigmoid()
        target = noise.argmax(1) if multiclass else (noise > 0).long()
        fill = {"empty": 0, "full": self.classes - 1 if multiclass else 1, "ignored": IGNORED}.get(kind)
        return target if fill is None else torch.full_like(target, fill)


def map_tensors(change: Callable[[Tensor], Any], tree: Any) -> Any:
    """The same nest with every tensor changed."""
    if isinstance(tree, Tensor):
        return change(tree)
    if isinstance(tree, Mapping):
        changed = {key: map_tensors(change, value) for key, value in tree.items()}
        return Options(changed) if isinstance(tree, Options) else changed
    if isinstance(tree, (list, tuple)):
        parts = [map_tensors(change, value) for value in tree]
        if hasattr(tree, "_fields"):  # a named tuple
            return type(tree)(*parts)
        return parts if isinstance(tree, list) else tuple(parts)
    return tree


def _replaced(old: Tensor, new: Tensor, x: Tensor) -> Tensor:
    return new if x is old else x


def tensors(tree: Any) -> list[Tensor]:
    """Every tensor of a nest, in order."""
    found: list[Tensor] = []
    map_tensors(found.append, tree)
    return found


def predictions(tree: Any) -> list[Tensor]:
    """The tensors that require a gradient, in order."""
    return [x for x in tensors(tree) if x.requires_grad]


def leaf(prediction: Tensor) -> Tensor:
    """A prediction of its own, cut from what it was computed from."""
    return prediction.detach().clone().requires_grad_()


def with_predictions(change: Callable[[Tensor], Tensor], tree: Any) -> Any:
    """The same nest with every prediction changed, and each a leaf again; the rest is left as it is."""
    return map_tensors(lambda x: leaf(change(x.detach())) if x.requires_grad else x, tree)
