"""Smoke tests: every path works on the device. They run before anything is timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import torch

from gpu import steps
from gpu.cases import CASES, Case
from gpu.correctness import errors
from gpu.device import DEVICE, DRY
from gpu.finding import Finding
from lossreg_segmentation.statistics import chosen

IGNORED = 255


def smoke() -> bool:
    """Run all checks and print their findings; return True if all are right."""
    start = time.perf_counter()
    findings = []
    for check in CHECKS:
        for finding in findings_of(check):
            print(finding, flush=True)
            findings.append(finding)
    if DRY:
        print("not in a dry run:", ", ".join(check.__name__ for check in ON_A_GPU))
    wrong = sum(not finding.right for finding in findings)
    print(f"{len(findings)} checks, {wrong} WRONG, {time.perf_counter() - start:.0f} s")
    return not wrong


def findings_of(check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """Yield the findings of a check; an error in it is a finding, too."""
    try:
        yield from check()
    except Exception as error:  # noqa: BLE001 - one broken check must hide no other: the machine is used only once
        yield Finding(f"{check.__name__} raised {type(error).__name__}: {error}", False)


def choice() -> Iterator[Finding]:
    """Check that the kernels are chosen here: the reference would give right values too, but slowly."""
    for case in CASES:
        name = chosen(*case.small().tensors(), case.activation)
        yield Finding(f"{case.name:24s} is computed by {name}", name == "triton")


def sums_and_gradients() -> Iterator[Finding]:
    """Compare the kernels with float64, with ignored pixels and without."""
    for case in CASES:
        yield from against_float64(case.small())


def against_float64(case: Case) -> Iterator[Finding]:
    """Check one case, on small images."""
    x, t = case.tensors()
    ignored = t.masked_fill(torch.rand(t.shape, device=DEVICE) < 0.1, IGNORED)
    for target, value in ((t, None), (ignored, IGNORED)):
        found = errors(case, x, target, value)
        yield Finding(f"{case.name:24s} ignore {value}: {found}", found.right(case.dtype))


ON_A_GPU = (steps.no_sync, steps.cuda_graph, steps.compiled)
CHECKS = (choice, sums_and_gradients, steps.same_bits, steps.autocast, steps.peak_memory, *(() if DRY else ON_A_GPU))
