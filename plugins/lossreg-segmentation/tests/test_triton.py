"""The GPU kernels without a GPU, run by Triton's interpreter, which must be selected before Triton is imported."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.tools


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, on which test_implementations.py runs them")
def test_the_kernels_equal_the_reference_in_the_interpreter():  # over 10 s: one operation after another
    """The property test, in a separate process."""
    tests = Path(__file__).with_name("test_implementations.py")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "triton", str(tests)]
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    run = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-2000:]
    assert "2 passed" in run.stdout
    assert "skipped" not in run.stdout
