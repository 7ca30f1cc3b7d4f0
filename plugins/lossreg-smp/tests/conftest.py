"""segmentation-models-pytorch is imported once, for all tests."""

import importlib
import warnings

import pytest


@pytest.fixture(scope="session", autouse=True)
def smp(torchvision_operators):
    """The losses of segmentation-models-pytorch, imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what other libraries warn of is theirs
        return importlib.import_module("segmentation_models_pytorch.losses")
