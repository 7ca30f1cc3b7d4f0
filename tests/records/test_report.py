"""The report of records: the counts of its charts, its pictures, and a page that needs no other file."""

import io
import math
import os
import random
import re
import statistics
import struct

import pytest

pytest.importorskip("duckdb", reason="duckdb is not installed, so there are no records")
np = pytest.importorskip("numpy", reason="numpy is not installed, so there are no records")
Image = pytest.importorskip("PIL.Image", reason="pillow is not installed, so there are no pictures")

from lossreg import InputError, LossregError  # noqa: E402
from lossreg.records import aggregate_by_dataset, flag_bad_captions, write_report  # noqa: E402
from lossreg.records.export import export_csv, export_json  # noqa: E402
from lossreg.records.reader import connect  # noqa: E402
from lossreg.records.report.axes import MISSING, Axis, axis, decimals_for, loss_text, tick_labels  # noqa: E402
from lossreg.records.report.charts import histogram, loss_chart, part_charts, scale  # noqa: E402
from lossreg.records.report.page import MOST_CHARACTERS, shown  # noqa: E402
from lossreg.records.report.series import bins, steps  # noqa: E402
from lossreg.records.report.thumbnails import Thumbnail, thumbnail  # noqa: E402
from lossreg.records.row_validation import columns  # noqa: E402
from lossreg.records.shards import write_shard  # noqa: E402

from .read_page import Page  # noqa: E402


def labels(ticks):
    return [tick.label for tick in ticks]


def text_of(path):
    return path.read_text(encoding="utf-8")


# Axes and numbers.


def test_ticks_are_round_numbers_where_they_belong():
    """Between 0 and 1 in fifths; 0.2 stands at a fifth."""
    ticks = Axis(0.0, 1.0).ticks(5)
    assert labels(ticks) == ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]
    assert [tick.at for tick in ticks] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
    assert labels(Axis(-0.03, 0.021).ticks(5)) == ["-0.02", "0.00", "0.02"]


def test_an_axis_over_several_decades_is_logarithmic():
    """From 0.001 to 1000: powers of ten, 1 in the middle. A span that is not positive stays linear."""
    assert axis([0.001, 1000.0]).log
    ticks = axis([0.001, 1000.0]).ticks(6)
    assert {tick.label: tick.at for tick in ticks}["1"] == pytest.approx(0.5)
    assert not axis([-1.0, 1000.0]).log
    assert not axis([0.0, 1000.0]).log


@pytest.mark.parametrize(
    "low, high", [(0.0, 5e-324), (-1.7e308, 1.7e308), (1.0, 1.0 + 1e-12), (1e-300, 1e300), (1e15, 1e15 + 64), (0, 1)]
)
def test_every_range_has_ticks_within_it(low, high):
    """Also ranges whose width overflows, or is near the smallest number."""
    for tick in axis([low, high]).ticks(5):
        assert math.isfinite(tick.at)
        assert -0.01 <= tick.at <= 1.01


def test_one_value_has_an_axis_around_it():
    """Else nothing could be placed on it."""
    assert axis([2.0]).place(2.0) == pytest.approx(0.5)
    assert axis([0.0]) == Axis(-1.0, 1.0)


def test_numbers_of_an_axis_are_written_alike():
    """With as many decimals as the finest of them needs, and short where they are large or tiny."""
    assert tick_labels([0.0, 0.25, 0.5]) == ["0.00", "0.25", "0.50"]
    assert tick_labels([0, 2000, 4000]) == ["0", "2,000", "4,000"]
    assert tick_labels([0, 20000, 40000]) == ["0", "20k", "40k"]
    assert tick_labels([0, 1.5e6]) == ["0", "1.5M"]
    assert tick_labels([0, 2e-7]) == ["0", "2e-07"]


