"""Settings that the tests of every trainer share. The tools of these tests are in data.py."""

import os
from importlib.util import find_spec
from pathlib import Path
from tempfile import gettempdir

import pytest

from .data import define_torchvision_operators

# Read when a trainer is imported. No test reaches the network.
os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("YOLO_OFFLINE", "true")
os.environ.setdefault("YOLO_CONFIG_DIR", str(Path(gettempdir(), "lossreg-tests")))  # not the user's home
if find_spec("torchvision"):  # which several trainers import
    define_torchvision_operators()

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items):
    """Ignore the warnings of trainers, which are not ours. Those of lossreg, and about our lines, stay errors."""
    quiet = pytest.mark.filterwarnings("ignore", "error:::lossreg", "error:::tests")
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(quiet, append=False)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A new folder that is the current one: trainers write where they are."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
