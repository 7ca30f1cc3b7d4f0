"""check_loss: every check of one loss, in every case, with the waivers that its author names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Literal, NamedTuple

import torch
from torch import nn

from lossreg.config.resolution import parameters
from lossreg.errors import InputError
from lossreg.testing import structure, values
from lossreg.testing.case import Case, MaskCase
from lossreg.testing.subject import ConformanceError, NotApplicable, Subject, config_params, entry_of

__all__ = ["CHECKS", "ConformanceError", "Result", "check_loss", "default_cases", "run"]

MASK_TARGETS = ("mask", "class index", "mask or class index")

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
    """What a check said of a case. `reason` is empty for "passed"."""

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
        loss: a registered name, or a module. One that a config built is checked by its config.
        cases: inputs to check it on; None for those that its contract names, one per task.
        waive: check -> the reason why this loss does not keep it.
    Raises:
        ConformanceError: lists every check that failed.
        InputError: a waiver of no check or without a reason; no cases for inputs of this kind.
    """
    waive = dict(waive or {})
    check_waivers(waive)
    chosen = list(default_cases(loss) if cases is None else cases)
    if not chosen:
        raise InputError("cases is empty, so nothing would be checked; leave it out or give at least one")
    results = [run(loss, case, check, waive.get(check, "")) for case in chosen for check in CHECKS]
    failed = [str(result) for result in results if result.outcome == "failed"]
    if failed:
        raise ConformanceError(f"{_name(loss)} fails {len(failed)} of {len(results)} checks\n" + "\n".join(failed))
    return results


def run(loss: str | nn.Module, case: Case, check: str, waived: str = "") -> Result:
    """One check of one case. The random numbers of the caller stay as they are."""
    if waived:
        return Result(case.label, check, "waived", waived)
    try:
        with torch.random.fork_rng(), case.context():
            CHECKS[check](Subject(loss, case))
    except NotApplicable as reason:
        return Result(case.label, check, "not applicable", str(reason))
    except ConformanceError as error:
        return Result(case.label, check, "failed", str(error))
    except Exception as error:  # noqa: BLE001 - whatever a loss raises is its answer to a check
        return Result(case.label, check, "failed", f"{type(error).__name__}: {error}")
    return Result(case.label, check, "passed")


def default_cases(loss: str | nn.Module) -> list[Case]:
    """A case for each task of a loss of logits and masks or class indices; for a module, for the task that it has.

    Raises:
        InputError: its contract names other inputs, or it has none.
    """
    entry = entry_of(loss)
    contract = entry.metadata.get("contract", {}) if entry else {}
    tasks = [task for task in contract.get("tasks", ()) if task in ("binary", "multilabel", "multiclass")]
    if entry is None or contract.get("input") != "logits" or contract.get("target") not in MASK_TARGETS or not tasks:
        raise InputError(
            f"{_name(loss)} has no contract that says which inputs it takes (the kit knows logits with masks or class"
            " indices); give cases=[...], each a lossreg.testing.Case with inputs()"
        )
    takes_task = "task" in parameters(entry)["properties"]
    own = config_params(loss).get("task")
    return [
        MaskCase(task, params={"task": task} if takes_task else {}) for task in tasks if own in (None, "auto", task)
    ]


def check_waivers(waive: Mapping[str, str]) -> None:
    """Refuse waivers that name no check or no reason."""
    for check, reason in waive.items():
        if check not in CHECKS:
            raise InputError(f"no check is called {check!r}; the checks are {', '.join(CHECKS)}")
        if not reason.strip():
            raise InputError(f"the waiver of {check!r} has no reason; say why the loss does not keep it")


def _name(loss: str | nn.Module) -> str:
    return loss if isinstance(loss, str) else type(loss).__name__
