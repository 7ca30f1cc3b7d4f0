"""Work in threads, for what lets go of the interpreter while it computes."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TypeVar

import torch

Part = TypeVar("Part")

_pool: ThreadPoolExecutor | None = None


def in_threads(tasks: int, most: int, work: Callable[[int, int], Part]) -> list[Part]:
    """The results of work(first, last) over shares of the tasks, in as many threads as torch may use and `most` allows.

    Safe for several callers at once, since the threads wait for nobody, and in forked processes.
    """
    count = max(1, min(torch.get_num_threads(), tasks, most))
    bounds = [tasks * share // count for share in range(count + 1)]
    others = [_threads().submit(work, low, high) for low, high in pairwise(bounds[1:])]
    return [work(bounds[0], bounds[1]), *(other.result() for other in others)]


def _threads() -> ThreadPoolExecutor:
    global _pool
    if _pool is None:
        _pool = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="lossreg")
    return _pool


def _forget() -> None:
    global _pool
    _pool = None


# A forked process has the pool's bookkeeping and none of its threads: it would wait for them for ever.
if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_forget)
