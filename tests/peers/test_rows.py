"""Each row of docs/coming_from/ is true: both sides of a pair, on the same tensors."""

from __future__ import annotations

import re
import warnings

import pytest
import torch

import lossreg

from .rows import PAGES, Row, inputs, laid_out, rows
from .written import fvcore, mmseg, nnunet, optax, papers, transformers

INSTALLED = {
    "MONAI": "monai.losses",
    "kornia": "kornia.losses",
    "smp": "segmentation_models_pytorch.losses",
    "toolbelt": "pytorch_toolbelt.losses",
    "torchvision": "torchvision.ops",
    "torch": "torch.nn",
}
WRITTEN = {"nnU-Net": nnunet, "mmseg": mmseg, "optax": optax, "fvcore": fvcore, "transformers": transformers}
PAPERS = {"JDT", "Skeleton-Recall", "BoundaryDoU", "blob_loss", "CC loss", "torchvision's references"}
# Criteria with inputs of their own, which these tests run.
ELSEWHERE = {
    "objects": "tests/trainers/test_mask2former.py",
    "frames": "plugins/lossreg-sam/tests/test_sam2.py",
}
ROWS = [row for row in rows() if row.target not in ELSEWHERE]
PAIRS = [row for row in ROWS if row.ours]
ABSENT = [row for row in ROWS if not row.ours and row.library in INSTALLED]  # tests/trainers has more libraries
FLOAT32_INSIDE = re.compile("Focal|HausdorffDT|DeepSupervision|Generalized")  # of MONAI
WITHOUT_FLOAT64 = re.compile("(smp|toolbelt) .*LovaszLoss")

in_checkout = pytest.mark.skipif(
    not PAGES.exists(), reason="the pages lie in the checkout, and only the tests are here"
)


def named(row: Row) -> str:
    return f"{row.library} {row.theirs}"


@pytest.fixture
def library(row, torchvision_operators) -> dict:
    """The names of the library of a row."""
    name = row.library
    if name in INSTALLED:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # warnings of other libraries are not ours to fix
            module = pytest.importorskip(INSTALLED[name], reason=f"{name} is not installed: its rows are not checked")
    else:
        module = papers if name in PAPERS else WRITTEN[name]
    return {"torch": torch, "sigmoid": torch.sigmoid, "softmax": lambda x: x.softmax(1)} | vars(module)


def theirs(row: Row, library: dict, names: dict) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dtype = torch.float32 if WITHOUT_FLOAT64.match(named(row)) else torch.float64
        return row.value(library, laid_out(row.library, names, dtype))


@in_checkout
def test_each_library_has_rows():
    """Those that are installed, those that are written here, and those of papers."""
    assert {row.library for row in ROWS} == INSTALLED.keys() | WRITTEN.keys() | PAPERS
    assert len(PAIRS) > 120


@pytest.mark.parametrize("seed", [0, 1, 2], ids=["all classes", "missing classes", "one class"])
@pytest.mark.parametrize("row", PAIRS, ids=named)
def test_both_sides_are_equal(row, library, seed):
    """In value and gradient, in float64 where theirs can."""
    names = inputs(row.target, seed)
    loss = lossreg.build(row.config(names))
    found = loss(*row.arguments(names), **row.options(names))
    expected = theirs(row, library, names)
    if seed and expected.isnan():  # theirs divides 0 by 0
        assert found.isfinite()
        return
    exact = expected.dtype == torch.float64 and not (row.library == "MONAI" and FLOAT32_INSIDE.search(row.theirs))
    torch.testing.assert_close(found, expected.double(), rtol=1e-9 if exact else 1e-5, atol=1e-12)
    (gradient,), (other,) = (torch.autograd.grad(value, names["x"]) for value in (found, expected))
    if seed and other.isnan().any():  # theirs takes a root of 0
        assert gradient.isfinite().all()
        return
    torch.testing.assert_close(gradient, other, rtol=1e-7 if exact else 1e-4, atol=1e-10 if exact else 1e-7)


@pytest.mark.parametrize("row", ABSENT, ids=named)
def test_what_has_no_equivalent_exists(row, library):
    """The call of theirs is one that works, so that a row goes when the library changes."""
    assert theirs(row, library, inputs(row.target, 0)).isfinite().all()


@in_checkout
def test_a_row_without_an_equivalent_has_a_reason():
    assert [row for row in rows() if not row.ours and len(row.reason.split()) < 5] == []
