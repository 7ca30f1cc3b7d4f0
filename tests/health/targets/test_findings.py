"""What `examine` finds in masks, and its remedies."""

import pytest

from lossreg.health.targets import examine
from lossreg.health.targets.report import Flag, Mask, Unreadable

from .masks import disc, message, np, rules


def test_all_empty_is_an_error():
    """With the remedy."""
    report = examine([disc(ones=0)] * 3)
    assert report.failed
    assert rules(report) == [("all empty", "error")]
    assert message(report, "all empty") == (
        "all 3 masks are empty: a model learns to predict nothing, and the loss goes to 0; check that the annotations"
        " are found (their paths, which samples have any, the value of the foreground) before training"
    )


@pytest.mark.parametrize("empty, warned", [(5, False), (6, True)])
def test_more_than_half_empty_is_a_warning(empty, warned):
    """Half is none yet."""
    report = examine([disc(ones=0)] * empty + [disc(ones=5)] * (10 - empty))
    assert rules(report) == ([("mostly empty", "warning")] if warned else [])
    assert not report.failed
    if warned:
        assert message(report, "mostly empty").startswith("6 of 10 masks (60.0%) are empty: a model may collapse to")


def test_mostly_full_is_a_warning():
    """Inverted masks, or classes that count from 1."""
    report = examine([disc(ones=100), disc(ones=100), disc(ones=5)])
    assert rules(report) == [("mostly full", "warning")]
    assert message(report, "mostly full") == (
        "2 of 3 masks (66.7%) are full, without any background; check that the background is 0 and that masks are not"
        " inverted"
    )


def test_no_mask_at_all_is_an_error():
    """With two reasons: there is no target, or all are unreadable."""
    assert message(examine([]), "no masks") == (
        "no mask to learn from: there are no targets; check the path and the files"
    )
    report = examine([Unreadable("a.png", "broken"), Unreadable("b.png", "broken")])
    assert report.failed
    assert rules(report) == [("no masks", "error"), ("unreadable", "warning")]
    assert "none is readable" in message(report, "no masks")
    assert report.findings[1].examples == ("a.png: broken", "b.png: broken")


def test_all_ignored_is_an_error():
    """Nothing is left to learn from."""
    report = examine([disc(ones=100)], ignore_index=1)
    assert report.failed
    assert message(report, "all ignored") == (
        "all 1 masks have no valid pixel; check --ignore-index and how the masks are made"
    )


@pytest.mark.parametrize(
    "value, dtype, expected",
    [
        (255, np.uint8, "the foreground is 255, but losses of masks need 1: divide by 255"),
        (255, np.float32, "the foreground is 255, but losses of masks need 1: divide by 255"),
        (65535, np.uint16, "the foreground is 65535, but losses of masks need 1: divide by 65535"),
        (
            2,
            np.int64,
            "the foreground is 2, but losses of masks need 1: divide by 2; if 2 is a class index, this is the only"
            " class",
        ),
    ],
)
def test_a_foreground_that_is_not_1(value, dtype, expected):
    """As images are saved."""
    report = examine([disc(ones=5, value=value, dtype=dtype), disc(ones=0, dtype=dtype)])
    assert message(report, "scaled") == expected
    assert report.maximum == value


@pytest.mark.parametrize("classes", [[0, 1], [1], [0, 1, 2, 3], list(range(256)), [0, 1, 2, 4]])
def test_plain_classes_are_fine(classes):
    """Also 256 of them, with some in each mask."""
    rows = [np.array([[0, *classes[start : start + 63]]], np.uint8) for start in range(0, len(classes), 63)]
    assert examine([*rows, disc(ones=5)]).findings == ()


def test_photographs_in_place_of_masks_are_found():
    """Nearly all pixels are above 0, and each image has over 64 values."""
    photographs = [np.random.default_rng(number).integers(0, 255, (32, 32), np.uint8) for number in range(3)]
    report = examine(photographs)
    assert rules(report) == [("many values", "warning")]
    assert "check that the path is that of the masks" in message(report, "many values")
    assert report.findings[0].masks == 3


def test_255_beside_classes_may_be_ignored_pixels():
    """One finding; none with --ignore-index."""
    mask = np.array([[0, 1, 2, 255]], np.uint8)
    assert message(examine([mask]), "255 beside classes") == (
        "255 occurs beside smaller values: if it marks pixels to ignore, pass --ignore-index 255; if some masks hold 0"
        " and 255 and others 0 and 1, divide the former by 255"
    )
    assert examine([mask], ignore_index=255).findings == ()


