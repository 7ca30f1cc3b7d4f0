"""Timing of calls: in turn, and on a GPU with tensors that are no longer in its cache."""

from __future__ import annotations

import itertools
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import TypeVar

import torch

QUEUE_CYCLES = 20_000_000  # about 10 ms of a GPU, longer than any of the losses takes to launch
CACHES = 2  # multiples of the L2 cache's size that are read between two uses of one set of tensors
GIGABYTE = 1 << 30
SLOW = 200  # milliseconds: a step in which nothing is left in a cache of the one before
REST = 0.02  # seconds, in which the threads of another process stop waiting for work

Tensors = TypeVar("Tensors")


def sets_past_cache(nbytes: int, device: torch.device) -> int:
    """Return the number of sets that must rotate so that a GPU's L2 cache has none of the next set; 1 on a CPU."""
    if device.type != "cuda":
        return 1
    return 1 + -(-CACHES * torch.cuda.get_device_properties(device).L2_cache_size // nbytes)


def copied(like: torch.Tensor) -> torch.Tensor:
    """Return the tensor for measuring a copy's bandwidth: `like` itself, or on a GPU a gigabyte, beyond its cache."""
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
    elsewhere: Mapping[str, Callable[[], float]] = MappingProxyType({}),
) -> dict[str, float]:
    """Measure the median milliseconds of each call, all in turn, for `seconds` and at least `least` rounds.

    Each round has another order, so that no call always follows the same one. With one set of tensors, a call that is
    not slow is made once before it is timed, so that the caches contain its own data. Several sets rotate from call to
    call, so that none is used twice in a row. `elsewhere` are steps of other processes, which do the same and return
    their own milliseconds.
    """
    times: dict[str, list[float]] = {name: [] for name in (*calls, *elsewhere)}
    turns, order, orders = itertools.cycle(sets), list(times), random.Random(0)
    end = time.perf_counter() + seconds
    rounds = 0
    while rounds < least or time.perf_counter() < end:
        orders.shuffle(order)
        for name in order:
            if name in elsewhere:
                times[name].append(elsewhere[name]())
                time.sleep(REST)
                continue
            if len(sets) == 1 and (not times[name] or times[name][-1] < SLOW):
                calls[name](next(turns))
            times[name].append(timed(partial(calls[name], next(turns)), device, wall))
        rounds += 1
    return {name: statistics.median(found) for name, found in times.items()}


def timed(call: Callable[[], object], device: torch.device, wall: bool) -> float:
    """Measure the milliseconds of one call: on a GPU the device's time, or the wall clock with its launches."""
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
    # Meanwhile the host runs ahead, as in training, so that the device does not wait for launches.
    torch.cuda._sleep(QUEUE_CYCLES)
    first.record()
    call()
    last.record()
    last.synchronize()
    return float(first.elapsed_time(last))
