"""The launches of a whole step: their number, and the time of each kernel."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from rows import Row
from torch.profiler import DeviceType, ProfilerActivity, profile
from work import make_work, run

import lossreg
from gpu.device import DEVICE, DRY
from gpu.steps import ROWS, shrunk
from gpu.steps import STEPS as WHOLE_STEPS

STEPS = 5
SHOWN = 9  # kernels, the longest first


def launches() -> Iterator[str]:
    """Yield the kernels of a step of four losses."""
    for name in WHOLE_STEPS:
        row = ROWS[name]
        size = (8, row.shape[1], 512, 512)
        yield from launches_of(shrunk(row) if DRY else row._replace(shape=size))


def launches_of(row: Row) -> Iterator[str]:
    """Yield the kernels of a step of a row."""
    loss, work = lossreg.build(row.config), make_work(row, DEVICE)
    for _ in range(3):
        run(loss, work)
    with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as profiled:
        for _ in range(STEPS):
            run(loss, work)
        if not DRY:
            torch.cuda.synchronize()
    yield from described(f"{row.name} {'x'.join(map(str, row.shape))}", profiled.key_averages())


def described(what: str, events: Iterable[Any]) -> Iterator[str]:
    """Yield a line for the step, and a line for each of its longest kernels."""
    found = sorted(filter(on_device, events), key=lambda event: -event.self_device_time_total)
    time = sum(event.self_device_time_total for event in found) / STEPS
    count = sum(event.count for event in found) / STEPS
    yield f"{what}: {time:.1f} us on the device in {count:.0f} launches"
    for event in found[:SHOWN]:
        yield f"   {event.self_device_time_total / STEPS:7.1f} us {event.count / STEPS:4.0f}x {event.key[:60]}"


def on_device(event: Any) -> bool:
    """Return True for a kernel, copy or fill; the profiler lists the same time again for the launching operator."""
    return event.device_type != DeviceType.CPU and not event.is_user_annotation
