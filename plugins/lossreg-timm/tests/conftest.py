"""timm is imported once, for all tests."""

import importlib
import warnings

import pytest


@pytest.fixture(scope="session", autouse=True)
def timm(torchvision_operators):
    """The losses of timm, imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what other libraries warn of is theirs
        return importlib.import_module("timm.loss")
