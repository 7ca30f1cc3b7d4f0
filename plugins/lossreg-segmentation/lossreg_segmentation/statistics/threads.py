"""Work in threads, for code that releases the interpreter's lock while it computes."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, TypeVar

import torch

Part = TypeVar("Part")

_REGION = ctypes.CFUNCTYPE(None, ctypes.c_void_p)

_pool: ThreadPoolExecutor | None = None


def in_threads(tasks: int, most: int, work: Callable[[int, int], Part]) -> list[Part]:
    """Run work(first, last) over shares of the tasks in threads, at most torch's number and `most`; return the results.

    Safe for several callers at once and in forked processes.
    """
    count = max(1, min(torch.get_num_threads(), tasks, most))
    if count == 1:
        return [work(0, tasks)]
    shares = list(pairwise(tasks * share // count for share in range(count + 1)))
    if _openmp is not None:
        return _in_openmp(shares, work)
    others = [_threads().submit(work, *share) for share in shares[1:]]
    return [work(*shares[0]), *(other.result() for other in others)]


def in_torch_threads() -> bool:
    """Return True if `in_threads` uses torch's own threads, in which its operators do not split their work again."""
    return _openmp is not None


def _in_openmp(shares: list[tuple[int, int]], work: Callable[[int, int], Part]) -> list[Part]:
    """Run the shares in the threads that run torch's own operators.

    After an operator these threads wait for the next one in a busy loop, for milliseconds. A separate thread would
    share its core with one of them, which doubled the measured time of a loss.
    """
    results: list[Any] = [None] * len(shares)
    waiting = list(enumerate(shares))

    def region(_: object) -> None:
        while waiting:  # the team may be smaller than requested
            try:
                number, share = waiting.pop()
            except IndexError:  # another thread was quicker
                return
            try:
                results[number] = work(*share)
            except BaseException as error:  # noqa: BLE001 - it cannot cross the library's frames: raised below
                results[number] = _Raised(error)

    _openmp.GOMP_parallel(_REGION(region), None, len(shares), 0)
    for result in results:
        if isinstance(result, _Raised):
            raise result.error
    return results


class _Raised:
    def __init__(self, error: BaseException) -> None:
        self.error = error


def _loaded_openmp() -> Any:
    """Return the OpenMP library that torch has loaded; None if there is none with this entry point."""
    try:
        library = ctypes.CDLL(None)
        library.GOMP_parallel.argtypes = [_REGION, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
        library.GOMP_parallel.restype = None
    except (AttributeError, OSError, TypeError):  # another system's loader, another OpenMP
        return None
    return library


def _threads() -> ThreadPoolExecutor:
    global _pool
    if _pool is None:
        _pool = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="lossreg")
    return _pool


def _after_fork() -> None:
    # A forked process copies the state of the pools but not their threads, and would wait for them forever.
    global _pool, _openmp
    _pool = _openmp = None


_openmp: Any = _loaded_openmp()
if hasattr(os, "register_at_fork"):  # missing on Windows, which does not fork
    os.register_at_fork(after_in_child=_after_fork)
