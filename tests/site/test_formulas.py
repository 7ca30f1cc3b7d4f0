"""Formulas without Node: MathML, which browsers draw by themselves."""

import re
from xml.etree import ElementTree

import pytest

from lossreg import losses

TEX = {entry.full_name: entry.metadata["tex"] for entry in losses.entries() if "tex" in entry.metadata}
NAME = "{http://www.w3.org/1998/Math/MathML}"


@pytest.fixture
def formulas(monkeypatch):
    """The extension, on a machine without Node."""
    import formulas

    monkeypatch.setattr(formulas.shutil, "which", lambda name: None)
    formulas.node.cache_clear()
    formulas.drawn.cache_clear()
    yield formulas
    formulas.node.cache_clear()
    formulas.drawn.cache_clear()


def test_a_fraction(formulas):
    """By hand."""
    html, error = formulas.drawn(r"\frac{a}{2}", True)
    fraction = ElementTree.fromstring(html).find(f".//{NAME}mfrac")
    assert error == ""
    assert [child.text for child in fraction.iter() if child.text] == ["a", "2"]


@pytest.mark.parametrize("name", sorted(TEX))
def test_the_formula_of_a_loss(formulas, name):
    """It is well-formed, and no command of TeX is left as text."""
    html, error = formulas.drawn(TEX[name], True)
    assert error == ""
    assert re.findall(r"\\\w+", "".join(ElementTree.fromstring(html).itertext())) == []


def test_all_losses_of_ours_are_tried():
    """42 have a formula."""
    assert len(TEX) == 42
