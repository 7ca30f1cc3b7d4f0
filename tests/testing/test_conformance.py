"""Conformance kit: a sound loss passes, and each check finds its own mistake."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Annotated

import numpy as np
import pytest
import torch
from pydantic import Field
from torch import nn

import lossreg
from lossreg import Loss, Term, losses
from lossreg.contract import contract
from lossreg.loss import Reduction
from lossreg.testing import CHECKS, Case, ConformanceError, MaskCase, check_loss
from lossreg.testing.case import map_tensors
from lossreg.testing.conformance import default_cases, run

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "checks.md"
CONTRACT = contract(input="logits", target="mask", tasks=["binary"])


class Sound(Loss):
    """Squared error of the probability.

    Args:
        scale: factor of the loss, > 0.
        ignore_index: target value of the pixels that do not count.
        reduction: over examples.
    """

    def __init__(
        self,
        *,
        scale: Annotated[float, Field(gt=0)] = 2.0,
        ignore_index: int | None = None,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(reduction=reduction)
        self.scale = scale
        self.ignore_index = ignore_index
        self.register_buffer("offset", torch.zeros(()), persistent=False)

    def terms(self, input, target):
        if input.shape != target.shape:
            raise lossreg.ShapeError(f"input has shape {tuple(input.shape)}, target {tuple(target.shape)}")
        x = self.upcast(input)
        valid = self.valid(target)
        error = (torch.where(valid, x, 0.0).sigmoid() - torch.where(valid, target, 0).to(x.dtype)).square()
        error = torch.where(valid, error, 0.0).flatten(1)
        return {"error": Term(self.mean(error, valid.flatten(1)) * self.scale + self.offset.to(x), "example")}

    def upcast(self, input):
        return input if input.dtype == torch.float64 else input.float()

    def valid(self, target):
        return torch.ones_like(target, dtype=torch.bool) if self.ignore_index is None else target != self.ignore_index

    def mean(self, error, valid):
        return error.sum(1) / valid.sum(1).clamp_min(1)


def squared_error(input, target, scale=2.0):
    p = 1 / (1 + np.exp(-input.numpy()))
    return scale * ((p - target.numpy()) ** 2).reshape(len(p), -1).mean(1)


class WrongGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return 2 * grad


class HasAWrongGradient(Sound):
    def upcast(self, input):
        return WrongGradient.apply(super().upcast(input))


class Detaches(Sound):
    def upcast(self, input):
        return super().upcast(input).detach()


class Overflows(Sound):
    def upcast(self, input):
        x = super().upcast(input)
        return torch.log(torch.exp(x))


class StaysInHalf(Sound):
    def upcast(self, input):
        return input


class DividesByTheForeground(Sound):
    def terms(self, input, target):
        (name, term), *_ = super().terms(input, target).items()
        return {name: Term(term.values / target.flatten(1).sum(1), "example")}


class IsNaNWithoutPixels(Sound):
    def mean(self, error, valid):
        return error.sum(1) / valid.sum(1)


class CountsIgnoredPixels(Sound):
    def mean(self, error, valid):
        return error.mean(1)


class WeighsTheFirstExample(Sound):
    def mean(self, error, valid):
        return super().mean(error, valid) * torch.linspace(1, 2, len(error), dtype=error.dtype)


class SumsOverTheBatch(Sound):
    def terms(self, input, target):
        (name, term), *_ = super().terms(input, target).items()
        return {name: Term(term.values.sum(), "batch")}


class ForwardIsNotItsTerms(Sound):
    def forward(self, input, target):
        return 2 * super().forward(input, target)


class Broadcasts(Sound):
    def terms(self, input, target):
        return super().terms(input, target.expand_as(input))


class KeepsATensorOutsideItsState(Sound):
    def __init__(self, **options):
        super().__init__(**options)
        self.weight = torch.ones(())


class HoldsALambda(Sound):
    def __init__(self, **options):
        super().__init__(**options)
        self.curve = lambda x: x


class CopiesWrongly(Sound):
    def __deepcopy__(self, memo):
        return CopiesWrongly(scale=self.scale + 1)


class Counts(Sound):
    def __init__(self, **options):
        super().__init__(**options)
        self.register_buffer("calls", torch.zeros(()))

    def terms(self, input, target):
        self.calls += 1
        return super().terms(input, target)


class Branches(Sound):
    def mean(self, error, valid):
        mean = super().mean(error, valid)
        return mean * 1.0 if mean.sum().item() > 0 else mean


class DescribesNothing(Sound):
    """Squared error."""

    def __init__(self, *, shift: float = 0.0) -> None:
        super().__init__()


BROKEN = {
    "gradcheck": HasAWrongGradient,
    "requires_grad": Detaches,
    "extreme_logits": Overflows,
    "half_precision": StaysInHalf,
    "empty_and_full": DividesByTheForeground,
    "all_ignored": IsNaNWithoutPixels,
    "mask_equals_subset": CountsIgnoredPixels,
    "permutation": WeighsTheFirstExample,
    "batch_split": SumsOverTheBatch,
    "reductions": ForwardIsNotItsTerms,
    "bad_shapes": Broadcasts,
    "moves": KeepsATensorOutsideItsState,
    "pickles": HoldsALambda,
    "deepcopies": CopiesWrongly,
    "state_dict": Counts,
    "compiles": Branches,
    "manifest_in_step": DescribesNothing,
}


@pytest.fixture
def registered():
    """Return a function register(cls) -> name; the entry is removed after the test."""
    with losses.scope():

        def register(cls, **options):
            losses.register("subject", **{"contract": CONTRACT, **options})(cls)
            return "subject"

        yield register


def case(**options):
    return MaskCase("binary", **{"oracle": squared_error, **options})


def test_a_sound_loss_passes_every_check(registered):
    results = check_loss(registered(Sound), cases=[case(params={"scale": 3.0})])
    assert [result.check for result in results] == list(CHECKS)
    outcomes = {result.check: result.outcome for result in results}
    assert {check for check, outcome in outcomes.items() if outcome != "passed"} == {"manifest_in_step"}
    assert results[-1].reason.endswith("has no manifest")


def test_every_check_has_a_loss_that_it_finds():
    assert {*BROKEN, "oracle"} == set(CHECKS)


@pytest.mark.skipif(not PAGE.exists(), reason="the documentation lies in the checkout, and only the tests are here")
def test_the_page_explains_every_check():
    rows = re.findall(r"^\| ([a-z_, ]+) \| .+ \|$", PAGE.read_text(), re.MULTILINE)
    assert {name for row in rows[1:] for name in row.split(", ")} == set(CHECKS)


@pytest.mark.parametrize("check", BROKEN)
def test_each_check_finds_its_own_mistake(registered, check):
    """The sound loss passes the check, the broken one fails."""
    assert run(registered(BROKEN[check]), case(), check).outcome == "failed"
    with losses.scope():
        losses.register("sound", contract=CONTRACT)(Sound)
        assert run("sound", case(), check).outcome in ("passed", "not applicable")


def test_the_oracle_must_agree_and_must_be_there(registered):
    name = registered(Sound)
    assert run(name, case(), "oracle").outcome == "passed"
    wrong = run(name, case(oracle=lambda input, target: 1.01 * squared_error(input, target)), "oracle")
    assert (wrong.outcome, "differ" in wrong.reason) == ("failed", True)
    mean = case(oracle=lambda input, target: squared_error(input, target).mean())
    assert run(name, mean, "oracle").outcome == "passed"
    missing = run(name, case(oracle=None), "oracle")
    assert missing.outcome == "failed"
    assert "no oracle" in missing.reason
    assert "waive" in missing.reason


def test_a_loss_that_cannot_be_built_fails(registered):
    """The error of its constructor, or of the context of a case, is the reason."""

    class Raises(Sound):
        def __init__(self) -> None:
            raise RuntimeError("no such device")

    result = run(registered(Raises), case(), "extreme_logits")
    assert (result.outcome, result.reason) == ("failed", "RuntimeError: no such device")

    def context():
        raise OSError("no network")

    result = run(Sound(), case(context=context), "extreme_logits")
    assert (result.outcome, result.reason) == ("failed", "OSError: no network")


def test_a_failure_lists_every_check_that_failed(registered):
    with pytest.raises(ConformanceError) as raised:
        check_loss(registered(SumsOverTheBatch), cases=[case()])
    message = str(raised.value)
    assert message.startswith("subject fails 3 of 18 checks\n")
    assert re.findall(r"^(\w+)\[binary\]: failed", message, re.M) == ["oracle", "batch_split", "reductions"]


def test_a_waiver_names_a_check_and_a_reason(registered):
    name = registered(SumsOverTheBatch)
    reason = "it is of the whole batch"
    results = check_loss(
        name,
        cases=[case(oracle=lambda i, t: squared_error(i, t).sum())],
        waive={"batch_split": reason, "reductions": reason},
    )
    assert {(r.check, r.reason) for r in results if r.outcome == "waived"} == {
        ("batch_split", reason),
        ("reductions", reason),
    }
    with pytest.raises(lossreg.InputError, match=r"unknown check 'gradchek'; did you mean 'gradcheck'\?"):
        check_loss(name, waive={"gradchek": "typo"})
    with pytest.raises(lossreg.InputError, match="the waiver of 'oracle' has no reason; write why"):
        check_loss(name, waive={"oracle": " "})


def test_a_contract_without_value_per_example_needs_no_split(registered):
    """The check does not apply, by the contract."""
    options = {"contract": {**CONTRACT, "per_example": False}}
    name = registered(SumsOverTheBatch, **options)
    results = check_loss(
        name,
        cases=[case(oracle=lambda i, t: squared_error(i, t).sum())],
        waive={"reductions": "reduction has no meaning"},
    )
    assert {r.check for r in results if r.outcome == "not applicable"} == {"batch_split", "manifest_in_step"}


def test_cases_come_from_the_contract_one_per_task(registered):
    tasks = contract(input="logits", target="mask or class index", tasks=["binary", "multiclass"])
    assert [made.label for made in default_cases(registered(Sound, contract=tasks))] == ["binary", "multiclass"]


def hinge(input, target):
    return (1 - (2 * target - 1) * input).clamp_min(0).mean()


class HingeInFloat32(Loss):
    """Hinge loss, as an author may write it first."""

    def terms(self, input, target):
        return {"hinge": Term((1 - (2 * target.float() - 1) * input.float()).relu().flatten(1).mean(1))}


class HingeInHalf(Loss):
    """Hinge loss in the type of its input."""

    def terms(self, input, target):
        return {"hinge": Term((1 - (2 * target - 1) * input).relu().flatten(1).mean(1))}


class HingeWide(Loss):
    """Hinge loss that follows the advice."""

    def terms(self, input, target):
        wide = input.to(torch.promote_types(input.dtype, torch.float32))
        return {"hinge": Term((1 - (2 * target - 1) * wide).relu().flatten(1).mean(1))}


@pytest.mark.parametrize(
    "narrow, check, cause",
    [
        (
            HingeInFloat32,
            "gradcheck",
            "the loss of torch.float64 predictions is torch.float32; compute it in torch.float64",
        ),
        (
            HingeInHalf,
            "half_precision",
            "the loss of torch.float16 predictions is torch.float16; compute it in torch.float32",
        ),
    ],
)
def test_a_failure_names_the_narrow_type_as_its_cause_and_the_advice_cures_it(registered, narrow, check, cause):
    """The advice is the first line; a loss that follows it passes the check."""
    failed = run(registered(narrow), case(oracle=hinge), check)
    assert failed.outcome == "failed"
    advice = failed.reason.partition("\n")[0]
    assert advice == f"{cause}, as with input.to(torch.promote_types(input.dtype, torch.float32))"
    with losses.scope():
        losses.register("wide", contract=CONTRACT)(HingeWide)
        assert run("wide", case(oracle=hinge), check).outcome == "passed"


def test_a_failure_with_another_cause_has_no_advice_on_types(registered):
    assert "promote_types" not in run(registered(HasAWrongGradient), case(), "gradcheck").reason


def test_a_loss_without_contract_is_given_the_line_to_add(registered):
    """The contract of that line gives a case."""
    with pytest.raises(lossreg.InputError) as raised:
        check_loss(registered(Sound, contract={}))
    line = 'contract(input="logits", target="mask", tasks=["binary"])'
    assert f"if these are its inputs, register it with contract={line}, where contract is lossreg.authoring" in str(
        raised.value
    )
    declared = eval(line, {"contract": lossreg.authoring.contract})
    assert [made.label for made in default_cases(registered(Sound, contract=declared))] == ["binary"]


def test_inputs_of_another_kind_need_cases(registered):
    unknown = contract(input="embeddings", target="class index", tasks=["binary"])
    with pytest.raises(
        lossreg.InputError, match=r"has no contract with inputs that the kit can make: .*; pass cases=\[\.\.\.\]"
    ):
        check_loss(registered(Sound, contract=unknown))


class Pair(Case):
    """Nested inputs: a dict of predictions and a list of targets."""

    def inputs(self, kind="random", *, batch=4):
        generator = torch.Generator().manual_seed(0)
        x, t = torch.randn(batch, 3, generator=generator), torch.rand(batch, 3, generator=generator)
        return {"logits": x.requires_grad_()}, [t]


class Nested(nn.Module):
    def forward(self, outputs, targets):
        if outputs["logits"].shape != targets[0].shape:
            raise ValueError("sizes differ")
        x = outputs["logits"]
        x = x if x.dtype == torch.float64 else x.float()
        return torch.nn.functional.binary_cross_entropy_with_logits(x, targets[0].to(x.dtype))


def test_a_module_that_is_not_registered_can_be_checked():
    """Inputs may nest; checks that vary parameters do not apply, and values per example are unknown."""
    results = check_loss(Nested(), cases=[Pair()], waive={"oracle": "torch's own"})
    assert {r.check for r in results if r.outcome == "not applicable"} == {
        "empty_and_full",
        "all_ignored",
        "mask_equals_subset",
        "manifest_in_step",
    }


def test_a_case_without_inputs_fails_with_the_missing_method():
    results = {check: run(Nested(), Case(), check) for check in ("gradcheck", "permutation")}
    for result in results.values():
        assert result.outcome == "failed"
        assert "Case must define inputs(kind, batch=...)" in result.reason


def test_a_prediction_without_gradient_is_named(registered):
    class Extra(MaskCase):
        def inputs(self, kind="random", *, batch=4):
            return *super().inputs(kind, batch=batch), torch.zeros(batch, requires_grad=True)

    class Takes(Sound):
        def terms(self, input, target, unused):
            return super().terms(input, target)

    result = run(registered(Takes), Extra("binary"), "requires_grad")
    assert "prediction 2 of 2 gets no gradient" in result.reason


def test_nests_keep_their_form():
    nest = {"a": [torch.ones(1), (torch.zeros(2), "text")]}
    changed = map_tensors(lambda x: x + 1, copy.deepcopy(nest))
    assert changed["a"][0].item() == 2
    assert changed["a"][1][0].tolist() == [1, 1]
    assert changed["a"][1][1] == "text"