@pytest.mark.parametrize(
    "value, rule, expected",
    [
        (np.nan, "nan", "masks with NaN, which makes the loss NaN: 1; replace it, or ignore these pixels"),
        (-np.inf, "infinite", "masks with infinities, which make the loss infinite or NaN: 1; replace them"),
        (
            -1,
            "negative",
            "masks with values below 0, which count as background here: 1; if they mark pixels to ignore, pass"
            " --ignore-index",
        ),
        (
            0.5,
            "non-integer",
            "masks with fractions, which count as foreground here if they are above 0: 1; resize masks without"
            " interpolation (nearest), or use a loss for soft targets",
        ),
    ],
)
def test_odd_values_are_reported(value, rule, expected):
    """Each with the name of its mask, and none of them stops the check."""
    odd = disc(ones=5, dtype=np.float32)
    odd[9, 9] = value
    report = examine([disc(ones=5, dtype=np.float32), Mask("odd.png", odd)])
    assert rules(report) == [(rule, "warning")]
    assert message(report, rule) == expected
    assert report.findings[0].examples[0].startswith("odd.png: ")
    assert report.masks == 2


def test_only_whole_numbers_are_values():
    """Soft masks have as many fractions as pixels; `more_values` reports them."""
    report = examine([np.array([[0.0, 0.25, 0.5, 1.0]], np.float32)])
    assert [(row.value, row.masks, row.pixels) for row in report.values] == [(0, 1, 0.25), (1, 1, 0.25)]
    assert report.more_values
    assert report.foreground == 0.75
    many = examine([np.arange(1000, dtype=np.int32)[None]])
    assert (len(many.values), many.more_values, many.maximum) == (256, True, 999)


def test_flags_say_whether_there_is_a_mask():
    """They have neither pixels nor a share."""
    report = examine([Flag("row 0", True), Flag("row 1", False), Flag("row 2", False)])
    assert (report.masks, report.flags, report.empty, report.full) == (3, 3, 2, 0)
    assert (report.foreground, report.quantiles, report.shapes) == (None, {}, {})
    assert message(report, "mostly empty").startswith("2 of 3 rows (66.7%) are empty")


@pytest.mark.parametrize(
    "values, rule, expected",
    [
        (
            [0, 1, 7, 11, 200],
            "class gaps",
            "the foreground has the values 1, 7, 11, 200, with gaps: losses of classes need a channel for each number"
            " up to 200; replace the values by 1, 2, 3, and give as many channels as there are classes",
        ),
        (
            [0, 1000, 1001, 1002],
            "class gaps",
            "the foreground has the values 1000, 1001, 1002, as numbers of objects and codes of classes have, with up"
            " to 16 bits; for losses of classes replace each by its class index, 1, 2, 3 (in Cityscapes, an instance"
            " has 1000 times the number of its class, and a number); for foreground alone, replace every value above 0"
            " by 1",
        ),
    ],
)
def test_classes_with_gaps(values, rule, expected):
    """Of 8 and 16 bits. Replaced as advised, nothing is found."""
    mask = np.array([values], np.uint16)
    assert message(examine([mask]), rule) == expected
    assert rules(examine([mask])) == [(rule, "warning")]
    assert examine([np.searchsorted(values, mask)]).findings == ()


def test_hundreds_of_ids():
    """Each mask has few of them."""
    masks = [np.array([[0, *range(1000 + 40 * number, 1040 + 40 * number)]], np.uint16) for number in range(10)]
    assert rules(examine(masks)) == [("class gaps", "warning")]


@pytest.mark.parametrize(
    "values, expected",
    [
        ([1, 2, 4, 5], []),  # a class that the sample lacks
        ([0, *range(1, 34)], []),
        ([0, 85, 170, 255], ["class gaps"]),  # grey levels: 255 is a class
        ([0, 128, 255], ["class gaps"]),
        ([0, 1, 2, 255], ["255 beside classes"]),
        ([0, *range(1, 171), 255], ["255 beside classes"]),
        ([0, 7, 11, 255], ["255 beside classes", "class gaps"]),
        ([*range(0, 847)], ["many values"]),  # as of ADE20K in full
    ],
)
def test_gaps_and_255(values, expected):
    """Only where most of the numbers are missing; 255 marks ignored pixels beside indices, not beside grey levels."""
    dtype = np.uint8 if max(values) < 256 else np.uint16
    rows = [np.array([[0, *values[start : start + 63]]], dtype) for start in range(0, len(values), 63)]
    masks = rows if max(values) < 256 else [np.array([values], dtype)]
    assert [rule for rule, _ in rules(examine(masks))] == expected
