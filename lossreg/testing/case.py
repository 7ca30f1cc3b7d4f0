"""Cases: inputs of a loss, and the changes that checks make to them."""

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
    """Inputs that must cost the same: some pixels ignored, NaN in these pixels, and without these pixels."""

    marked: tuple[Any, ...]
    poisoned: tuple[Any, ...]
    cut: tuple[Any, ...]


class Options(dict[str, Any]):
    """Keyword arguments of the call, as the last input of a case."""


class Case:
    """Inputs of a loss. Subclass it for other inputs than logits with masks or class indices.

    Tensors that require a gradient are predictions; all others are targets or weights. Inputs may nest tensors in
    lists, tuples and dicts; `Options` as the last input are passed by name.

    Args:
        label: the name of this case among those of one loss.
        params: parameters of the config. Values other than the defaults reveal a parameter that is ignored.
        contract: differences from the contract of the loss with these parameters, such as {"has_parameters": True}.
        oracle: `oracle(*inputs, **params)`, an independent implementation. Takes detached float64 inputs, returns the
            loss, or one value per example.
        context: a context manager around each check.
    """

    kinds: tuple[Kind, ...] = ("random",)
    magnitude: float = 1e4  # of the largest predictions that must have finite values; lower it unless they are logits

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
        """Return inputs of `batch` examples, float32; the same on every call."""
        raise NotImplementedError(f"{type(self).__name__} must define inputs(kind, batch=...)")

    def take(self, inputs: tuple[Any, ...], examples: list[int]) -> tuple[Any, ...]:
        """Return the inputs of some examples, which are the first dimension of every tensor."""
        taken: tuple[Any, ...] = map_tensors(lambda x: x[examples], inputs)
        return taken

    def ignoring(self, inputs: tuple[Any, ...]) -> Ignoring | None:
        """Return versions of the inputs with some pixels ignored; None if the loss cannot ignore pixels."""
        return None

    def misfits(self, inputs: tuple[Any, ...]) -> Iterator[tuple[str, tuple[Any, ...]]]:
        """Yield a mistake and inputs with it: a tensor of a single example, or a target that is one pixel narrower."""
        given = tensors(inputs)
        for x in given if len(given) > 1 else []:
            for cut in (x[:1], x[..., :-1]) if x.ndim else ():
                if cut.shape == x.shape or (x.requires_grad and cut.shape[1:] != x.shape[1:]):
                    continue
                # One tensor at a time, so that each mistake is found alone.
                mistake = f"a tensor of shape {tuple(cut.shape)} in place of {tuple(x.shape)}"
                yield mistake, map_tensors(partial(_replaced, x, cut), inputs)


class MaskCase(Case):
    """Logits (N, C, *) and masks or class indices of one task.

    Args:
        task: "binary", "multilabel" or "multiclass". Add it to `params` if the loss has such a parameter.
        size: the size of the images.
        **options: the options of `Case`.
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
        """Return versions in which the last column is ignored, or cut off."""
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
    """Return a copy of nested inputs with every tensor changed."""
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
    """List the tensors of nested inputs, in order."""
    found: list[Tensor] = []
    map_tensors(found.append, tree)
    return found


def predictions(tree: Any) -> list[Tensor]:
    """List the tensors that require a gradient, in order."""
    return [x for x in tensors(tree) if x.requires_grad]


def leaf(prediction: Tensor) -> Tensor:
    """Return a copy of a prediction, detached from its graph."""
    return prediction.detach().clone().requires_grad_()


def with_predictions(change: Callable[[Tensor], Tensor], tree: Any) -> Any:
    """Return a copy of nested inputs with every prediction changed, each a leaf; other tensors are unchanged."""
    return map_tensors(lambda x: leaf(change(x.detach())) if x.requires_grad else x, tree)
