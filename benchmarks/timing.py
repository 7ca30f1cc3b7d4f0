"""How long calls take: in turn, and on a GPU with tensors that its cache has lost since they were last touched."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import torch

QUEUE_CYCLES = 20_000_000  # about 10 ms of a GPU, longer than any of the losses takes to launch
CACHES = 2  # how many L2 caches full is touched between two uses of one set of tensors
GIGABYTE = 1 << 30

Tensors = TypeVar("Tensors")


def sets_past_cache(nbytes: int, device: torch.device) -> int:
    """Count the sets of so many bytes that must take turns for a GPU's L2 cache to hold none of the next; CPUs: one."""
    if device.type != "cuda":
        return 1
    return 1 + -(-CACHES * torch.cuda.get_device_properties(device).L2_cache_size // nbytes)


def copied(like: torch.Tensor) -> torch.Tensor:
    """Return what a copy's bandwidth is measured with: the tensor itself; on a GPU a gigabyte, past its cache."""
    if like.device.type != "cuda":
        return like
    return torch.randint(256, (GIGABYTE,), dtype=torch.uint8, device=like.device)


def alternate(
    calls: dict[str, Callable[[Tensors], object]],
    sets: Sequence[Tensors],
    device: torch.device,
    *,
    seconds: float,
    wall: bool = False,
    least: int = 5,
) -> dict[str, float]:
    """Measure the median milliseconds of each call, all of them in turn, for so long and at least so many rounds.

    The sets of tensors rotate from call to call, so that none is used twice in a row where there are several.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    turns = itertools.cycle(sets)
    end = time.perf_counter() + seconds
    rounds = 0
    while rounds < least or time.perf_counter() < end:
        for name, call in calls.items():
            times[name].append(timed(partial(call, next(turns)), device, wall))
        rounds += 1
    return {name: statistics.median(found) for name, found in times.items()}


def timed(call: Callable[[], object], device: torch.device, wall: bool) -> float:
    """Measure the milliseconds of one call: on a GPU of the device, or by the wall clock with its launches."""
    if device.type == "cuda" and not wall:
        return device_time(call)
    synchronize = torch.cuda.synchronize if device.type == "cuda" else torch.cpu.synchronize
    synchronize()
    start = time.perf_counter()
    call()
    synchronize()
    return (time.perf_counter() - start) * 1e3


def device_time(call: Callable[[], object]) -> float:
    """Measure the milliseconds that the current GPU works on a call."""
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    # The host gets ahead meanwhile, as it does in training, so that launches are not waited for.
    torch.cuda._sleep(QUEUE_CYCLES)
    first.record()
    call()
    last.record()
    last.synchronize()
    return float(first.elapsed_time(last))
