"""Checks of values and gradients. Each is a function of a subject."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from torch.autograd.gradcheck import GradcheckError

from lossreg.testing.case import IGNORED, map_tensors, predictions, with_predictions
from lossreg.testing.subject import ConformanceError, NotApplicable, Subject, double, same, split_options

HALF = (torch.float16, torch.bfloat16)


def oracle(subject: Subject) -> None:
    """Check the loss against an independent float64 implementation, on every kind of target of the case."""
    given = subject.case.oracle
    if given is None:
        raise ConformanceError(
            "the case has no oracle; pass Case(oracle=...), a second implementation written from the paper, or waive"
            " this check with the reason"
        )
    for kind in subject.case.kinds:
        if kind == "ignored":
            continue
        inputs = subject.double(kind)
        positional, options = split_options(map_tensors(Tensor.detach, inputs))
        expected = torch.as_tensor(given(*positional, **options, **subject.params)).double()
        module = subject.wide()
        values = subject.evaluate(module, inputs).per_example if expected.ndim else subject.value(module, inputs)
        if values is None:
            raise ConformanceError("the oracle returns values per example, the loss has none; return the mean instead")
        same(values, expected, f"{kind} targets: the loss and its oracle", rtol=1e-6, atol=1e-9)


def gradcheck(subject: Subject) -> None:
    """Check gradients, those of learned parameters included, against finite differences in float64."""
    _differentiable(subject)
    inputs = subject.double(batch=2)
    module = subject.wide()
    learned = [parameter for parameter in module.parameters() if parameter.requires_grad]

    def loss(*given: Tensor) -> Tensor:
        following = iter(given)  # predictions, then learned parameters, which the module holds itself
        return subject.value(module, map_tensors(lambda x: next(following) if x.requires_grad else x, inputs))

    try:
        torch.autograd.gradcheck(loss, [*predictions(inputs), *learned])
    except GradcheckError as error:
        raise ConformanceError(f"gradients differ from finite differences: {error}") from error


def requires_grad(subject: Subject) -> None:
    """Check that every prediction gets a gradient, and that gradients are finite and not all zero."""
    _differentiable(subject)
    value, gradients = subject.gradients(subject.build(), subject.case.inputs())
    _finite("random targets", value, gradients)
    if all((gradient == 0).all() for gradient in gradients):
        raise ConformanceError("every gradient is zero on random inputs, so that nothing can be trained")


def extreme_logits(subject: Subject) -> None:
    """Check that predictions of +-1e4 (`Case.magnitude`) give finite values and gradients in every float type."""
    for dtype in (torch.float32, *_half(subject)):
        for kind in subject.case.kinds:
            if kind == "ignored":
                continue
            for pattern in ("all high", "all low", "both"):
                extreme = partial(_extreme, subject.case.magnitude, dtype, pattern)
                where = f"predictions of {subject.case.magnitude:g}, {pattern}, in {dtype}, {kind} targets"
                _check_finite(subject, with_predictions(extreme, subject.case.inputs(kind)), where)


def _extreme(magnitude: float, dtype: torch.dtype, pattern: str, x: Tensor) -> Tensor:
    signs = {"all high": torch.ones_like(x), "all low": -torch.ones_like(x), "both": x.sign()}[pattern]
    return (signs * magnitude).to(dtype)


def half_precision(subject: Subject) -> None:
    """Check that float16 and bfloat16 predictions cost the same as in float64, and that autocast changes nothing."""
    dtypes = _half(subject)
    if not dtypes:
        raise NotApplicable("half_precision=False in the contract: the loss is not safe in half precision")
    for dtype in dtypes:
        rounded = with_predictions(partial(torch.Tensor.to, dtype=dtype), subject.case.inputs())
        found, expected = subject.value(subject.build(), rounded), subject.value(subject.wide(), double(rounded))
        same(found.double(), expected.double(), f"the loss in {dtype} and in float64", rtol=1e-4, atol=1e-6)
        if subject.contract.get("differentiable", True):
            _, gradients = subject.gradients(subject.build(), rounded)
            _, wide = subject.gradients(subject.wide(), double(rounded))
            for one, other in zip(gradients, wide, strict=True):
                near = float(other.abs().max()) * 1e-2
                same(one.double(), other, f"the gradient in {dtype} and in float64", rtol=1e-2, atol=near + 1e-6)
    for dtype in HALF:
        _same_under_autocast(subject, dtype)


def _same_under_autocast(subject: Subject, dtype: torch.dtype) -> None:
    inputs, module = subject.case.inputs(), subject.build()
    autocast = torch.autocast("cpu", dtype=dtype)
    where = f"under autocast to {dtype} and without; disable autocast inside the loss"
    if not subject.contract.get("differentiable", True):
        with autocast:
            found = subject.value(module, inputs)
        same(found, subject.value(module, inputs), f"the loss {where}", rtol=1e-5, atol=1e-7)
        return
    expected, slopes = subject.gradients(module, inputs)
    found, gradients = subject.gradients(module, inputs, forward=autocast)
    same(found, expected, f"the loss {where}", rtol=1e-5, atol=1e-7)
    for one, other in zip(gradients, slopes, strict=True):
        same(one, other, f"the gradient {where}", rtol=1e-5, atol=1e-7)


def empty_and_full(subject: Subject) -> None:
    """Check that targets without foreground, and with foreground only, give finite values and gradients."""
    kinds = [kind for kind in subject.case.kinds if kind in ("empty", "full")]
    if not kinds:
        raise NotApplicable("the case has no empty and no full targets")
    for kind in kinds:
        _check_finite(subject, subject.case.inputs(kind), f"{kind} targets")


def all_ignored(subject: Subject) -> None:
    """Check that a batch of ignored pixels costs exactly 0, connected to the graph, with gradients of 0."""
    subject.require_kind("ignored")
    subject.requires("ignore_index")
    value, gradients = subject.gradients(subject.build(ignore_index=IGNORED), subject.case.inputs("ignored"))
    if value.sum() != 0 or any((gradient != 0).any() for gradient in gradients):
        raise ConformanceError(f"all ignored: expected a loss of 0 and gradients of 0, got {value.sum().item()}")


def mask_equals_subset(subject: Subject) -> None:
    """Check that ignored pixels count as absent, even with NaN: value and gradients are the same."""
    subject.requires("ignore_index")
    versions = subject.case.ignoring(subject.double())
    if versions is None:
        raise NotApplicable("the case has no ignored pixels")
    module = subject.wide(ignore_index=IGNORED)
    value, gradients = subject.gradients(module, versions.marked)
    poisoned, others = subject.gradients(module, versions.poisoned)
    same(poisoned, value, "ignored pixels with NaN and with other values: the loss")
    for one, other, prediction in zip(others, gradients, predictions(versions.poisoned), strict=True):
        same(one, other, "ignored pixels with NaN and with other values: the gradient")
        if one[prediction.isnan()].any():
            raise ConformanceError("ignored pixels have a gradient; it must be exactly 0")
    if not subject.contract.get("positional", False):
        same(value, subject.value(module, versions.cut), "ignored pixels and absent pixels: the loss", rtol=1e-9)


def _check_finite(subject: Subject, inputs: tuple[object, ...], where: str) -> None:
    module = subject.build()
    if not subject.contract.get("differentiable", True):
        _finite(where, subject.value(module, inputs), [])
        return
    value, gradients = subject.gradients(module, inputs)
    _finite(where, value, gradients)
    for prediction, gradient in zip(predictions(inputs), gradients, strict=True):
        if gradient.dtype != prediction.dtype:
            raise ConformanceError(f"{where}: the gradient is {gradient.dtype}, the prediction {prediction.dtype}")


def _finite(where: str, value: Tensor, gradients: list[Tensor]) -> None:
    if not value.isfinite().all():
        raise ConformanceError(f"{where}: the loss is {value.detach().flatten()[0].item()}")
    for gradient in gradients:
        wrong = int((~gradient.isfinite()).sum())
        if wrong:
            raise ConformanceError(f"{where}: {wrong} of {gradient.numel()} gradients are NaN or infinite")


def _differentiable(subject: Subject) -> None:
    if not subject.contract.get("differentiable", True):
        raise NotApplicable("differentiable=False in the contract")
    if not predictions(subject.case.inputs()):
        raise ConformanceError("no tensor of the case requires a gradient; call .requires_grad_() on predictions")


def _half(subject: Subject) -> tuple[torch.dtype, ...]:
    return HALF if subject.contract.get("half_precision", True) else ()
