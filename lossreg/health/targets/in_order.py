"""A map in threads, whose results come in the order of its items."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Final, TypeVar

T = TypeVar("T")
R = TypeVar("R")

AHEAD: Final = 4  # results per thread that wait for their turn, so that memory does not depend on the number of items


def map_in_order(function: Callable[[T], R], items: Iterable[T], workers: int) -> Iterator[R]:
    """Yield the results of a function in the order of the items, computed by some threads."""
    if workers <= 1:
        yield from map(function, items)
        return
    waiting: deque[Future[R]] = deque()
    rest = iter(items)
    with ThreadPoolExecutor(workers) as pool:
        try:
            waiting.extend(pool.submit(function, item) for item in islice(rest, AHEAD * workers))
            while waiting:
                result = waiting.popleft().result()
                waiting.extend(pool.submit(function, item) for item in islice(rest, 1))
                yield result
        finally:
            for each in waiting:
                each.cancel()
