"""CPU kernels under several threads, in forked processes, and with as many threads as torch may use."""

from __future__ import annotations

import multiprocessing
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from lossreg_segmentation.statistics import implementation, threads

from .cases import build

CPU = pytest.mark.parametrize("name", ["numba", "tiled"])


def batch(seed=0):
    """Return a batch large enough for several threads."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2, 1, 300, 400, generator=generator)
    return x, torch.randint(0, 2, x.shape, generator=generator, dtype=torch.uint8)


def gradient(x, t):
    leaf = x.clone().requires_grad_()
    build("bce_dice_focal")(leaf, t).backward()
    return leaf.grad


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=["of torch", "of our own"])
def pool(request, monkeypatch, two_threads):
    """Set one of the two ways to run in threads."""
    if request.param == "of our own":
        monkeypatch.setattr(threads, "_openmp", None)
    elif threads._openmp is None:
        pytest.skip("torch has loaded no OpenMP library with the entry point GOMP_parallel")


@pytest.mark.usefixtures("compiled")
@CPU
def test_several_callers_at_once_get_what_each_gets_alone(pool, name):
    """Forward and backward in eight threads, bit for bit."""
    batches = [batch(seed) for seed in range(8)]

    def compute(each):
        with implementation(name):
            return gradient(*each)

    alone = [compute(each) for each in batches]
    with ThreadPoolExecutor(8) as executor:
        for _ in range(3):
            together = list(executor.map(compute, batches))
            assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_as_many_threads_as_torch_may_use(monkeypatch, count):
    """Read at each call; never more threads than tasks or than the given limit."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        shares = threads.in_threads(10, 8, lambda first, last: (first, last))
        assert len(shares) == count
        assert sorted(i for first, last in shares for i in range(first, last)) == list(range(10))
        assert threads.in_threads(1, 8, lambda first, last: (first, last)) == [(0, 1)]
        assert threads.in_threads(10, 1, lambda first, last: (first, last)) == [(0, 10)]
        assert threads.in_threads(0, 8, lambda first, last: (first, last)) == [(0, 0)]
    finally:
        torch.set_num_threads(before)


def test_an_error_in_a_thread_is_raised(pool):
    """After the others have finished."""

    def work(first, last):
        if first:
            raise ZeroDivisionError(f"{first} to {last}")
        return last

    with pytest.raises(ZeroDivisionError, match="5 to 10"):
        threads.in_threads(10, 2, work)


def child(queue, name):
    """Run a forked worker: torch itself may use one thread there, the kernels more."""
    with implementation(name):
        torch.set_num_threads(1)
        alone = gradient(*batch())
        shares = None
        original = torch.get_num_threads
        try:
            torch.get_num_threads = lambda: 2
            shares = threads.in_threads(4, 4, lambda first, last: (first, last))
        finally:
            torch.get_num_threads = original
    queue.put((alone.sum().item(), shares))


@pytest.mark.tools
@pytest.mark.usefixtures("compiled")
@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@CPU
def test_a_forked_worker_computes(pool, name):
    """After the parent has used its threads, which the child does not inherit."""
    with implementation(name):
        expected = gradient(*batch()).sum().item()
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    process = context.Process(target=child, args=(queue, name))
    process.start()
    process.join(300)
    hangs = process.is_alive()
    process.kill()
    assert not hangs
    value, shares = queue.get()
    assert value == pytest.approx(expected, rel=1e-5)
    assert shares == [(0, 2), (2, 4)]
