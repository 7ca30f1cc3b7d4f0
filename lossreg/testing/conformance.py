"""Function `check_loss`: every check of one loss, in every case, with the waivers of its author."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Literal, NamedTuple

import torch
from torch import nn

from lossreg.config.resolution import parameters
from lossreg.errors import InputError
from lossreg.messages import did_you_mean, with_type
from lossreg.testing import structure, values
from lossreg.testing.case import Case, MaskCase
from lossreg.testing.subject import ConformanceError, NotApplicable, Subject, config_params, entry_of

__all__ = ["CHECKS", "ConformanceError", "Result", "check_loss", "default_cases", "run"]

MASK_TARGETS = ("mask", "class index", "mask or class index")
DECLARE = (
    ' if these are its inputs, register it with contract=contract(input="logits", target="mask", tasks=["binary"]),'
    " where contract is lossreg.authoring.contract; otherwise"
)

CHECKS: dict[str, Callable[[Subject], None]] = {
    check.__name__: check
    for check in (
        values.oracle,
        values.gradcheck,
        values.requires_grad,
        values.extreme_logits,
        values.half_precision,
        values.empty_and_full,
        values.all_ignored,
        values.mask_equals_subset,
        structure.permutation,
        structure.batch_split,
        structure.reductions,
        structure.bad_shapes,
        structure.moves,
        structure.pickles,
        structure.deepcopies,
        structure.state_dict,
        structure.compiles,
        structure.manifest_in_step,
    )
}


class Result(NamedTuple):
    """Result of a check in a case. `reason` is empty for "passed"."""

    case: str
    check: str
    outcome: Literal["passed", "failed", "waived", "not applicable"]
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.check}[{self.case}]: {self.outcome}" + (f": {self.reason}" if self.reason else "")


def check_loss(
    loss: str | nn.Module, *, cases: Iterable[Case] | None = None, waive: Mapping[str, str] | None = None
) -> list[Result]:
    """Run every check of the kit on a loss.

    Args:
        loss: a registered name, or a module. A module that a config built is checked by its config.
        cases: inputs to check it on; None for the inputs that its contract names, one case per task.
        waive: check -> the reason why this loss does not pass it.
    Raises:
        ConformanceError: lists every check that failed.
        InputError: a waiver has no reason or names no check; there are no cases for the inputs of this loss.
    """
    waive = dict(waive or {})
    check_waivers(waive)
    chosen = list(default_cases(loss) if cases is None else cases)
    if not chosen:
        raise InputError("cases is empty, so that nothing would be checked; omit it or pass at least one case")
    results = [run(loss, case, check, waive.get(check, "")) for case in chosen for check in CHECKS]
    failed = [str(result) for result in results if result.outcome == "failed"]
    if failed:
        raise ConformanceError(f"{_name(loss)} fails {len(failed)} of {len(results)} checks\n" + "\n".join(failed))
    return results


def run(loss: str | nn.Module, case: Case, check: str, waived: str = "") -> Result:
    """Run one check in one case. The caller's random state does not change."""
    if waived:
        return Result(case.label, check, "waived", waived)
    try:
        with torch.random.fork_rng(), case.context():
            return _result(Subject(loss, case), check)
    except Exception as error:  # noqa: BLE001 - the import of a loss, or the context of a case, may raise anything
        return Result(case.label, check, "failed", with_type(error))


def _result(subject: Subject, check: str) -> Result:
    label = subject.case.label
    try:
        CHECKS[check](subject)
    except NotApplicable as reason:
        return Result(label, check, "not applicable", str(reason))
    except ConformanceError as error:
        return Result(label, check, "failed", f"{subject.advice}{error}")
    except Exception as error:  # noqa: BLE001 - a loss may raise anything
        return Result(label, check, "failed", f"{subject.advice}{with_type(error)}")
    return Result(label, check, "passed")


def default_cases(loss: str | nn.Module) -> list[Case]:
    """Return a case for each task of a loss of logits and masks or class indices; for a module, for its own task.

    Raises:
        InputError: the contract names other inputs, or the loss has no contract.
    """
    entry = entry_of(loss)
    contract = entry.metadata.get("contract", {}) if entry else {}
    tasks = [task for task in contract.get("tasks", ()) if task in ("binary", "multilabel", "multiclass")]
    if entry is None or contract.get("input") != "logits" or contract.get("target") not in MASK_TARGETS or not tasks:
        raise InputError(
            f"{_name(loss)} has no contract with inputs that the kit can make: logits, and masks or class indices;"
            f"{DECLARE if entry and not contract else ''} pass cases=[...], each a lossreg.testing.Case with inputs()"
        )
    takes_task = "task" in parameters(entry)["properties"]
    own = config_params(loss).get("task")
    return [
        MaskCase(task, params={"task": task} if takes_task else {}) for task in tasks if own in (None, "auto", task)
    ]


def check_waivers(waive: Mapping[str, str]) -> None:
    """Raise InputError for a waiver without a reason or of an unknown check."""
    known = f"the checks are {', '.join(CHECKS)}"
    for check, reason in waive.items():
        if check not in CHECKS:
            raise InputError(f"unknown check {check!r}; {did_you_mean(check, CHECKS, otherwise=known)}")
        if not reason.strip():
            raise InputError(f"the waiver of {check!r} has no reason; write why the loss does not pass it")


def _name(loss: str | nn.Module) -> str:
    return loss if isinstance(loss, str) else type(loss).__name__
