"""The memory of a step: the bytes that it keeps for backward, and its peak."""

from __future__ import annotations

from itertools import accumulate
from pathlib import Path

import rows
import torch
from peers import LossFunction
from torch import Tensor
from work import Work, make_work, run


def kept(loss: LossFunction, work: Work) -> float:
    """Count the bytes of the distinct storages that forward saves for backward, per logit."""
    saved: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        # Keep the tensor, so that its address is not reused before all are counted.
        saved[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss(*work.arguments)
    return sum(tensor.untyped_storage().nbytes() for tensor in saved.values()) / sum(
        logits.numel() for logits in work.logits
    )


def extra(loss: LossFunction, work: Work) -> float:
    """Measure the MB at the peak of a step, beyond input, target and gradient."""
    if work.leaves[0].device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run(loss, work)
        peak = torch.cuda.max_memory_allocated() - before
    else:
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
            run(loss, work)
        # On a CPU torch has no statistics, but the profiler gets every allocation and release, in order.
        events = profile.profiler.kineto_results.events() if profile.profiler else []
        peak = max(accumulate(event.nbytes() for event in events if event.name() == "[memory]"), default=0)
    return max(0, peak - work.gradients()) / 1e6


def resident(name: str) -> float:
    """Measure the same for ours by the system's count, which includes memory that torch did not allocate.

    Linux, in a fresh process.
    """
    row = next(row for row in rows.rows() if row.name == name)
    loss, work = row.ours(), make_work(row, torch.device("cpu"))
    run(loss, work)
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak to the present memory
    before = peak_bytes()
    run(loss, work)
    return (peak_bytes() - before - work.gradients()) / 1e6


def peak_bytes() -> int:
    """Read the peak memory of this process."""
    return 1024 * int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
