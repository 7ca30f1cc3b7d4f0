"""The rows of mmsegmentation and transformers in docs/coming_from/, by the libraries themselves."""

import sys
from types import ModuleType

import pytest
import torch

import lossreg

from ..pages import run_blocks
from ..peers.rows import PAGES, inputs, laid_out, rows
from ..peers.written import mmseg as formulas_of_mmseg
from ..peers.written import transformers as formulas_of_transformers
from .data import define_torchvision_operators, trainer

# mmsegmentation imports the operators of mmcv, whose compiled part has no wheel for this torch. No loss here calls one.
operators = ModuleType("mmcv._ext")
operators.__getattr__ = lambda name: None
sys.modules["mmcv._ext"] = operators
define_torchvision_operators()
trainer("mmseg.models")
del sys.modules["mmcv._ext"]
from mmseg.models import losses  # noqa: E402
from transformers.loss import loss_for_object_detection, loss_utils  # noqa: E402
from transformers.models.mask2former import modeling_mask2former  # noqa: E402

LIBRARIES = {
    "mmseg": (vars(losses), vars(formulas_of_mmseg)),
    "transformers": (
        vars(modeling_mask2former) | vars(loss_for_object_detection) | vars(loss_utils),
        vars(formulas_of_transformers),
    ),
}
ROWS = [row for row in rows() if row.library in LIBRARIES and row.target != "objects"]
PAIRS = [row for row in ROWS if row.ours]


def test_the_pages_have_rows_of_them():
    assert {row.library for row in PAIRS} == {*LIBRARIES}
    assert len(PAIRS) > 20


def named(row):
    return f"{row.library} {row.theirs}"


@pytest.mark.parametrize("seed", [0, 1], ids=["all classes", "missing classes"])
@pytest.mark.parametrize("row", PAIRS, ids=named)
def test_the_library_equals_its_formulas_and_ours(row, seed):
    """mmsegmentation's Dice and Lovasz compute in float32."""
    library, formulas = LIBRARIES[row.library]
    dtype = torch.float32 if "Lovasz" in row.theirs else torch.float64
    tolerance = {"rtol": 1e-5, "atol": 1e-7} if dtype == torch.float32 else {"rtol": 1e-6, "atol": 1e-9}
    names = inputs(row.target, seed)
    given = laid_out(row.library, names, dtype)
    expected = row.value(library, given).double()
    torch.testing.assert_close(row.value(formulas, given).double(), expected, **tolerance)
    found = lossreg.build(row.config(names))(*row.arguments(names), **row.options(names))
    torch.testing.assert_close(found, expected, **tolerance)
    (gradient,), (other,) = (torch.autograd.grad(value, names["x"]) for value in (found, expected))
    torch.testing.assert_close(gradient, other, **tolerance)


@pytest.mark.parametrize("row", [row for row in ROWS if not row.ours], ids=named)
def test_what_has_no_equivalent_exists(row):
    """The call works, so that a row goes when the library changes."""
    library, _ = LIBRARIES[row.library]
    assert row.value(library, laid_out(row.library, inputs(row.target, 0), torch.float64)).isfinite().all()


def test_the_blocks_of_the_page_of_transformers_run(tmp_path, monkeypatch):
    """SegFormer's own loss is equal to the one that replaces it."""
    run_blocks(PAGES / "transformers.md", tmp_path, monkeypatch)