def test_losses_have_four_digits_and_equally_many_decimals():
    """By the median. Other numbers are written in powers of ten."""
    assert [decimals_for(typical) for typical in (0.3, 4.2, 42.0, 4200.0, 0.0003, None, 0.0)] == [4, 3, 2, 0, 4, 4, 4]
    assert [loss_text(value, 4) for value in (0.25, 1234.5, 0.0, -0.5)] == ["0.2500", "1,234.5000", "0.0000", "-0.5000"]
    assert [loss_text(value, 4) for value in (0.00001, 1e30, None)] == ["1.00e-05", "1.00e+30", MISSING]


# Bins.


def rows_of(values, **more):
    return [{"loss": value, **more} for value in values]


def test_bins_count_what_a_plain_loop_counts():
    """Random losses of three datasets over the same bins of round width; NaN and infinite losses are in none."""
    random.seed(4)
    records = [{"loss": random.gauss(3, 1), "dataset": name} for name in "abc" for _ in range(400)]
    records += rows_of([math.nan, math.inf, -math.inf], dataset="a")
    with connect(records) as connection:
        found = bins(connection)
    assert found.width in (0.1, 0.2, 0.5)
    assert sum(found.total()) == 1200
    for name in "abc":
        losses = [row["loss"] for row in records if row["dataset"] == name and math.isfinite(row["loss"])]
        for index in range(found.size):
            low, high = found.low + index * found.width, found.low + (index + 1) * found.width
            near = sum(abs(loss - edge) < 1e-9 for loss in losses for edge in (low, high))
            assert not near, "the seed has no loss on an edge"
            assert found.of(None, None, name)[index + 1] == sum(low < loss < high for loss in losses)


def test_far_tails_are_counted_beyond_the_bins():
    """One loss of a million does not push all others into one bar: 0 to 1 is drawn, the million is beyond."""
    with connect(rows_of([index / 1000 for index in range(1000)] + [1e6, -1e300])) as connection:
        found = bins(connection)
    assert (found.edge(0), found.edge(found.size)) == (0.0, 1.0)
    total = found.total()
    assert (total[0], total[-1]) == (1, 1)
    assert sum(total) == 1002
    assert scale(found).beyond == ("1 below 0", "1 above 1")


def test_a_loss_on_an_edge_belongs_to_the_bin_above_and_the_largest_to_the_last():
    """0 to 4 in steps of 0.1, each once: nothing is beyond, and nothing is lost to rounding."""
    with connect(rows_of([number / 10 for number in range(41)])) as connection:
        found = bins(connection)
    assert (found.low, found.width, found.size) == (0.0, 0.1, 40)
    assert found.total() == [0] + [1] * 39 + [2] + [0]


def test_losses_of_many_sizes_have_bins_of_powers_of_ten():
    """As many of 0.001 as of 1 and of 1000: three bars, one in the middle of the axis; 0 and -1 are below it."""
    with connect(rows_of([0.0015, 1.5, 1500.0] * 300 + [0.0, -1.0], dataset="a")) as connection:
        found = bins(connection)
    assert found.log
    counts = found.of(None, None, "a")
    assert (counts[0], counts[-1]) == (2, 0)
    full = [index for index, rows in enumerate(counts[1:-1]) if rows]
    assert [counts[1 + index] for index in full] == [300, 300, 300]
    for index, loss in zip(full, (0.0015, 1.5, 1500.0), strict=True):
        assert found.edge(index) <= loss < found.edge(index + 1)
    assert {tick.label for tick in scale(found).ticks} >= {"0.01", "1", "100"}
    assert histogram(found, counts, 1.5).median == pytest.approx(500, abs=30)
    assert histogram(found, counts, -1.0).median is None


@pytest.mark.parametrize("losses", [[], [math.nan], [0.5], [2.0, 2.0, math.inf]])
def test_there_are_no_bins_without_different_losses(losses):
    """There is no range."""
    with connect(rows_of(losses) if losses else {"loss": []}) as connection:
        assert bins(connection) is None


