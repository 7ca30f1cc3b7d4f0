"""`examine` and `read_targets`: the statistics of masks, and every source of them."""

import json
import struct
import sys

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

from lossreg.errors import LossregError, MissingLibraryError, ShapeError
from lossreg.health.targets import examine
from lossreg.health.targets.report import Flag, Mask, Unreadable
from lossreg.health.targets.sources import read_targets

np = pytest.importorskip("numpy", reason="NumPy is not installed, so no target can be examined")
Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed, so no image can be read")


def disc(*, ones, side=10, value=1, dtype=np.uint8):
    """Make a mask of side * side pixels, the first `ones` of them with a value."""
    mask = np.zeros(side * side, dtype)
    mask[:ones] = value
    return mask.reshape(side, side)


def rules(report):
    return [(finding.rule, finding.severity) for finding in report.findings]


def message(report, rule):
    (found,) = [finding for finding in report.findings if finding.rule == rule]
    return found.message


def read(where, **options):
    return list(read_targets(where, **options))


def shares(targets):
    """Return the number of pixels above 0 of each mask, and other targets unchanged."""
    return [int((np.asarray(each.values) > 0).sum()) if isinstance(each, Mask) else each for each in targets]


# Statistics


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


# Verdicts


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


@pytest.mark.parametrize("classes", [[0, 1], [1], [0, 1, 2, 3], list(range(256)), [0, 254, 255]])
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


# Files


def test_a_folder_is_read_at_any_depth(tmp_path):
    """In order of names; hidden files and other types are left out."""
    (tmp_path / "b").mkdir()
    Image.fromarray(disc(ones=2)).save(tmp_path / "b" / "z.tif")
    Image.fromarray(disc(ones=1)).save(tmp_path / "a.PNG")
    np.save(tmp_path / "c.npy", disc(ones=3))
    (tmp_path / "._a.png").write_bytes(b"resource fork")
    (tmp_path / "notes.txt").write_text("-")
    found = read(tmp_path)
    assert [each.name for each in found] == ["a.PNG", "c.npy", "b/z.tif"]
    assert shares(found) == [1, 3, 2]


@pytest.mark.parametrize("limit, names", [(1, [0]), (2, [0, 3]), (3, [0, 2, 4]), (99, list(range(6)))])
def test_a_limit_is_spread_over_the_folder(tmp_path, limit, names):
    """Names often go by class or patient."""
    for number in range(6):
        Image.fromarray(disc(ones=number)).save(tmp_path / f"{number}.png")
    assert shares(read(tmp_path, limit=limit)) == names


def test_images_of_every_mode(tmp_path):
    """1-bit, 8-bit, 16-bit, 32-bit, float, palette; grey in colours; transparency."""
    saved = {
        "bit.png": Image.fromarray(disc(ones=3).astype(bool)),
        "eight.png": Image.fromarray(disc(ones=3)),
        "sixteen.png": Image.fromarray(disc(ones=3, value=40_000, dtype=np.uint16)),
        "int.tif": Image.fromarray(disc(ones=3, value=70_000, dtype=np.int32)),
        "float.tif": Image.fromarray(disc(ones=3, dtype=np.float32)),
        "rgb.png": Image.fromarray(disc(ones=3)).convert("RGB"),
        "rgba.png": Image.fromarray(disc(ones=3)).convert("RGBA"),
        "la.png": Image.fromarray(disc(ones=3)).convert("LA"),
    }
    saved["palette.png"] = Image.fromarray(disc(ones=3, value=2))
    saved["palette.png"].putpalette([0, 0, 0, 9, 9, 9, 200, 0, 0])
    for name, image in saved.items():
        image.save(tmp_path / name)
    found = {each.name: each for each in read(tmp_path)}
    assert set(found) == set(saved)
    assert set(shares(found.values())) == {3}
    assert int(found["palette.png"].values.max()) == 2
    assert int(found["sixteen.png"].values.max()) == 40_000
    assert {name: each.note for name, each in found.items() if each.note} == {
        "rgb.png": "the channels of RGB are equal: the first is the value",
        "rgba.png": "the channels of RGBA are equal: the first is the value",
        "la.png": "the alpha channel is ignored",
        "palette.png": "palette indices are the values",
    }
    report = examine(found.values())
    assert report.dtypes == {"uint8": 5, "bool": 1, "float32": 1, "int32": 1, "uint16": 1}
    assert ("reading", "note") in rules(report)


