"""Fixtures that several files share."""

import pytest

from lossreg_segmentation.statistics import implementation


@pytest.fixture
def on_reference():
    """Sums in plain torch: to test formulas takes no compiled kernel, and test_implementations.py holds those equal."""
    with implementation("reference"):
        yield
