"""The fastest of a few launches of a kernel, measured once per variant and cached in the process.

Measuring launches every candidate a few times and synchronises with the device, only in the first pass of a variant.
Nothing is measured on import.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from statistics import median
from typing import TypeVar

import torch

from lossreg_segmentation.statistics.choice import interpreted

Candidate = TypeVar("Candidate")
Timer = Callable[[Callable[[], None], torch.device], float]

LAUNCHES = 5
# Elements. A kernel over fewer ends before the host has launched the next one: events would time the host.
LEAST_WORK = 2**24

_places: dict[Hashable, int] = {}  # index of the fastest candidate


def milliseconds(run: Callable[[], None], device: torch.device) -> float:
    """Return the median time of a few launches, after one that compiles and warms up."""
    run()
    stream = torch.cuda.current_stream(device)
    events = []
    for _ in range(LAUNCHES):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record(stream)
        run()
        end.record(stream)
        events.append((begin, end))
    events[-1][1].synchronize()
    return float(median(begin.elapsed_time(end) for begin, end in events))


def fastest(
    candidates: Sequence[Candidate],
    launch: Callable[[Candidate], None],
    variant: Hashable,
    work: int,
    device: torch.device,
    timer: Timer = milliseconds,
) -> Candidate:
    """Return the fastest candidate; the first where nothing can be measured.

    Args:
        launch: runs a candidate; must be safe to call repeatedly.
        variant: key of everything that the speed depends on except the device and the size class of the work. Calls
            with equal keys must pass candidates that differ from each other in the same way.
        work: number of elements.
    """
    key = (variant, device, work.bit_length())
    if key not in _places:
        if len(candidates) < 2 or not _measurable(work, device):
            return candidates[0]
        times = [timer(partial(launch, candidate), device) for candidate in candidates]
        _places[key] = times.index(min(times))
    return candidates[_places[key]]


def _measurable(work: int, device: torch.device) -> bool:
    if work < LEAST_WORK or device.type != "cuda" or interpreted():
        return False
    return not torch.cuda.is_current_stream_capturing()  # a capture forbids waiting and would record every launch
