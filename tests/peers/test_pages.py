"""The pages of docs/coming_from/: their counts, the classes that they name, and their blocks."""

from __future__ import annotations

import re
import warnings
from importlib import import_module

import pytest

from lossreg import losses

from ..pages import run_blocks
from .rows import PAGES, named, pages, rows
from .test_rows import ELSEWHERE

ROOT = PAGES.parents[1]
COUNT = re.compile(r"\*\*(\d+) pairs: (\d+) are equal, (\d+) ha(?:s|ve) no equivalent\.\*\*")
CODE_OF = {"monai.md": "monai.losses", "smp.md": "segmentation_models_pytorch.losses", "kornia.md": "kornia.losses"}
CODE_OF |= {"torch.md": "torch.nn"}
NAMED_IN_PROSE = {"PerceptualLoss", "AdaptiveLogSoftmaxWithLoss"}
ABOUT = [page for page in pages() if page.name != "index.md"]
each_page = pytest.mark.parametrize("page", ABOUT, ids=lambda page: page.name)

pytestmark = pytest.mark.skipif(not PAGES.exists(), reason="the pages lie in the checkout, and only the tests are here")


def counts(text):
    """Numbers of rows of the tables of a page: all, equal, without an equivalent."""
    lines = re.findall(r"^\| (?:[^`|]* )?`.+` ?[^`|]* \| [a-z ]+ \| (.+) \|$", text, re.MULTILINE)
    equal = [line for line in lines if line.startswith("`")]
    return len(lines), len(equal), len([line for line in lines if line.startswith("- ")])


@each_page
def test_the_numbers_of_a_page_are_those_of_its_tables(page):
    """Each sentence counts the table below it, and all rows are read by the tests."""
    text = page.read_text()
    _, *parts = COUNT.split(text)
    sections = [tuple(map(int, parts[place : place + 3])) for place in range(0, len(parts), 4)]
    assert sections
    assert sections == [counts(after) for after in parts[3::4]]
    found = rows([page])
    assert counts(text) == (
        len(found),
        len([row for row in found if row.ours]),
        len([row for row in found if row.reason]),
    )


def test_the_index_has_a_row_for_each_page():
    """With the sums of its numbers, and of the classes that it names."""
    table = re.findall(
        r"^\| \[.+\]\((\w+\.md)\) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", (PAGES / "index.md").read_text(), re.M
    )
    expected = {page.name: (*counts(page.read_text()), len(named(page))) for page in ABOUT}
    assert {name: tuple(map(int, numbers)) for name, *numbers in table} == expected


@each_page
def test_the_names_are_those_of_the_classes(page, torchvision_operators):
    """`monai/dice` is MONAI's DiceLoss."""
    for cls, name in named(page):
        assert losses.get(name).__name__ == cls


@pytest.mark.parametrize("page", CODE_OF)
def test_every_loss_of_a_library_is_on_its_page(page, torchvision_operators):
    """A class that a new version brings is missing here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings of other libraries are not ours to fix
        module = pytest.importorskip(CODE_OF[page], reason=f"{CODE_OF[page]} is not installed")
    public = {name for name, value in vars(module).items() if name.endswith("Loss") and isinstance(value, type)}
    there = {cls for cls, _ in named(PAGES / page)}
    text = (PAGES / page).read_text()
    assert public - there <= {name for name in NAMED_IN_PROSE if f"`{name}`" in text}
    assert len(public & there) > 6


@pytest.mark.parametrize("target", ELSEWHERE)
def test_criteria_with_inputs_of_their_own_are_tested_elsewhere(target):
    """The file exists, and runs each of them that has an equivalent."""
    text = (ROOT / ELSEWHERE[target]).read_text()
    for row in rows():
        if row.target == target and row.ours:
            assert row.theirs in text or row.ours in text


@pytest.mark.tools
@pytest.mark.parametrize(
    "page", [page for page in pages() if page.name != "transformers.md"], ids=lambda page: page.name
)
def test_the_blocks_of_a_page_run(page, torchvision_operators, tmp_path, monkeypatch):
    """In order, and print the text below them; tests/trainers runs the page of transformers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in CODE_OF.values():
            import_module(name)
        run_blocks(page, tmp_path, monkeypatch)
