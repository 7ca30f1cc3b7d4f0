"""pytorch-toolbelt is imported once, for all tests."""

import importlib
import warnings

import pytest


@pytest.fixture(scope="session", autouse=True)
def toolbelt(torchvision_operators):
    """The losses of pytorch-toolbelt, imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what other libraries warn of is theirs
        return importlib.import_module("pytorch_toolbelt.losses")
