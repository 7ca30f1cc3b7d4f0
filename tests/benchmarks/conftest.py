"""The benchmarks are scripts that import each other from their folder."""

from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def benchmarks(monkeypatch):
    """The folder, from which a test may import."""
    if not BENCHMARKS.exists():
        pytest.skip("the benchmarks lie in the checkout, and only the tests are here")
    monkeypatch.syspath_prepend(BENCHMARKS)
    return BENCHMARKS
