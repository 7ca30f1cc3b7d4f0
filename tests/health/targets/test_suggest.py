"""`suggest`: three losses for the numbers of a report."""

import json
import re
from pathlib import Path

import pytest
import torch

import lossreg
from lossreg.health.targets import examine, suggest

from .masks import disc, np

pytest.importorskip("lossreg_segmentation", reason="the losses of masks are not installed")

DOCS = Path(__file__).parents[3] / "docs"


def blobs(*values, side=64, size=12):
    """Squares of these values on 0, along the diagonal."""
    mask = np.zeros((side, side), np.uint8)
    for number, value in enumerate(values):
        mask[number * size : (number + 1) * size, number * size : (number + 1) * size] = value
    return mask


def lines(*values, width=2):
    mask = np.zeros((64, 64), np.uint8)
    for number, value in enumerate(values):
        mask[15 * number + 8 : 15 * number + 8 + width] = value
    return mask


CASES = {
    "a mask": ([blobs(1)] * 4, {}),
    "a scaled mask": ([blobs(255)] * 4, {}),
    "empty masks": ([blobs(1), blobs()], {}),
    "tiny": ([disc(ones=9, side=100)], {}),
    "thin": ([lines(1, 1)], {}),
    "thin and tiny": ([disc(ones=40, side=128)], {}),
    "classes": ([blobs(1, 2, 3, size=20)], {}),
    "mostly background": ([blobs(1, 2)], {}),
    "a rare class": ([blobs(1, 2), disc(ones=4, side=64, value=3)], {}),
    "thin classes": ([lines(1, 2, 3)], {}),
    "ignored pixels": ([blobs(1, 2, 255)], {"ignore_index": 255}),
    "255 beside classes": ([blobs(1, 2, 255)], {}),
    "numbered objects": ([np.arange(100).reshape(10, 10).repeat(6, 0).repeat(6, 1)], {}),
}


def suggested(case):
    masks, options = CASES[case]
    return suggest(examine(masks, thin=True, **options), **options)


@pytest.mark.parametrize("case", CASES)
def test_three_configs_that_run(case):
    """Each is plain data, builds, and has a finite loss and gradient on targets of its own kind; no two are equal."""
    found = suggested(case)
    assert len(found) == 3
    assert len({json.dumps(each.config, sort_keys=True) for each in found}) == 3
    classes = 4 if case in ("classes", "a rare class", "thin classes") else 3
    multiclass = classes == 4 or case in ("mostly background", "ignored pixels", "255 beside classes")
    for each in found:
        loss = lossreg.build(each.config)
        logits = torch.zeros(2, classes if multiclass else 1, 8, 8, requires_grad=True)
        target = torch.zeros(2, 8, 8, dtype=torch.long)
        target[0, :3] = 1
        if case == "ignored pixels":
            target[1, :3] = 255
        value = loss(logits, target if multiclass else target.unsqueeze(1).float())
        value.backward()
        assert torch.isfinite(value)
        assert torch.isfinite(logits.grad).all()
        assert logits.grad.any()


@pytest.mark.parametrize("case", CASES)
def test_each_has_a_reason_and_a_section_that_exists(case):
    """The source of the page is in the repository, and one of its headings makes the anchor."""
    for each in suggested(case):
        address, _, anchor = each.page.partition("#")
        page = address.replace(".html", ".md")
        if not (DOCS / page).is_file():
            pytest.skip(f"{page} is not here: only the tests are")
        headings = re.findall(r"^#+ (.*)", (DOCS / page).read_text(), re.MULTILINE)
        assert anchor in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
        assert each.reason


def names(case):
    """Return the suggested losses; of a sum, those of its terms."""
    return [
        "+".join(term["name"] for term in each.config["params"]["terms"])
        if each.config["name"] == "weighted_sum"
        else each.config["name"]
        for each in suggested(case)
    ]


@pytest.mark.parametrize(
    "case, expected",
    {
        "a mask": ["bce_dice_focal", "bce+dice", "lovasz_hinge"],
        "tiny": ["bce_dice_focal", "tversky", "unified_focal"],
        "thin": ["bce_dice_focal", "dice+cldice", "bce+dice"],
        "numbered objects": ["bce_dice_focal", "bce+dice", "lovasz_hinge"],
        "classes": ["cross_entropy+dice", "cross_entropy+lovasz_softmax", "ohem_cross_entropy"],
        "a rare class": ["cross_entropy+dice", "cross_entropy+generalized_dice", "unified_focal"],
        "thin classes": ["cross_entropy+dice", "cross_entropy+cldice", "cross_entropy+lovasz_softmax"],
    }.items(),
)
def test_what_is_suggested_for_what(case, expected):
    """The usual start, then what the numbers ask for."""
    assert names(case) == expected


def test_the_reasons_name_the_numbers():
    """One of two masks is empty; 9 of 10,000 pixels; 2 classes and 92 % background."""
    assert suggested("empty masks")[0].reason == "50% of the masks are empty, and still have a gradient here"
    assert suggested("empty masks")[0].config["params"] == {"absent": "false_positives"}
    assert suggested("a mask")[0].config == {"name": "bce_dice_focal"}
    assert suggested("tiny")[1].reason == (
        "half of the masks with foreground have at most 0.09 % of it, and a missed pixel costs more than a false one"
        " here"
    )
    start = suggested("mostly background")[0]
    assert start.reason == (
        "pixels and overlap: the usual start for 3 classes; 93% of the pixels are background, which Dice leaves out"
    )
    assert start.config["params"]["terms"][1] == {"name": "dice", "params": {"background": False}}
    assert "params" not in suggested("classes")[0].config["params"]["terms"][1]
    assert suggested("thin")[1].reason.startswith("94% of the foreground is lines a few pixels wide")


def test_ignored_pixels_are_ignored_by_the_losses():
    """In every term."""
    for each in suggested("ignored pixels"):
        terms = each.config["params"].get("terms", [each.config])
        assert all(term["params"]["ignore_index"] == 255 for term in terms)


def test_without_thin_nothing_is_thin():
    """`examine` measures it only if `thin` is true."""
    report = examine(CASES["thin"][0])
    assert report.thin is None
    assert "cldice" not in json.dumps(suggest(report))


@pytest.mark.parametrize("masks", [[], [disc(ones=0)], [disc(ones=0), None], [np.full((2, 2), np.nan)]])
def test_nothing_is_suggested_without_foreground(masks):
    """The errors come first."""
    assert suggest(examine(masks, thin=True)) == ()


def test_lines_and_spots():
    """Lines of up to 3 pixels are thin; spots and areas of any size are not."""

    def thin(mask):
        return examine([mask], thin=True).thin

    assert thin(lines(1, 1, width=1)) > 0.9
    assert thin(lines(1, 1, width=3)) > 0.9
    assert thin(np.eye(64, dtype=bool)) > 0.9
    assert thin(lines(1, width=12)) < 0.1
    for size in (1, 2, 3, 5, 8, 12, 20, 40):
        assert thin(blobs(1, size=size)) <= 0.5