@pytest.mark.parametrize(
    "losses",
    [[-1.7e308, 1.7e308], [0.0, 5e-324], [1e-310, 3e-310], [1e300, 1.0, 2.0], [1e-310, 1.0, 1.7e308, 2.0]],
)
def test_extreme_losses_have_bins(losses):
    """Every row is counted once, for any size of loss."""
    with connect(rows_of(losses)) as connection:
        found = bins(connection)
    if found:
        assert sum(found.total()) == len(losses)
        assert all(math.isfinite(tick.at) for tick in scale(found).ticks)
        assert "nan" not in histogram(found, found.total(), 1.0).bars


def test_bars_are_as_high_as_their_share():
    """Two bins of 1 and 3 rows: a third of the frame, and all of it. The median stands where its loss is."""
    with connect(rows_of([0.0, 0.03, 0.03, 0.03, 40.0] * 100, dataset="a")) as connection:
        found = bins(connection)
    drawn = histogram(found, found.of(None, None, "a"), 20.0)
    heights = [float(height) for height in re.findall(r"v-([\d.]+)", drawn.bars)]
    assert heights == pytest.approx([100.0, 25.0])
    assert drawn.median == pytest.approx(500.0)
    assert histogram(found, found.of(None, None, "a"), 1000.0).median is None


# Loss over steps.


def test_lines_are_weighted_means_and_quartiles_of_each_step_and_split():
    """The mean weighs rows, quartiles count them; values that are not finite are apart, in components as well."""
    records = [
        {"step": 1, "split": "train", "loss": 1.0, "weight": 3.0, "loss_dice": 4.0},
        {"step": 1, "split": "train", "loss": 5.0, "weight": 1.0, "loss_dice": math.nan},
        {"step": 1, "split": "train", "loss": math.nan},
        {"step": 2, "split": "train", "loss": math.inf},
        {"step": 2, "split": "val", "loss": 7.0},
        {"step": None, "split": "val", "loss": 100.0},
    ]
    with connect(records) as connection:
        found = steps(connection, ["dice"])
    train, val = found.lines
    assert (found.unit, found.width, train.split, val.split) == ("step", 1, "train", "val")
    assert train.points == [(1, 2.0, 2.0, 3.0, 4.0, 1, (4.0,)), (2, None, None, None, None, 1, (None,))]
    assert val.points == [(2, 7.0, 7.0, 7.0, 7.0, 0, (None,))]
    chart = loss_chart(found, 4)
    assert [mark.text for mark in chart.not_finite] == ["step 1: 1 NaN or infinite", "step 2: 1 NaN or infinite"]
    assert chart.readings[0].text == "step 1: train 3.0000 (2.0000 to 4.0000, mean 2.0000)"
    assert [part.title for part in part_charts(found, 4)] == ["dice"]


def test_the_band_holds_the_middle_half():
    """Losses 0 to 8 at each of two steps, quartiles 2, 4 and 6: one loss of a million moves no line."""
    rows = [{"step": step, "loss": loss} for step in (0, 9) for loss in (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 1e6)]
    with connect(rows) as connection:
        (line,) = steps(connection, []).lines
    assert [(point.low, point.middle, point.high) for point in line.points] == [(2.0, 4.0, 6.0)] * 2


def test_epochs_tell_the_time_where_steps_begin_anew():
    """Steps 0 to 9 in each of three epochs: three points over epochs, not ten that mix them."""
    rows = [{"step": step, "epoch": epoch, "loss": 3.0 - epoch} for epoch in range(3) for step in range(10)]
    with connect(rows) as connection:
        found = steps(connection, [])
    assert found.unit == "epoch"
    assert [(point.step, point.middle) for point in found.lines[0].points] == [(0, 3.0), (1, 2.0), (2, 1.0)]


