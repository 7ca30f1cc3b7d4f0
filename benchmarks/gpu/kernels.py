"""The two passes by themselves: their times, the kernels' registers, and the launches of a whole step."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import torch
import triton
from timing import alternate, copied, sets_past_cache
from torch import Tensor

from gpu.cases import CASES, Case
from gpu.correctness import errors
from gpu.device import DEVICE, DRY
from gpu.finding import Finding
from gpu.launches import launches
from lossreg_segmentation.statistics import triton_driver

Tensors = tuple[Tensor, Tensor]
SIZED = tuple(case.small() if DRY else case for case in CASES)


def kernels() -> bool:
    """Print all figures; return True if the timed passes are right."""
    rate = copy_rate()
    print(f"a copy moves {rate / 1e9:.2f} TB/s")
    right = True
    for case in SIZED:
        right &= passes(case, rate)
    for line in (*registers(), *launches()):
        print(line)
    return right


def copy_rate() -> float:
    """Measure the bytes that a plain copy reads and writes in a millisecond."""
    source = copied(torch.empty(1 << 14, dtype=torch.uint8, device=DEVICE))
    target = torch.empty_like(source)
    calls: dict[str, Callable[[None], object]] = {"copy": lambda nothing: target.copy_(source)}
    return 2 * source.nbytes / alternate(calls, [None], DEVICE, seconds=0, least=20)["copy"]


def passes(case: Case, rate: float) -> bool:
    """Print the error of a case at its full size, then the time of each pass and the time to move its bytes."""
    x, t = case.tensors()
    found = errors(case, x, t)
    finding = Finding(f"{case.name:24s} {found}", found.right(case.dtype))
    print(finding)
    moved = {"forward": x.nbytes + t.nbytes, "backward": 2 * x.nbytes + t.nbytes}
    count = sets_past_cache(x.nbytes + t.nbytes, DEVICE)
    sets = [(x, t), *(case.tensors() for _ in range(count - 1))]
    for name, milliseconds in times(case, sets).items():
        floor = moved[name] / rate
        print(
            f"      {case.name:24s} {name:8s} {milliseconds * 1e3:9.1f} us"
            f"  floor {floor * 1e3:9.1f} us  share of a copy {floor / milliseconds:4.0%}",
            flush=True,
        )
    return finding.right


def times(case: Case, sets: list[Tensors]) -> dict[str, float]:
    """Measure the milliseconds of both passes, after calls that compile them and choose their launches."""
    calls = pair(case)
    for call in calls.values():
        call(sets[0])
    return alternate(calls, sets, DEVICE, seconds=0 if DRY else 1, least=1 if DRY else 10)


def pair(case: Case) -> dict[str, Callable[[Tensors], object]]:
    """Return both passes as calls of the driver."""
    request = case.request()
    grads = torch.rand(len(case.needs), *case.shape[:2], device=DEVICE)
    return {
        "forward": lambda tensors: triton_driver.forward(*tensors, request),
        "backward": lambda tensors: triton_driver.backward(*tensors, grads, request),
    }


def registers() -> Iterator[str]:
    """Yield warps, shared memory, registers and spills of each of our compiled kernels."""
    if DRY:
        yield "registers and spills: not in a dry run, the interpreter compiles nothing"
    for kernel in kernels_of_ours():
        for cache, *_ in kernel.device_caches.values():
            for variant in cache.values():
                used, spilled = (getattr(variant, name, "?") for name in ("n_regs", "n_spills"))
                warps, shared = variant.metadata.num_warps, variant.metadata.shared
                yield f"{kernel.__name__:20s} warps {warps} shared {shared} registers {used} spills {spilled}"


def kernels_of_ours() -> list[Any]:
    """Return the Triton functions of all imported lossreg modules."""
    modules = [module for name, module in sys.modules.items() if name.startswith("lossreg")]
    functions = [x for module in modules for x in vars(module).values() if isinstance(x, triton.JITFunction)]
    return sorted({id(x): x for x in functions}.values(), key=lambda x: x.__name__)


def once() -> bool:
    """Run both passes of the first case twice, the second time for a profiler."""
    calls, tensors = pair(SIZED[0]), SIZED[0].tensors()
    for call in calls.values():
        call(tensors)
    with nullcontext() if DRY else torch.cuda.profiler.profile():
        for call in calls.values():
            call(tensors)
    return True
