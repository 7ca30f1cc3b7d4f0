"""Each row of "Coming from another library" in docs/losses.md is true: both of its sides, on the same tensors."""

from __future__ import annotations

import re
import warnings

import pytest
import torch

import lossreg

from .rows import PAGE, Row, inputs, laid_out, rows
from .written import mmseg, nnunet, optax, papers

INSTALLED = {
    "MONAI": "monai.losses",
    "kornia": "kornia.losses",
    "smp": "segmentation_models_pytorch.losses",
    "toolbelt": "pytorch_toolbelt.losses",
    "torchvision": "torchvision.ops",
    "torch": "torch.nn",
}
WRITTEN = {"nnU-Net": nnunet, "mmseg": mmseg, "optax": optax}
PAPERS = {"JDT", "Skeleton-Recall", "BoundaryDoU", "blob_loss", "CC loss"}
ROWS = rows()
FLOAT32_INSIDE = re.compile("FocalLoss|HausdorffDT|DeepSupervision")  # of MONAI
WITHOUT_FLOAT64 = re.compile("LovaszLoss")  # of smp and toolbelt


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
    return {"sigmoid": torch.sigmoid, "softmax": lambda x: x.softmax(1)} | vars(module)


def theirs(row: Row, library: dict, names: dict) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dtype = torch.float32 if WITHOUT_FLOAT64.search(row.theirs) else torch.float64
        return row.value(library, laid_out(row.library, names, dtype))


@pytest.mark.skipif(not PAGE.exists(), reason="the page lies in the checkout, and only the tests are here")
def test_every_line_of_the_table_is_a_row():
    """No row is left out for the way it is written, and each library that the section names has rows."""
    section = PAGE.read_text().partition("\n## Coming from another library\n")[2].partition("\n## ")[0]
    table = section.partition("| theirs | target | ours |\n|---|---|---|\n")[2].partition("\n\n")[0]
    assert len(ROWS) == len(table.strip().splitlines()) > 60
    assert {row.library for row in ROWS} == INSTALLED.keys() | WRITTEN.keys() | PAPERS


@pytest.mark.parametrize("seed", [0, 1, 2], ids=["all classes", "missing classes", "one class"])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.library} {row.theirs}")
def test_both_sides_are_equal(row, library, seed):
    """In value and gradient, in float64 where theirs can."""
    names = inputs(row.target, seed)
    loss = lossreg.build(row.config(names))
    found = loss(names["xs"] if row.target == "levels" else names["x"], names["t"], **row.options(names))
    expected = theirs(row, library, names)
    if seed == 2 and expected.isnan():  # theirs divides 0 by 0
        assert found.isfinite()
        return
    exact = expected.dtype == torch.float64 and not (row.library == "MONAI" and FLOAT32_INSIDE.search(row.theirs))
    torch.testing.assert_close(found, expected.double(), rtol=1e-9 if exact else 1e-5, atol=1e-12)
    (gradient,), (other,) = (torch.autograd.grad(value, names["x"]) for value in (found, expected))
    torch.testing.assert_close(gradient, other, rtol=1e-7 if exact else 1e-4, atol=1e-10 if exact else 1e-7)
