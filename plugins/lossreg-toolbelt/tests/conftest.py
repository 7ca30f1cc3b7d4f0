"""pytorch-toolbelt needs torchvision, which looks for compiled operators when it is imported."""

import importlib
import warnings

import pytest
import torch


def declare_torchvision_operators():
    """A CPU build of torch has none of them."""
    library = torch.library.Library("torchvision", "DEF")
    for operator in ("nms", "qnms"):
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


@pytest.fixture(scope="session", autouse=True)
def toolbelt():
    """The losses of pytorch-toolbelt, imported."""
    missing = not torch.cuda.is_available() and not hasattr(torch.ops.torchvision, "nms")
    keep = declare_torchvision_operators() if missing else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what other libraries warn of is theirs
        imported = importlib.import_module("pytorch_toolbelt.losses")
    yield imported
    del keep