def test_many_steps_are_at_most_200_points():
    """A million steps from 500: each point is the mean of 5,000 of them, at their middle."""
    with connect(
        {"loss": [float(step) for step in range(10_000)], "step": [500 + 100 * n for n in range(10_000)]}
    ) as c:
        found = steps(c, [])
    (line,) = found.lines
    assert found.width == 5000
    assert len(line.points) == 200
    assert line.points[0].step == 500 + 2450
    assert line.points[0].mean == statistics.mean(range(50))
    assert (line.points[-1].low, line.points[-1].high) == (9950 + 49 / 4, 9950 + 3 * 49 / 4)


def test_runs_have_lines_of_their_own():
    """Two runs of two splits are four lines. Of ten runs six lines are drawn, and none is a sum of several."""

    def lines(runs):
        records = [
            {"run": f"r{run}", "split": split, "step": step, "loss": run + step}
            for run in range(runs)
            for split in ("train", "val")
            for step in (1, 2)
        ]
        with connect(records) as connection:
            found = steps(connection, [])
        return [line.name for line in loss_chart(found, 4).lines], found.left_out

    assert lines(2) == (["r0 · train", "r0 · val", "r1 · train", "r1 · val"], 0)
    assert lines(10) == (["r0 · train", "r0 · val", "r1 · train", "r1 · val", "r2 · train", "r2 · val"], 14)
    assert lines(1) == (["train", "val"], 0)


def test_epochs_stand_in_for_steps():
    """Where no row has a step. Without either, or with one only, nothing is drawn."""
    for records, unit in (
        ([{"epoch": 0, "loss": 1.0}, {"epoch": 1, "loss": 0.5}], "epoch"),
        ([{"step": 0, "epoch": 0, "loss": 1.0}, {"step": 9, "epoch": 1, "loss": 0.5}], "step"),
        ([{"loss": 1.0}, {"loss": 0.5}], None),
        ([{"step": 7, "loss": 1.0}, {"step": 7, "loss": 0.5}], None),
    ):
        with connect(records) as connection:
            found = steps(connection, [])
        assert (found.unit if found else None) == unit


# Pictures.


def opened(found):
    import base64

    kind, _, data = found.uri.partition(";base64,")
    assert kind in ("data:image/webp", "data:image/jpeg")
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    assert image.size == (found.width, found.height)
    return image


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F"])
def test_every_kind_of_image_has_a_picture_of_its_shape(tmp_path, mode):
    """At most 128 pixels on the longer side."""
    suffix = {"CMYK": "tif", "YCbCr": "jpg", "F": "tif", "I": "tif", "I;16": "tif"}.get(mode, "png")
    Image.new(mode, (300, 150)).save(tmp_path / f"image.{suffix}")
    assert opened(thumbnail(tmp_path / f"image.{suffix}")).size == (128, 64)


@pytest.mark.parametrize("scale_to", [300, 65535])
def test_sixteen_bits_are_stretched_over_grey(tmp_path, scale_to):
    """Dark left, bright right, whether 300 or 65535 is the brightest; cut to eight bits, 300 would be black."""
    values = np.zeros((64, 64), dtype=np.uint16)
    values[:, 32:] = scale_to
    Image.fromarray(values).save(tmp_path / "deep.tif")
    picture = opened(thumbnail(tmp_path / "deep.tif")).convert("L")
    assert picture.getpixel((5, 30)) < 20
    assert picture.getpixel((60, 30)) > 235


def test_pictures_stand_upright(tmp_path):
    """Orientation 6: the camera was turned, and the stored left edge is the top."""
    image = Image.new("RGB", (200, 100), "white")
    image.paste((0, 0, 0), (0, 0, 100, 100))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=exif)
    picture = opened(thumbnail(tmp_path / "turned.jpg")).convert("L")
    assert picture.size == (64, 128)
    assert picture.getpixel((32, 20)) < 40
    assert picture.getpixel((32, 108)) > 215


def png_header(width, height):
    import zlib

    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + head
        + struct.pack(">I", zlib.crc32(head))
        + b"\x00\x00\x10\x00IDAT"
    )


