"""A config that config_of wrote builds the same loss in another process, where sets have another order."""

import json
import os
import subprocess
import sys

import pytest

import lossreg

pytestmark = pytest.mark.tools

CONFIGS = [
    {"name": "annotated"},
    {"name": "annotated", "params": {"how": "sum", "path": "x/y", "names": ["z", "y"], "sizes": [3], "point": [5]}},
    {"name": "annotated", "params": {"window": {"path": "p"}, "model": {"weights": {"7": 1}}, "weights": {3: "mean"}}},
    {"name": "annotated", "params": {"nested": {0: "dice", 1: {"name": "focal", "params": {"gamma": 3}}}}},
]


def test_another_process_builds_the_same():
    """From the short config and from the complete one."""
    with lossreg.losses.scope():
        from . import annotated  # registers a loss

        complete = [lossreg.config_of(lossreg.build(config)) for config in CONFIGS]
        expected = [annotated.shown(config) for config in CONFIGS]
    for given in (CONFIGS, complete):
        for seed in ("1", "2"):
            done = subprocess.run(
                [sys.executable, annotated.__file__],
                input=json.dumps(given),
                env={**os.environ, "PYTHONHASHSEED": seed},
                capture_output=True,
                text=True,
                check=True,
            )
            assert done.stdout.splitlines() == expected
