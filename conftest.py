"""What the tests of the framework and of every plugin share."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib import import_module

import pytest

LONG = os.environ.get("LOSSREG_SEARCH") == "long"
COMPILING = "compiles"  # the conformance kit's check that starts a compiler


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave what compiles to the tests of tools, each of whose own files marks what belongs there."""
    for item in items:
        if getattr(item, "check", None) == COMPILING:
            item.add_marker(pytest.mark.tools)


@pytest.fixture
def compiled() -> None:
    """The kernels that Numba compiles may run in this test."""


@pytest.fixture(autouse=True)
def plain_installation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute without Numba, as on a plain installation, but in tests of the kernels and by `make test-all`.

    A kernel takes seconds to compile, and test_implementations.py holds all of them equal.
    """
    if LONG or "compiled" in request.fixturenames or "torch" not in sys.modules:
        return
    choice = import_module("lossreg_segmentation.statistics.choice")
    there = choice._unusable
    monkeypatch.setattr(choice, "_unusable", lambda name: there(name) if name != "numba" else choice._MISSING[name])


@pytest.fixture(scope="session")
def torchvision_operators() -> Iterator[None]:
    """The schemas of torchvision's compiled operators, which it looks for when it is imported.

    A CPU build of torch has none, and several libraries import torchvision.
    """
    import torch

    if torch.cuda.is_available() or hasattr(torch.ops.torchvision, "nms"):
        yield
        return
    library = torch.library.Library("torchvision", "DEF")
    for operator in ("nms", "qnms"):
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    yield
    del library  # they last as long as it does