@pytest.mark.parametrize(
    "name, content, reason",
    [
        ("text.png", b"no image at all", "not an image"),
        ("empty.jpg", b"", "not an image"),
        ("bomb.png", png_header(60_000, 60_000), "too large"),
        ("large.png", png_header(9_000, 9_000), "too large"),
        ("header.png", png_header(10, 10), "not an image"),
        ("page.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n", "not an image"),
    ],
)
def test_a_broken_image_has_a_reason(tmp_path, name, content, reason):
    """Broken, enormous and foreign files; EPS would start another program."""
    (tmp_path / name).write_bytes(content)
    assert thumbnail(tmp_path / name) == Thumbnail(reason=reason)


def test_a_path_without_a_file_has_a_reason(tmp_path):
    """A folder, a missing file, a name that no file can have, a pipe that would never end, a photo cut short."""
    assert thumbnail(tmp_path).reason == "no file"
    assert thumbnail(tmp_path / "missing.png").reason == "no file"
    assert thumbnail(tmp_path / "a\0b").reason == "no file"
    assert thumbnail(tmp_path / ("x" * 5000)).reason in ("no file", "not an image")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.png")
        assert thumbnail(tmp_path / "pipe.png").reason == "no file"
    whole = io.BytesIO()
    Image.effect_noise((400, 400), 50).save(whole, "JPEG")
    (tmp_path / "cut.jpg").write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
    assert thumbnail(tmp_path / "cut.jpg").reason == "not an image"


# Text.


def test_characters_that_cannot_be_seen_are_shown():
    """Controls by their pictures, marks of direction by their code; words of all scripts unchanged."""
    assert shown("a\nb\tc\x00\x1b\x7f") == "a␊b␉c␀␛␡"
    assert shown("safe\u202egpj.exe") == "safe⟨U+202E⟩gpj.exe"
    assert shown("zero\u200bwidth\ufeff") == "zero⟨U+200B⟩width⟨U+FEFF⟩"
    assert shown("   ") == "␠␠␠"
    for text in ("Öl auf Holz", "قطة", "نمی‌خواهم", "👩‍🚀", "猫　と", "1\u00a0km"):
        assert shown(text) == text


def test_long_text_is_cut():
    """A caption of a megabyte does not make a page of megabytes."""
    assert shown("x" * 10**6) == "x" * (MOST_CHARACTERS - 1) + "…"


# The file.


def written(records, tmp_path, **options):
    return text_of(write_report(records, tmp_path / "report.html", **options))


def test_the_file_names_nothing_outside_itself(tmp_path):
    """No address but those of parts of the page, no import; a policy that allows nothing else."""
    Image.new("RGB", (10, 10)).save(tmp_path / "a.png")
    rows = [{"loss": 1.0, "path": str(tmp_path / "a.png"), "step": step, "dataset": "d"} for step in range(3)]
    text = written(rows, tmp_path)
    addresses = re.findall(r"""(?:src|href|action|data|poster|srcset)\s*=\s*["']?([^"'\s>]+)""", text)
    assert {address[:5] for address in addresses if not address.startswith("#")} == {"data:"}
    assert not re.search(r"https?:|@import|url\(", text)
    assert "default-src 'none'" in text
    assert text.count("<script") == 1


def test_text_from_data_stays_text(tmp_path):
    """Scripts and pictures in every column, also in ids to copy: the page has its own script and no other."""
    hostile = """</script></textarea></title><script>alert(1)</script>"'><img src=x onerror=alert(1)>"""
    names = ("run", "split", "dataset", "sample_id", "path", "caption")
    rows = [
        {name: f"{name}{number} {hostile}" for name in names} | {"loss": 1.0 + number, "step": number % 3}
        for number in range(6)
    ]
    page = Page(written(rows, tmp_path, title=hostile))
    assert len(page.all("script")) == 1
    assert page.all("img") == []
    assert not [element for element in page.elements if any(key.startswith("on") for key in element)]
    assert f"sample_id5 {hostile}" in {each for field in page.all("textarea") for each in field["text"].splitlines()}


