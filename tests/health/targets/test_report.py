"""`examine`: the numbers of its report."""

import json
import sys

import pytest
import torch

from lossreg.errors import MissingLibraryError, ShapeError
from lossreg.health.targets import examine

from .masks import disc, message, np, rules


def test_empty_full_and_other_masks():
    """Of five masks of 100 pixels with 0, 0, 1, 25 and 100 ones: 126 of 500, and the median of three is 25 %."""
    report = examine([disc(ones=ones) for ones in (0, 0, 1, 25, 100)])
    assert (report.masks, report.empty, report.full, report.unreadable) == (5, 2, 1, 0)
    assert report.foreground == pytest.approx(126 / 500)
    assert report.quantiles["minimum"] == pytest.approx(0.01)
    assert report.quantiles["median"] == pytest.approx(0.25)
    assert report.quantiles["maximum"] == 1.0
    assert report.quantiles["25 %"] == pytest.approx(0.13)  # halfway from 1 to 25 %
    assert [(row.value, row.masks, row.pixels) for row in report.values] == [
        (0, 4, pytest.approx(374 / 500)),
        (1, 3, pytest.approx(126 / 500)),
    ]
    assert (report.minimum, report.maximum) == (0, 1)
    assert (report.dtypes, report.shapes) == ({"uint8": 5}, {"10x10": 5})
    assert report.findings == ()
    assert not report.failed


def test_tiny_objects_have_bins_of_their_own():
    """1, 2, 9 and 10 pixels of 10,000: (0, .0001], (.0001, .0003], (.0003, .001] twice; full and empty in none."""
    report = examine([disc(ones=ones, side=100) for ones in (0, 1, 2, 9, 10, 9_999, 10_000)])
    assert [each.masks for each in report.histogram] == [1, 1, 2, 0, 0, 0, 0, 0, 1]
    assert (report.histogram[0].low, report.histogram[0].high) == (0.0, 1e-4)
    assert sum(each.masks for each in report.histogram) + report.empty + report.full == report.masks


def test_a_report_is_strict_json():
    """Without NaN, even of masks with NaN; a share of no pixels is null."""
    for masks in ([], [np.full((2, 2), np.nan)], [disc(ones=3)]):
        text = json.dumps(examine(masks).to_dict(), allow_nan=False)
        assert json.loads(text)["masks"] == len(masks)
    assert json.loads(json.dumps(examine([]).to_dict()))["foreground"] is None
    plain = examine([disc(ones=3, value=255)]).to_dict()
    assert plain["histogram"][5] == {"low": 0.01, "high": 0.03, "masks": 1}
    assert plain["findings"][0]["rule"] == "scaled"


def test_masks_are_taken_one_at_a_time():
    """Each is freed before the next is read."""
    alive = 0

    class Counted(np.ndarray):
        def __del__(self):
            nonlocal alive
            alive -= 1

    def masks():
        nonlocal alive
        for _ in range(4):
            assert alive <= 1  # the one that the loop still names
            alive += 1
            yield np.ndarray.__new__(Counted, (4, 4))

    assert examine(masks()).masks == 4


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float32, torch.bfloat16, torch.float16])
def test_tensors_of_every_kind(dtype):
    """Also such that need a gradient, and types that NumPy has not."""
    mask = torch.zeros(1, 4, 4).to(dtype)
    mask[0, 0, 0] = 1
    if dtype.is_floating_point:
        mask.requires_grad_()
    report = examine([mask])
    assert report.foreground == 1 / 16
    assert [(row.value, row.masks) for row in report.values] == [(0, 1), (1, 1)]
    assert report.findings == ()


def test_one_hot_planes_are_read_as_classes():
    """Else one of them would be foreground everywhere, and no mask ever empty."""
    classes = torch.tensor([[0, 1], [2, 0]])
    one_hot = torch.nn.functional.one_hot(classes, 3).permute(2, 0, 1)
    background = torch.nn.functional.one_hot(torch.zeros(2, 2, dtype=torch.long), 3).permute(2, 0, 1)
    report = examine([one_hot, background])
    assert (report.empty, report.full) == (1, 0)
    assert [(row.value, row.masks, row.pixels) for row in report.values] == [
        (0, 2, 6 / 8),
        (1, 1, 1 / 8),
        (2, 1, 1 / 8),
    ]


def test_other_planes_are_counted_together():
    """Multilabel masks may overlap, 3 of 8 values are set; or leave pixels without a label, 1 of 8 is."""
    report = examine([torch.tensor([[[1, 1], [0, 0]], [[1, 0], [0, 0]]])])
    assert (report.masks, report.foreground) == (1, 3 / 8)
    report = examine([torch.tensor([[[1, 0], [0, 0]], [[0, 0], [0, 0]]])])
    assert (report.masks, report.foreground) == (1, 1 / 8)


def test_ignored_pixels_do_not_count():
    """A mask with all pixels ignored is neither empty nor full."""
    mask = np.array([[255, 255], [1, 0]], np.uint8)
    report = examine([mask, np.full((2, 2), 255, np.uint8)], ignore_index=255)
    assert (report.masks, report.empty, report.full, report.ignored) == (2, 0, 0, 1)
    assert report.foreground == 0.5
    assert [row.value for row in report.values] == [0, 1]
    assert rules(report) == [("ignored", "warning")]
    assert message(report, "ignored") == (
        "masks without a valid pixel: all are ignored or not finite: 1; leave them out, because there is nothing to"
        " learn from them"
    )


def test_full_and_empty_are_judged_by_the_valid_pixels():
    """[1, 255] is full where 255 is ignored, [0, 255] is empty."""
    report = examine([np.array([[1, 255]]), np.array([[0, 255]])], ignore_index=255)
    assert (report.full, report.empty, report.ignored) == (1, 1, 0)


def test_examine_needs_numpy(monkeypatch):
    """The error comes before anything is read."""
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(MissingLibraryError) as caught:
        examine([disc(ones=1)])
    assert str(caught.value) == "check-targets: numpy is not installed; pip install 'lossreg[targets]'"


@pytest.mark.parametrize("value", [3, "three", None, [[1, 2], [3]], np.zeros((0, 4)), np.array(["a"]), 1j])
def test_a_value_that_cannot_be_a_mask_is_refused(value):
    """Immediately, because the caller made it. None means that there is no mask."""
    if value is None:
        assert examine([value]).missing == 1
        return
    with pytest.raises(ShapeError, match="expected"):
        examine([value])


def test_a_class_label_is_refused():
    """As of classification data."""
    with pytest.raises(ShapeError) as caught:
        examine([torch.tensor(7)])
    assert str(caught.value) == "expected a mask (H, W), got the number 7; a class label is not a mask"
