"""The base class of losses, and the evaluation of any module as a loss."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from lossreg.errors import InputError, ShapeError
from lossreg.loss.calls import ANY, PerPixel, Signature, check_call, signature_of, with_a_meaning
from lossreg.loss.classes import Again, values_by_class, values_of
from lossreg.loss.output import LossOutput, Reduction, Term
from lossreg.loss.plans import Plan, Plans
from lossreg.loss.reduction import example_values, mean, per_example, total
from lossreg.loss.shared_passes import Pass, computed
from lossreg.loss.wrappers import exchanged, wrapped


class Loss(nn.Module):
    """Base class of losses: a subclass writes `terms` and nothing else.

    A loss whose terms are functions of a `Pass` that other losses need as well may write `passes` and `terms_from`
    instead: a weighted sum then computes the pass once.

    per_pixel: the options of a call that have a value for each pixel, with their meaning, by which losses made of
    losses carry them along. "weight": a term of a sum must take it or say that it is unweighted. "labels": numbers of
    objects or classes. "mask": one whose thin lines must stay. "distance": in pixels, so each resolution has its own.
    meaningless: options that other losses have, but not this one, with the reason: "it ranks pixels". A call may give
    them as None.

    Args:
        reduction: of the examples' values: "mean", "sum", or "none" for (B,).
    """

    per_pixel: ClassVar[Mapping[str, PerPixel]] = {}
    meaningless: ClassVar[Mapping[str, str]] = {}
    _signature: Signature = ANY

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        cls._signature = _signature_of(cls)

    def __init__(self, *, reduction: Reduction = "mean") -> None:
        super().__init__()
        if reduction not in ("mean", "sum", "none"):
            raise InputError(f"reduction must be 'mean', 'sum' or 'none', got {reduction!r}", reduction=reduction)
        self.reduction = reduction
        self._plans = Plans()

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name != "training":  # trainers set it in every step; each mode has its plans
            self.__dict__["_plans"] = Plans()

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        super().register_buffer(name, tensor, persistent)
        self.__dict__["_plans"] = Plans()

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        self.__dict__["_plans"] = Plans()

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self.__dict__["_plans"] = Plans()

    def _apply(self, *arguments: Any, **options: Any) -> Any:
        self.__dict__["_plans"] = Plans()
        return super()._apply(*arguments, **options)  # type: ignore[no-untyped-call]

    if TYPE_CHECKING:

        def __call__(self, *inputs: Any, **options: Any) -> Tensor: ...

    def terms(self, *inputs: Any, **options: Any) -> dict[str, Term]:
        """Return the unreduced parts of this loss. A subclass names its inputs: `terms(self, input, target)`."""
        if type(self).terms_from is Loss.terms_from:
            name = type(self).__name__
            raise NotImplementedError(f"{name} must define terms(self, input, target) -> dict[str, Term]")
        return self.terms_from(iter(computed(self.passes(*inputs, **options))), *inputs, **options)

    def passes(self, *inputs: Any, **options: Any) -> Sequence[Pass]:
        """Return the passes over the inputs whose results `terms_from` takes."""
        return ()

    def terms_from(self, results: Iterator[Any], *inputs: Any, **options: Any) -> dict[str, Term]:
        """Compute the terms from the next results, one for each of the `passes`."""
        return self.terms(*inputs, **options)

    def option_names(self) -> frozenset[str]:
        """Return the names of the options of a call, by which a sum passes each option to the losses that have it."""
        return self._signature.options

    def signature(self) -> Signature:
        """Return the names of the inputs and options of a call."""
        return self._signature

    def maps(self) -> Mapping[str, PerPixel]:
        """Return `per_pixel`; of a loss made of losses, that of its parts."""
        return self.per_pixel

    def plan(self, *inputs: Any, **options: Any) -> Plan | None:
        """Return this loss over inputs like these as one function; None if its terms are computed step by step."""
        return None

    def forward(self, *inputs: Any, **options: Any) -> Tensor:
        """Compute the training scalar, 0-dim, or (B,) under reduction="none", from the inputs of `terms`."""
        plan = None if torch.compiler.is_dynamo_compiling() else self.plan(*inputs, **options)
        if plan is not None and (plan.splits or self.reduction == "mean"):
            found = plan.value(inputs, options, self.reduction, self._by_terms)
            if found is not None:
                return found[0]
        return self._by_terms(self.reduction, inputs, options)

    def _by_terms(self, reduction: Reduction, inputs: Sequence[Any], options: Mapping[str, Any]) -> Tensor:
        """Compute the training scalar step by step, which can be differentiated twice."""
        terms = self._terms(inputs, options)
        if reduction == "mean":
            return total({name: mean(name, term) for name, term in terms.items()}, terms)
        values = self._per_example(terms)
        return values.sum() if reduction == "sum" else values

    def per_example(self, *inputs: Any, **options: Any) -> Tensor:
        """Compute the values per example, (B,), as differentiable as the training scalar.

        Raises:
            InputError: the loss does not split over examples.
        """
        plan = None if torch.compiler.is_dynamo_compiling() else self.plan(*inputs, **options)
        found = plan.value(inputs, options, "none", self._by_terms) if plan is not None and plan.splits else None
        return self._by_terms("none", inputs, options) if found is None else found[0]

    def evaluate(self, *inputs: Any, **options: Any) -> LossOutput:
        """Compute total, components and values per example from the terms.

        The total is that of `forward`; under reduction="none" it is the mean.

        Raises:
            InputError: the reduction is not "mean" and the loss does not split over examples.
        """
        plan = None if torch.compiler.is_dynamo_compiling() else self.plan(*inputs, **options)
        if plan is not None and (plan.splits or self.reduction == "mean"):
            output = plan.evaluate(inputs, options, self.reduction, self._by_terms)
            if output is not None:
                vars(output)["by_class"] = Again(self._terms, inputs, options)  # replace() would copy the output
                return output
        terms = self._terms(inputs, options)
        parts = {name: example_values(name, term) for name, term in terms.items() if term.per != "batch"}
        means = {name: mean(name, term, parts.get(name)) for name, term in terms.items()}
        values = per_example(terms, parts) if self.reduction == "mean" else self._per_example(terms, parts)
        summed = values.sum() if self.reduction == "sum" and values is not None else total(means, terms)
        components = {name: value.detach().clone() for name, value in means.items()}
        split = {name: part.detach().clone() for name, part in parts.items()}
        own = None if values is None else values.detach().clone()
        return LossOutput(summed, components, own, split, partial(values_of, values_by_class(terms)))

    def _per_example(self, terms: dict[str, Term], parts: Mapping[str, Tensor] | None = None) -> Tensor:
        """Return the values per example, (B,); raise InputError if the loss does not split over examples."""
        values = per_example(terms, parts)
        if values is None:
            whole = [name for name, term in terms.items() if term.per == "batch"]
            raise InputError(
                f"reduction={self.reduction!r} needs a loss that splits over examples; {type(self).__name__} does not"
                f" (terms of the whole batch: {', '.join(whole)}); use reduction='mean'",
                terms=whole,
            )
        return values

    def _terms(self, inputs: Sequence[Any], options: Mapping[str, Any]) -> dict[str, Term]:
        """Return the terms of a call."""
        if options:
            options = with_a_meaning(self, options)
        if options or len(inputs) != self._signature.required:
            self.check_call(inputs, options)
        terms = self.terms(*inputs, **options)
        if isinstance(terms, dict) and terms and all(isinstance(term, Term) for term in terms.values()):
            return terms
        raise InputError(f"{type(self).__name__}.terms must return at least one Term by name, got {terms!r:.200}")

    def check_call(self, inputs: Sequence[Any], options: Mapping[str, Any]) -> None:
        """Raise InputError for a call that lacks an input, has one too many, or an option that this loss has not."""
        check_call(self, name_of(self), self._signature, inputs, options)

    def extra_repr(self) -> str:
        shown = (f"{k}={v!r}" for k, v in vars(self).items() if not k.startswith("_") and k != "training")
        return ", ".join(shown)


def evaluate(loss: nn.Module, *inputs: Any, **options: Any) -> LossOutput:
    """Evaluate any module as a loss.

    A module that is not a `Loss` has one component, its output, named by the config that built it or by its class.
    Its values per example are unknown. A `Loss` in a wrapper, of torch or of lossreg, is evaluated as it is without the
    wrapper: not compiled, on one device.

    Raises:
        ShapeError: the module returned anything but a 0-dim tensor.
        InputError: a `Loss` with parameters, in a wrapper that exchanges them or their gradients between processes.
    """
    inner: nn.Module | None = loss
    outside = {exchanged(loss)}
    while inner is not None and not isinstance(inner, Loss):
        inner = wrapped(inner)
        outside.add(exchanged(inner) if inner is not None else "")
    if inner is not None:
        _refuse_exchange(loss, inner, outside)
        return inner.evaluate(*inputs, **options)
    value = scalar(loss, loss(*inputs, **options))
    return LossOutput(value, {name_of(loss): value.detach().clone()})


def _refuse_exchange(wrapper: nn.Module, loss: Loss, outside: Collection[str]) -> None:
    """Refuse to evaluate a loss whose parameters only a call of its wrapper keeps the same in all processes."""
    needed = "parameters" in outside or ("gradients" in outside and torch.is_grad_enabled())
    if needed and any(parameter.requires_grad for parameter in loss.parameters()):
        raise InputError(
            f"evaluate cannot call a {type(loss).__name__} through {type(wrapper).__name__}, which exchanges"
            f" {' and '.join(sorted(filter(None, outside)))} with other processes only when it is called; wrap"
            " tracked = lossreg.integrations.Tracked(loss) instead, call the wrapper, and read tracked.last"
        )


def name_of(loss: nn.Module) -> str:
    """Return the name in the config that built a loss; the class's name for one made by its constructor."""
    inner: nn.Module | None = loss
    while inner is not None and "_lossreg_config" not in vars(inner):
        inner = wrapped(inner)
    config = vars(inner or loss).get("_lossreg_config")  # set by lossreg.build
    return str(config["name"]) if isinstance(config, Mapping) else type(loss).__name__


def _signature_of(cls: type[Loss]) -> Signature:
    """Return the call of a class of losses, by the most derived of its methods that take the inputs."""
    for base in cls.__mro__:
        if base is Loss:
            break
        for name, skipped in (("terms", 1), ("passes", 1), ("terms_from", 2)):
            if callable(method := vars(base).get(name)):
                return signature_of(method, skipped)
    return ANY


def scalar(loss: nn.Module, value: object) -> Tensor:
    """Return the output of a module if it is a 0-dim tensor; raise ShapeError otherwise."""
    if isinstance(value, Tensor) and value.ndim == 0:
        return value
    given = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
    raise ShapeError(
        f"{type(loss).__name__} returned {given}, expected a 0-dim tensor; choose a reduction that gives one value"
    )
