"""Fixtures that several files share, and the settings of the conformance kit for this package."""

import pytest

from lossreg.testing import MaskCase
from lossreg_segmentation.statistics import implementation

from .cases import SHAPES, own, tasks_of
from .oracles import oracle


def reference():
    """Use plain torch: formulas need no compiled kernel, and test_implementations.py compares the kernels with it."""
    return implementation("reference")


def tiles():
    """Use tiles, as a plain installation does, for the conformance kit."""
    return implementation("tiled")


@pytest.fixture
def on_reference():
    with reference():
        yield


def pytest_lossreg_cases(name):
    provider, _, loss = name.partition("/")
    if provider != "segmentation":
        return None
    size = (6, 7) if loss in SHAPES else (3, 5)
    return [
        MaskCase(task, size=size, params={"task": task} | own(loss, task), oracle=oracle(loss), context=tiles)
        for task in tasks_of(loss)
    ]
