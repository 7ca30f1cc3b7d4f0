"""The rows of mmsegmentation in docs/losses.md, by the library itself: tests/peers has its formulas alone."""

import sys
from types import ModuleType

import pytest
import torch

import lossreg

from ..peers.rows import inputs, laid_out, rows
from ..peers.written import mmseg as written
from .data import trainer

# mmsegmentation imports the operators of mmcv, whose compiled part has no wheel for this torch. No loss here calls one.
operators = ModuleType("mmcv._ext")
operators.__getattr__ = lambda name: None
sys.modules["mmcv._ext"] = operators
trainer("mmseg.models")
del sys.modules["mmcv._ext"]
from mmseg.models import losses  # noqa: E402

ROWS = [row for row in rows() if row.library == "mmseg"]


def test_the_page_has_rows_of_it():
    assert len(ROWS) > 5


@pytest.mark.parametrize("seed", [0, 1], ids=["all classes", "missing classes"])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.theirs)
def test_the_library_equals_its_formulas_and_ours(row, seed):
    """Its Dice takes masks in float32."""
    names = inputs(row.target, seed)
    given = laid_out(row.library, names, torch.float64)
    expected = row.value(vars(losses), given)
    torch.testing.assert_close(row.value(vars(written), given), expected, rtol=1e-6, atol=1e-9)
    found = lossreg.build(row.config(names))(names["x"], names["t"], **row.options(names))
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)
    (gradient,), (other,) = (torch.autograd.grad(value, names["x"]) for value in (found, expected))
    torch.testing.assert_close(gradient, other, rtol=1e-6, atol=1e-9)
