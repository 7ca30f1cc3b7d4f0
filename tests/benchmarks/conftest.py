"""The benchmarks are scripts that import each other from their folder."""

import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def benchmarks(monkeypatch):
    """Put the folder on the path, so that a test may import from it."""
    if not BENCHMARKS.exists():
        pytest.skip("the benchmarks lie in the checkout, and only the tests are here")
    monkeypatch.syspath_prepend(BENCHMARKS)
    yield BENCHMARKS
    for name, module in list(sys.modules.items()):  # other modules may be called `peers` or `losses`
        if str(BENCHMARKS) in (getattr(module, "__file__", None) or ""):
            del sys.modules[name]