def test_colours_are_no_classes(tmp_path):
    """The class of a colour is unknown."""
    Image.new("RGB", (4, 4), (200, 0, 0)).save(tmp_path / "a.png")
    Image.new("CMYK", (4, 4)).save(tmp_path / "b.tif")
    assert [each.reason for each in read(tmp_path)] == [
        "the image is coloured; save the class index of each pixel instead (one channel or a palette)",
        "image mode CMYK is not supported; save the mask with one value per pixel",
    ]


def test_every_page_of_a_tiff_is_a_mask(tmp_path):
    """With its number."""
    pages = [Image.fromarray(disc(ones=ones)) for ones in (4, 5, 6)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    found = read(tmp_path / "a.tif")
    assert [each.name for each in found] == ["a.tif, page 1", "a.tif, page 2", "a.tif, page 3"]
    assert shares(found) == [4, 5, 6]


def test_broken_files_are_listed_and_stop_nothing(tmp_path):
    """Cut, of another format, not an array, an array of objects, empty."""
    Image.fromarray(disc(ones=1)).save(tmp_path / "good.png")
    whole = (tmp_path / "good.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "none.png").write_bytes(b"")
    Image.new("L", (4, 4)).save(tmp_path / "jpeg.png", format="JPEG")
    (tmp_path / "text.npy").write_text("no array")
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    np.save(tmp_path / "words.npy", np.array([["a"]]))
    np.save(tmp_path / "line.npy", np.zeros(4))
    np.save(tmp_path / "nothing.npy", np.zeros((0, 4, 4)))
    found = {each.name: each for each in read(tmp_path)}
    assert {name for name, each in found.items() if isinstance(each, Mask)} == {"good.png"}
    assert len(found) == 9
    assert found["line.npy"].reason == "shape (4,); expected (H, W), (N, H, W) or (N, C, H, W)"
    assert "expected booleans, integers or floats" in found["words.npy"].reason
    assert "Python objects" in found["objects.npy"].reason
    assert "without pixels" in found["nothing.npy"].reason


@pytest.mark.parametrize("shape", [(5, 4, 4), (5, 1, 4, 4)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_is_mapped_and_read_item_by_item(tmp_path, shape, order):
    """Each mask is a view into the file."""
    masks = np.zeros(shape, np.int16, order=order)
    for number in range(5):
        masks[number].reshape(-1)[:number] = 1
        masks[number, ..., 0, :number] = 1
    np.save(tmp_path / "a.npy", masks)
    found = read(tmp_path / "a.npy")
    assert shares(found) == [0, 1, 2, 3, 4]
    assert all(isinstance(each.values, np.memmap) for each in found)
    assert shares(read(tmp_path / "a.npy", limit=2)) == [0, 2]


def test_one_mask_as_an_array(tmp_path):
    """(H, W)."""
    np.save(tmp_path / "a.npy", disc(ones=7).astype(bool))
    assert shares(read(tmp_path / "a.npy")) == [7]


def test_wrong_sources(tmp_path):
    """The error lists the right ones."""
    expected = "a folder of PNG, TIFF or .npy files, one such file, a Parquet file with --column, or module:loader"
    (tmp_path / "empty").mkdir()
    (tmp_path / "photos").mkdir()
    for name in ("a.jpg", "b.JPG", "c.json"):
        (tmp_path / "photos" / name).write_text("-")
    for where, text in {
        "gone": f"gone: no such file or folder; expected {expected}",
        "empty": f"empty: the folder is empty; expected {expected}",
        "photos": f"photos: the folder holds only .jpg, .json files; expected {expected}",
        "photos/a.jpg": f"cannot be read as masks; expected {expected}",
    }.items():
        with pytest.raises(LossregError) as caught:
            read_targets(str(tmp_path / where))
        assert str(caught.value).endswith(text)


@pytest.mark.parametrize("package", ["numpy", "PIL"])
def test_a_missing_extra_is_named(tmp_path, monkeypatch, package):
    """Before anything is read."""
    np.save(tmp_path / "a.npy", disc(ones=7))
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingLibraryError) as caught:
        read_targets(tmp_path)
    assert str(caught.value) == f"check-targets: {package} is not installed; pip install 'lossreg[targets]'"


# Parquet


@pytest.fixture
def table(tmp_path):
    """Return a function that writes the rows of a query as tmp_path/name.parquet."""
    duckdb = pytest.importorskip("duckdb", reason="DuckDB is not installed, so no Parquet file can be read")

    def write(query, name="t", parameters=()):
        path = tmp_path / f"{name}.parquet"
        with duckdb.connect() as connection:
            connection.execute("CREATE TABLE t AS " + query, list(parameters))
            connection.execute(f"COPY t TO '{path}' (FORMAT parquet)")
        return path

    return write


def png(ones):
    import io

    buffer = io.BytesIO()
    Image.fromarray(disc(ones=ones)).save(buffer, format="PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    "values, expected",
    [
        ("(true), (false), (NULL)", [True, False, False]),
        ("(0), (3), (NULL)", [False, True, False]),
        ("(0.5::DOUBLE), ('nan'::DOUBLE), (0)", [True, False, False]),
        ("(1.50::DECIMAL(8,2)), (0)", [True, False]),
    ],
)
def test_a_column_of_flags(table, values, expected):
    """As in a column has_segmentation; NULL and NaN are false."""
    path = table(f'SELECT * FROM (VALUES {values}) v("has mask")')
    found = read(path, column="has mask")
    assert found == [Flag(f"row {number}", each) for number, each in enumerate(expected)]


def test_a_column_of_encoded_images(table):
    """As bytes, and as records of bytes and path. A row without an image counts as empty, a broken one is reported."""
    path = table("SELECT unnest([?, ?, NULL, 'x'::BLOB]) AS mask", parameters=[png(3), png(0)])
    found = read(path, column="mask")
    assert shares(found[:2]) == [3, 0]
    assert found[2] == Mask("row 2", None)
    assert isinstance(found[3], Unreadable)
    report = examine(found)
    assert (report.masks, report.empty, report.missing, report.unreadable) == (3, 2, 1, 1)
    assert message(report, "missing") == (
        "samples without a mask, which count as empty: 1; leave them out: a loader that fills them with zeros teaches"
        " the model to predict nothing"
    )
    path = table("SELECT {'bytes': ?::BLOB, 'path': 'a.png'} AS mask", "s", [png(3)])
    assert shares(read(path, column="mask")) == [3]


def test_a_column_of_paths(table, tmp_path):
    """From the folder of the table; a missing file is reported."""
    Image.fromarray(disc(ones=6)).save(tmp_path / "m.png")
    path = table("SELECT unnest(['m.png', 'gone.png', '', NULL]) AS mask")
    found = read(path, column="mask")
    assert (found[0].name, shares(found[:1])) == ("row 0, m.png", [6])
    assert found[1].reason.startswith("FileNotFoundError: ")
    assert [each.values for each in found[2:]] == [None, None]


def test_a_column_of_lists(table):
    """Nested, of fixed size, flat; ragged lists and NULL are reported."""
    path = table("SELECT unnest([[[0, 1], [1, 1]], [[0, 0], [0, 0]], NULL, [[1], [1, 1]], [[1, NULL]]]) AS mask")
    found = read(path, column="mask")
    assert shares(found[:2]) == [3, 0]
    assert found[2].values is None
    assert all(isinstance(each, Unreadable) for each in found[3:])
    path = table("SELECT [[0, 1], [1, 1]]::INT[2][2] AS mask, [0, 1.0] AS flat", "fixed")
    assert shares(read(path, column="mask") + read(path, column="flat")) == [3, 1]


def test_a_folder_of_parquet_files(table, tmp_path):
    """Its name has characters with a meaning in patterns."""
    (tmp_path / "a[1]*").mkdir()
    table("SELECT true AS ok", "a[1]*/one")
    table("SELECT false AS ok", "a[1]*/two")
    assert [each.present for each in read(tmp_path / "a[1]*", column="ok")] == [True, False]


def test_columns_that_cannot_be_read(table, tmp_path):
    """No name, a wrong name, a type without meaning, no Parquet."""
    path = table("SELECT true AS has_mask, DATE '2020-01-01' AS day")
    (tmp_path / "no.parquet").write_text("no")
    for where, column, text in [
        (path, None, f"{path}: name the column of the targets with --column, one of has_mask, day"),
        (path, "has_msk", f"{path}: unknown column 'has_msk'; did you mean 'has_mask'?"),
        (path, "zzz", f"{path}: unknown column 'zzz'; the columns are has_mask, day"),
        (path, "day", f"{path}: column 'day' has type DATE, which cannot hold masks; expected encoded images, paths, "),
        (tmp_path / "no.parquet", "x", f"{tmp_path / 'no.parquet'}: cannot be read as Parquet: "),
        (tmp_path / "t:x", "x", f"{tmp_path / 't:x'}: no such file or folder; expected "),
        ("t:x", "x", "--column is for Parquet files, but t:x is a loader; leave it out"),
    ]:
        with pytest.raises(LossregError) as caught:
            read_targets(where, column=column)
        assert str(caught.value).startswith(text)


def test_parquet_needs_duckdb(table, monkeypatch):
    """The extra of records."""
    path = table("SELECT true AS ok")
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(MissingLibraryError) as caught:
        read_targets(path, column="ok")
    assert str(caught.value) == "check-targets of Parquet: duckdb is not installed; pip install 'lossreg[records]'"


# Loaders


class Masks(Dataset):
    """Masks with 0, 1, 2, ... ones; `item` turns each into an item."""

    def __init__(self, item=lambda mask: mask, count=4):
        self.item, self.count = item, count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        mask = torch.zeros(4, 4)
        mask.view(-1)[:index] = 1
        return self.item(mask)


class Stream(IterableDataset):
    """The same masks without an index, but with a length."""

    def __len__(self):
        return 4

    def __iter__(self):
        return (Masks()[index] for index in range(4))


@pytest.fixture
def loader(monkeypatch, tmp_path):
    """Return a function that reads an object of the user's own module."""
    module = type(sys)("acme_targets")
    monkeypatch.setitem(sys.modules, "acme_targets", module)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)

    def reader(value, **options):
        module.it = value
        return read("acme_targets:it", **options)

    return reader


@pytest.mark.parametrize(
    "source",
    [
        Masks(),
        Masks(lambda mask: (torch.rand(3, 4, 4), mask)),
        Masks(lambda mask: [torch.rand(3, 4, 4), mask[None], {"id": 1}]),
        Masks(lambda mask: (torch.rand(3, 4, 4), {"masks": mask, "labels": torch.tensor(1)})),
        *(
            Masks(lambda mask, key=key: {"image": 1, key: mask})
            for key in ("mask", "masks", "target", "label", "labels")
        ),
        Masks(lambda mask: Image.fromarray(mask.numpy().astype("uint8"))),
        Masks(lambda mask: mask[None, None]),
        Stream(),
        lambda: Masks(),
        lambda: iter(Masks()[index] for index in range(4)),
        Masks,
        [Masks()[index] for index in range(4)],
        torch.stack([Masks()[index] for index in range(4)]),
        DataLoader(Masks(), batch_size=3),
        DataLoader(Masks(lambda mask: (mask, mask[None])), batch_size=3),
        DataLoader(Masks(lambda mask: (mask, {"mask": mask.expand(2, 4, 4).bool()})), batch_size=3),
        DataLoader(Masks(), batch_size=None),
        DataLoader(
            Masks(lambda mask: (mask, {"mask": mask})), batch_size=3, collate_fn=lambda it: list(zip(*it, strict=True))
        ),
        DataLoader(Stream(), batch_size=3),
    ],
)
def test_every_kind_of_loader(loader, source):
    """Each has masks of 0, 1, 2 and 3 ones."""
    counts = shares(loader(source))
    planes = 2 if isinstance(source, DataLoader) and counts[1] == 2 else 1
    assert counts == [0, planes, 2 * planes, 3 * planes]


def test_the_rest_of_a_batch_and_its_names(loader):
    """The last batch is smaller."""
    names = [each.name for each in loader(DataLoader(Masks(), batch_size=3))]
    assert names == ["batch 0, item 0", "batch 0, item 1", "batch 0, item 2", "batch 1, item 0"]


def test_batches_without_a_data_loader(loader):
    """(B, 1, H, W) cannot be one mask; (B, H, W) may be planes or slices, and counts as one."""
    batch = torch.stack([Masks()[index] for index in range(3)])
    assert shares(loader(lambda: iter([batch[:, None]]))) == [0, 1, 2]
    assert shares(loader(lambda: iter([batch]))) == [3]


def test_a_limit_of_a_loader(loader):
    """Spread where there is an index, the first elsewhere; no more is read than that."""
    assert shares(loader(Masks(count=8), limit=2)) == [0, 4]
    assert shares(loader(Stream(), limit=2)) == [0, 1]

    def endless():
        while True:
            yield torch.ones(2, 2)

    assert len(loader(endless, limit=5)) == 5


def test_a_broken_sample_is_reported_and_the_others_are_read(loader):
    """With an index. An iteration ends with its error."""

    def item(mask):
        return mask if mask.sum() != 1 else struct.unpack("i", b"")

    found = loader(Masks(item))
    assert shares(found[:1] + found[2:]) == [0, 2, 3]
    assert found[1] == Unreadable("item 1", "error: unpack requires a buffer of 4 bytes")
    found = loader(DataLoader(Masks(item), batch_size=1))
    assert (shares(found[:1]), len(found)) == ([0], 2)
    assert found[1].reason == "error: unpack requires a buffer of 4 bytes; no later targets are read"


@pytest.mark.parametrize(
    "item, reason",
    [
        (
            {"image": 1, "id": 2},
            "no mask under mask, masks, target, targets, label, labels; the keys are image, id; "
            "name a function that returns the masks",
        ),
        ((torch.rand(3, 4, 4), 7), "expected a mask (H, W), got the number 7; a class label is not a mask"),
        ((torch.rand(3, 4, 4), torch.ones(5)), "shape (5,); a mask is (H, W), (1, H, W) or (C, H, W)"),
        ("text", "expected booleans, integers or floats, got dtype <U4"),
    ],
)
def test_items_without_a_mask(loader, item, reason):
    """Each is reported; nothing is guessed."""
    found = loader([item, item])
    assert found == [Unreadable("item 0", reason), Unreadable("item 1", reason)]


def test_batches_of_labels_are_no_masks(loader):
    """As of classification."""
    (found,) = loader(DataLoader([(torch.rand(3), 1), (torch.rand(3), 0)], batch_size=2))
    assert found.reason == "shape (2,); a batch of masks is (B, H, W), (B, 1, H, W) or (B, C, H, W)"


def raising():
    raise RuntimeError("no data disk")


@pytest.mark.parametrize(
    "value, text",
    [
        ({"train": 1, "val": 2}, "got a mapping with keys train, val; name a function that returns one of the values"),
        (
            3,
            "expected a Dataset, a DataLoader, an iterable or a function without arguments that returns one, got int",
        ),
        (lambda: "text", "a function without arguments that returns one, got str"),
        (lambda root: root, "(root) needs arguments; name a function without arguments that returns the dataset"),
        (raising, "calling it raised RuntimeError: no data disk"),
    ],
)
def test_objects_that_are_no_loader(loader, value, text):
    """The error comes at once."""
    with pytest.raises(LossregError) as caught:
        loader(value)
    assert str(caught.value).startswith("acme_targets:it")
    assert text in str(caught.value)


def test_modules_of_the_current_directory(monkeypatch, tmp_path):
    """As `python -m` finds them; the message of a failure contains its own error."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "acme_data.py").write_text("class Here:\n    masks = [(None, [[1, 0], [0, 0]])]\n")
    (tmp_path / "acme_broken.py").write_text("import acme_gone_away\n")
    assert shares(read("acme_data:Here.masks")) == [1]
    for name, text in {
        "acme_data:there": "acme_data:there: unknown name 'there'; the public names are Here",
        "acme_nowhere:x": "acme_nowhere:x: importing acme_nowhere raised ModuleNotFoundError: No module named",
        "acme_broken:x": "importing acme_broken raised ModuleNotFoundError: No module named 'acme_gone_away'",
    }.items():
        with pytest.raises(LossregError) as caught:
            read_targets(name)
        assert text in str(caught.value)
    sys.modules.pop("acme_data")