def test_numbers_of_the_overview(tmp_path):
    """Literals: three finite losses of mean 2, median 1.5; one NaN and one infinite apart."""
    losses = [1.5, 0.5, 4.0, math.nan, math.inf]
    rows = [{"loss": loss, "sample_id": n, "step": 10 * n, "epoch": 0, "run": "a"} for n, loss in enumerate(losses)]
    text = written(rows, tmp_path)
    figures = dict(re.findall(r"<dt>(.+?)</dt><dd>(.+?)(?:<small>.+?)?</dd>", text))
    assert figures == {
        "Examples": "3",
        "Surely among the hardest 5 %": "0",
        "High, but not seen enough": "1",
        "Mean loss": "2.000",
        "Median": "1.500",
        "Minimum": "0.500",
        "Maximum": "4.000",
        "Finite losses": "3",
        "NaN": "1",
        "Infinite": "1",
        "Items": "5",
        "Datasets": "1",
        "Runs": "1",
        "Steps": "5",
        "Epochs": "1",
    }


def test_examples_that_are_not_finite_are_named(tmp_path):
    """Those with the most such losses first, with the first step; others are not there."""
    losses = {"fine": [0.5, 0.25], "once": [0.5, math.inf], "twice": [math.nan, math.nan]}
    rows = [
        {"loss": loss, "sample_id": name, "step": 1000 + step}
        for name, found in losses.items()
        for step, loss in enumerate(found)
    ]
    (table,) = re.findall(r"<caption>Examples whose loss was NaN or infinite.*?</table>", written(rows, tmp_path), re.S)
    assert re.findall(r"<b><bdi>(.+?)</bdi></b>", table) == ["twice", "once"]
    assert re.findall(r'data-label="(.+?)" data-value="(\d+)"', table) == [
        ("NaN", "2"),
        ("Infinite", "0"),
        ("First step", "1000"),
        ("NaN", "0"),
        ("Infinite", "1"),
        ("First step", "1001"),
    ]


@pytest.mark.parametrize(
    "records, sentences",
    [
        ({"loss": []}, ["No loss is finite: there is no distribution", "No example has a finite loss.", "no captions"]),
        ([{"loss": math.nan, "step": 1}, {"loss": math.inf, "step": 2}], ["No loss is finite.", "counted here"]),
        ([{"loss": 0.5}], ["Every finite loss is 0.5000", "neither steps nor epochs"]),
        ([{"loss": 0.5, "step": 4000}], ["All rows are of step 4,000."]),
        ([{"loss": 0.5, "caption": "a dog runs over a wide green field"}], ["None of 1 captions is flagged"]),
        ([{"loss": 1e308, "step": 1}, {"loss": 1.7e308, "step": 1}, {"loss": -1e308, "step": 2}], ["Loss over steps"]),
    ],
)
def test_a_part_without_data_has_a_reason(tmp_path, records, sentences):
    """In one sentence; and the page is complete for any losses."""
    text = written(records, tmp_path)
    for sentence in sentences:
        assert sentence in text
    assert text.rstrip().endswith("</html>")
    assert "nan" not in re.findall(r' d="([^"]*)"', text)
    assert not any(word in path for path in re.findall(r' d="([^"]*)"', text) for word in ("nan", "inf", "None"))


def test_rows_may_come_once(tmp_path):
    """A generator is read once, and its title has no directory to be named after."""
    text = written(({"loss": float(n)} for n in range(10)), tmp_path)
    assert "<title>Loss records</title>" in text
    assert "<dd>10</dd>" in text


class Folder:
    """A path that is neither text nor a pathlib.Path."""

    def __init__(self, path):
        self.path = path

    def __fspath__(self):
        return str(self.path)


