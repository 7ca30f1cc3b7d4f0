"""PIQ is imported once, for all tests."""

import importlib
import warnings

import pytest


@pytest.fixture(scope="session", autouse=True)
def piq(torchvision_operators):
    """PIQ, imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what other libraries warn of is theirs
        return importlib.import_module("piq")
