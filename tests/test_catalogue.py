"""The catalogue: at least thirty losses, each with a summary and tags of one vocabulary."""

import importlib.util
import inspect
import re
from pathlib import Path

import pytest

from lossreg import losses

DOCS = Path(__file__).parent.parent / "docs"
FIRST_PARTY = [entry for entry in losses.entries() if entry.provider in ("lossreg", "segmentation", "sam")]

in_checkout = pytest.mark.skipif(
    not DOCS.is_dir(), reason="the documentation lies in the checkout, and only the tests are here"
)
each_loss = pytest.mark.parametrize("entry", FIRST_PARTY, ids=lambda entry: entry.full_name)


def vocabulary():
    """Tag -> kind, from the table of docs/reference/tags.md."""
    rows = re.findall(r"^\| (\w+) \| (\w+) \| .+ \|$", (DOCS / "reference" / "tags.md").read_text(), re.MULTILINE)
    return {tag: kind for kind, tag in rows if kind in ("domain", "task", "family", "input", "robustness", "other")}


def test_there_are_at_least_thirty_losses():
    assert len(FIRST_PARTY) >= 30


@in_checkout
def test_every_tag_of_the_table_is_on_some_loss():
    assert set().union(*(entry.tags for entry in FIRST_PARTY)) == set(vocabulary())


@in_checkout
@each_loss
def test_tags_are_of_the_table_and_name_the_family(entry):
    """Only a composite may have no input tag, because its terms decide on the input."""
    kinds = [vocabulary()[tag] for tag in entry.tags]
    assert "family" in kinds
    assert "input" in kinds or "composite" in entry.tags


@in_checkout
def test_the_page_says_when_to_use_each_composite():
    """And each loss of boundaries, skeletons, regions and sizes: their names alone do not tell."""
    chosen = [*losses.find("composite | boundary | topology | instances"), "region_size"]
    section = (DOCS / "losses.md").read_text().partition("## Which one")[2]
    first_party = {entry.name for entry in FIRST_PARTY}
    assert [name for name in chosen if name in first_party and f"`{name}`" not in section] == []
    assert {"per_region", "matched", "targeted", "power", "boundary_dou"} <= {*chosen}


@each_loss
def test_tags_name_the_tasks_of_the_contract(entry):
    """A composite with the task of its terms has no task tag, so that not every search for a task finds it."""
    tasks = {"binary", "multilabel", "multiclass"}
    if entry.metadata["contract"]["target"] != "as the terms":
        assert entry.tags & tasks == set(entry.metadata["contract"]["tasks"]) & tasks


@each_loss
def test_a_summary_is_one_sentence_that_fits_a_line(entry):
    summary = entry.metadata["summary"]
    assert summary.endswith(".")
    assert summary[0].isupper()
    assert len(summary) <= 95


@pytest.mark.parametrize(
    "expression, some, none",
    [
        ("binary & overlap", {"dice", "tversky", "sam"}, {"bce", "wasserstein_dice", "weighted_sum"}),
        ("sam", {"sam", "sam2", "iou_prediction", "spatial_relevance", "text_region_contrast"}, {"dice"}),
        (
            "multiclass & (boundary | topology)",
            {"boundary", "hausdorff_dt", "hausdorff_er", "cldice"},
            {"lovasz_softmax"},
        ),
        ("composite & learnable", {"uncertainty_weighting"}, {"weighted_sum"}),
    ],
)
def test_find_follows_the_tags(expression, some, none):
    found = set(losses.find(expression))
    assert some <= found
    assert not none & found


@in_checkout
@pytest.mark.parametrize("script, page", [("catalogue", "losses.md"), ("families", "reference/providers.md")])
def test_the_pages_list_them_as_they_are(script, page):
    """The tables of first-party losses, and of the families that several libraries share."""
    spec = importlib.util.spec_from_file_location(script, DOCS / f"{script}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (DOCS / page).read_text() == module.page(), f"run: python docs/{script}.py"


@each_loss
def test_docstrings_follow_the_template(entry, torch):
    """Summary, formula, then shapes, errors, numerics and source, in this order."""
    text = inspect.getdoc(losses.get(entry.full_name))
    formula = re.search(r"^    \S.*=.*$", text, re.MULTILINE)
    headings = [text.find(f"\n{heading}:") for heading in ("Shapes", "Raises", "Numerics", "Source")]
    assert formula
    assert min(headings) > 0
    assert headings == sorted(headings)
    assert formula.start() < headings[0]
    own = entry.metadata["parameters"]["properties"]
    assert all(schema.get("description") for schema in own.values())
