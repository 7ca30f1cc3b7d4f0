"""What the tests of the framework and of every plugin share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

COMPILING = "compiles"  # the conformance kit's check that starts a compiler


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave what compiles to the tests of tools, each of whose own files marks what belongs there."""
    for item in items:
        if getattr(item, "check", None) == COMPILING:
            item.add_marker(pytest.mark.tools)


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
