"""The benchmarks are scripts that import each other from their folder."""

import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def benchmarks(monkeypatch):
    """The folder, from which a test may import."""
    if not BENCHMARKS.exists():
        pytest.skip("the benchmarks lie in the checkout, and only the tests are here")
    monkeypatch.syspath_prepend(BENCHMARKS)
    yield BENCHMARKS
    for name, module in list(sys.modules.items()):  # `peers` or `losses` may be anything elsewhere
        if str(BENCHMARKS) in (getattr(module, "__file__", None) or ""):
            del sys.modules[name]
