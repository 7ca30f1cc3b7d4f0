"""Tensors rotate, so that a GPU's cache does not make a loss look faster."""

from types import SimpleNamespace

import pytest
import torch

MIB = 1 << 20


@pytest.fixture
def timing(benchmarks):
    import timing

    return timing


def test_sets_outlast_the_cache_of_a_gpu(timing, monkeypatch):
    """Between two uses of a set of 10 MiB at least 100 MiB of others are read, twice a cache of 50 MiB."""
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(L2_cache_size=50 * MIB))
    gpu = torch.device("cuda")
    assert [timing.sets_past_cache(size * MIB, gpu) for size in (10, 30, 100, 500)] == [11, 5, 2, 2]
    assert timing.sets_past_cache(10 * MIB, torch.device("cpu")) == 1


def test_the_next_call_gets_the_next_set(timing):
    """Both calls in each round, in an order that changes; sets in turn, for at least the given rounds."""
    used = []
    calls = {name: lambda tensors, name=name: used.append((name, tensors)) for name in ("ours", "peer")}
    times = timing.alternate(calls, [0, 1, 2], torch.device("cpu"), seconds=0, least=8)
    assert [tensors for _, tensors in used] == [0, 1, 2] * 5 + [0]
    rounds = [tuple(name for name, _ in used[start : start + 2]) for start in range(0, 16, 2)]
    assert {*rounds} == {("ours", "peer"), ("peer", "ours")}
    assert set(times) == {"ours", "peer"}


def test_one_set_of_tensors_is_in_the_caches(timing):
    """A call is made once before it is timed, unless it is slow."""
    used = []
    timing.alternate({"ours": used.append}, ["tensors"], torch.device("cpu"), seconds=0, least=3)
    assert len(used) == 6


def test_a_time_is_that_of_the_middle_call_in_milliseconds(timing, monkeypatch):
    """Starts and ends of three calls on a simulated clock: they take 1, 9 and 2 seconds."""
    ticks = iter([0, 0, 1, 1, 10, 10, 12, 100])
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(ticks))
    times = timing.alternate({"ours": lambda tensors: None}, [None], torch.device("cpu"), seconds=0, least=3)
    assert times == {"ours": 2000.0}
