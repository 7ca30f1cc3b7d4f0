"""Fixtures and collection rules for the tests of the framework and of every plugin."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib import import_module

import pytest

LONG = os.environ.get("LOSSREG_SEARCH") == "long"
SLOW = ("compiles", "gradcheck")  # the conformance kit's checks that start a compiler or call a loss once per number


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the conformance kit's slow checks as `tools`; other tests have the mark in their own files."""
    for item in items:
        if getattr(item, "check", None) in SLOW:
            item.add_marker(pytest.mark.tools)


@pytest.fixture
def compiled() -> None:
    """Allow the kernels that Numba compiles in this test."""


@pytest.fixture(autouse=True)
def plain_installation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute without Numba, as on a plain installation, except in tests of the kernels and in `make test-long`.

    A kernel takes seconds to compile, and test_implementations.py shows that all implementations are equal.
    """
    if LONG or "compiled" in request.fixturenames or "torch" not in sys.modules:
        return
    choice = import_module("lossreg_segmentation.statistics.choice")
    there = choice._unusable
    monkeypatch.setattr(choice, "_unusable", lambda name: there(name) if name != "numba" else choice._MISSING[name])


@pytest.fixture(scope="session")
def torchvision_operators() -> Iterator[None]:
    """Define the schemas of torchvision's compiled operators, which it needs on import.

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
    del library  # the schemas exist as long as it does