FUNCTIONS = {
    "aggregate": lambda records, folder: aggregate_by_dataset(records)["overall"]["count"],
    "flag": lambda records, folder: flag_bad_captions(records)["checked"],
    "csv": lambda records, folder: export_csv(records, Folder(folder / "a.csv")),
    "json": lambda records, folder: export_json(records, Folder(folder / "a.json")),
    "report": lambda records, folder: write_report(records, Folder(folder / "a.html"), images=Folder(folder)).name,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_records_are_of_one_type(tmp_path, name):
    """Text, any path, mappings, columns and an open connection: every function takes each of them."""
    wanted = {"aggregate": 2, "flag": 2, "report": "a.html"}.get(name)
    shards = tmp_path / "shards"
    shards.mkdir()
    rows = {"loss": [1.0, 2.0], "caption": ["a red tree", "a blue tree"]}
    write_shard(shards, "a.parquet", columns(rows))
    for records in (str(shards), shards, Folder(shards), rows, [{"loss": 1.0, "caption": "a"}] * 2):
        assert FUNCTIONS[name](records, tmp_path) == wanted
    with connect(shards) as connection:
        assert FUNCTIONS[name](connection, tmp_path) == wanted


def test_relative_paths_are_read_from_a_folder_of_images(tmp_path, monkeypatch):
    """The current one by default."""
    (tmp_path / "images").mkdir()
    Image.new("RGB", (20, 20)).save(tmp_path / "images" / "a.png")
    rows = [{"loss": 1.0, "path": "a.png"}]
    assert "data:image" not in written(rows, tmp_path)
    assert "data:image" in written(rows, tmp_path, images=tmp_path / "images")
    monkeypatch.chdir(tmp_path / "images")
    assert "data:image" in written(rows, tmp_path)


def test_the_file_stays_small(tmp_path):
    """500 datasets, 10,000 examples, captions of 10,000 characters: under a megabyte, with counts of the rest."""
    size = 10_000
    records = {
        "loss": np.random.default_rng(0).random(size),
        "dataset": [f"set{n % 500}" for n in range(size)],
        "sample_id": list(range(size)),
        "step": list(range(size)),
        "caption": ["a photograph " * 800 if n < 400 else "short" for n in range(size)],
    }
    text = written(records, tmp_path)
    assert len(text.encode()) < 1_000_000
    assert "The 50 of the highest mean, of 500" in text


@pytest.mark.parametrize("top_k", [0, -1, 1001, 2.0, True, "5"])
def test_a_number_of_examples_that_cannot_be(tmp_path, top_k):
    """The error has the range."""
    with pytest.raises(InputError, match=r"^top_k must be an integer from 1 to 1000, got "):
        write_report([{"loss": 1.0}], tmp_path / "report.html", top_k=top_k)
    assert os.listdir(tmp_path) == []


def test_a_place_that_cannot_be_written(tmp_path):
    """A folder, and a file in a folder that is not there."""
    for path in (tmp_path, tmp_path / "missing" / "report.html"):
        with pytest.raises(LossregError, match="cannot be written: name a file in a directory that exists") as raised:
            write_report([{"loss": 1.0}], path)
        assert str(path) in str(raised.value)


def test_a_full_disk_leaves_the_former_report(tmp_path, monkeypatch):
    """The temporary file is removed."""
    path = write_report([{"loss": 1.0}], tmp_path / "report.html", title="former")

    replace = os.replace

    def full(source, target):
        if target == path:  # the records are written before
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(LossregError, match=r"report.html cannot be written: No space left on device; make room"):
        write_report([{"loss": 1.0}], path, title="later")
    assert "<title>former</title>" in text_of(path)
    assert os.listdir(tmp_path) == ["report.html"]


@pytest.mark.skipif(os.name != "posix", reason="files have other permissions on this system")
def test_it_has_the_permissions_of_any_new_file(tmp_path):
    """Others may read it where the mask lets them."""
    (tmp_path / "other").touch()
    path = write_report([{"loss": 1.0}], tmp_path / "report.html")
    assert path.stat().st_mode == (tmp_path / "other").stat().st_mode
