"""The bits of sums and gradients without weights: a change of the kernels that should change nothing changes no bit.

Bits belong to a processor and a version of the compiler: on others the test is skipped, with the reason. A release that
means to change them records them again with `python -m tests.golden`.
"""

from __future__ import annotations

import json

import pytest

from .golden import FILE, machine, record

pytestmark = pytest.mark.usefixtures("compiled")

RECORDED = json.loads(FILE.read_text())


@pytest.mark.parametrize("name", ["tiled", pytest.param("numba", marks=pytest.mark.tools)])
def test_the_bits_are_the_recorded_ones(name):
    """Sums and gradients of ten passes, over all targets and types, with and without ignored positions."""
    if name == "numba":
        pytest.importorskip("numba")
    if machine(name) != RECORDED[name]["machine"]:
        pytest.skip(f"recorded with {RECORDED[name]['machine']}; here is {machine(name)}")
    assert record(name)["bits"] == RECORDED[name]["bits"]
