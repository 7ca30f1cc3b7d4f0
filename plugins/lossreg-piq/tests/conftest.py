"""PIQ is imported once, for all tests."""

import importlib
import warnings

import pytest


@pytest.fixture(scope="session", autouse=True)
def piq(torchvision_operators):
    """Import PIQ."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings of other libraries are not ours to fix
        return importlib.import_module("piq")
