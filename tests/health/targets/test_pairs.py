"""Masks beside their images, and files read in threads."""

import json
import threading

import pytest

from lossreg.errors import LossregError
from lossreg.health.targets import examine_source
from lossreg.health.targets.in_order import map_in_order

from .masks import Image, disc, message, np, rules


@pytest.fixture
def folders(tmp_path):
    """Return a function that writes masks and images of these names and sizes, and returns their folders."""

    def write(masks, images):
        for kind, sizes in (("masks", masks), ("images", images)):
            for name, size in sizes.items():
                path = tmp_path / kind / name
                path.parent.mkdir(parents=True, exist_ok=True)
                mask = np.zeros(size, np.uint8)
                mask[:1] = 1
                Image.fromarray(mask).save(path)
        return tmp_path / "masks", tmp_path / "images"

    return write


def test_pairs_by_name(folders):
    """At the same place, or anywhere; the mask's name may end in _mask."""
    masks, images = folders(
        {"a.png": (4, 5), "x/b.png": (4, 5), "c_mask.png": (4, 5)},
        {"a.jpg": (4, 5), "x/b.jpg": (4, 5), "y/c.jpg": (4, 5), "x/a.jpg": (9, 9)},
    )
    report = examine_source(masks, images=images)
    assert rules(report) == [("no mask", "warning")]
    assert report.findings[0].examples == ((images / "x/a.jpg").as_posix(),)


def test_sizes_that_differ(folders):
    """An error with both sizes, width first."""
    masks, images = folders({"a.png": (4, 5), "b.png": (4, 5)}, {"a.png": (8, 10), "b.png": (4, 5)})
    report = examine_source(masks, images=images)
    assert rules(report) == [("size", "error")]
    assert report.findings[0].examples == ("a.png: 5 x 4, the image 10 x 8",)
    assert message(report, "size") == (
        "masks of another size than their image: 1; resize them with nearest to the size of the image, if they show the"
        " same part of it"
    )
    assert examine_source(masks).findings == ()


def test_a_rotation(folders):
    """A photograph of 5 x 4 that is to be shown as 4 x 5; the mask of 4 x 5 fits the one that is shown."""
    masks, images = folders({"a.png": (5, 4), "b.png": (4, 5)}, {"b.jpg": (4, 5)})
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("a", "b"):
        Image.new("RGB", (5, 4)).save(images / f"{name}.jpg", exif=exif)
    report = examine_source(masks, images=images)
    assert rules(report) == [("rotated", "error")]
    assert report.findings[0].examples == ("a.png: 4 x 5, the image 5 x 4 before its rotation",)
    assert "exif_transpose" in message(report, "rotated")


def test_images_that_are_absent_or_broken(folders):
    """Warnings, each with its names."""
    masks, images = folders({"a.png": (4, 5), "b.png": (4, 5)}, {"b.png": (4, 5)})
    (images / "b.png").write_text("no")
    assert rules(examine_source(masks, images=images)) == [("no image", "warning"), ("unreadable image", "warning")]


def test_frames_of_a_video(folders, tmp_path):
    """They are in a folder of its name; one of them has the size of all. Of another video there are none."""
    masks, images = folders({}, {"sav_1/00000.jpg": (4, 5), "sav_1/00004.jpg": (4, 5), "sav_2/00000.jpg": (8, 9)})
    masks.mkdir()
    frame = [{"size": [4, 5], "counts": [3, 17]}]
    for name, masklet in (("sav_1_manual", [frame, frame]), ("sav_2_auto", [frame]), ("sav_3_manual", [frame])):
        (masks / f"{name}.json").write_text(json.dumps({"masklet": masklet}))
    report = examine_source(masks, images=images)
    found = {finding.rule: finding.examples for finding in report.findings if finding.rule in ("size", "no image")}
    assert found == {
        "size": ("sav_2_auto.json, frame 0, object 0: 5 x 4, the image 9 x 8",),
        "no image": ("sav_3_manual.json, frame 0, object 0",),
    }
    assert "the frames of a video are in a folder of its name" in message(report, "no image")
    assert "no mask" not in dict(rules(report))


def test_images_need_files_and_a_folder(folders, tmp_path):
    """The error names the option."""
    masks, images = folders({"a.png": (4, 5)}, {"a.png": (4, 5)})
    (tmp_path / "empty").mkdir()
    with pytest.raises(LossregError, match="empty: no images there; give --images their folder"):
        examine_source(masks, images=tmp_path / "empty")
    with pytest.raises(LossregError, match="--images is for files of masks, but acme:masks is not; leave it out"):
        examine_source("acme:masks", images=images)


def test_threads_change_nothing(tmp_path):
    """Of 50 files with 0, 1, 2, ... pixels and several problems, in any number of threads."""
    for number in range(50):
        Image.fromarray(disc(ones=number)).save(tmp_path / f"{number:02}.png")
    for number in range(5):
        (tmp_path / f"b{number}.png").write_text("no")
        np.save(tmp_path / f"c{number}.npy", np.full((3, 4, 4), number + np.nan))
    expected = examine_source(tmp_path)
    assert expected.masks == 65
    assert [examine_source(tmp_path, workers=workers) for workers in (2, 5)] == [expected] * 2
    assert examine_source(tmp_path, workers=3, limit=7) == examine_source(tmp_path, limit=7)


def test_results_come_in_order_and_few_wait():
    """Although the first takes longest; an endless source is read as far as results are taken."""
    first = threading.Event()
    done = []

    def slow(number):
        if number == 0:
            assert first.wait(10)
        done.append(number)
        first.set()
        return number

    def endless():
        number = 0
        while True:
            yield number
            number += 1

    results = map_in_order(slow, endless(), 2)
    assert [next(results) for _ in range(20)] == list(range(20))
    assert done[0] != 0
    results.close()
    assert len(done) <= 20 + 4 * 2 + 1


def test_an_error_in_a_thread_is_raised():
    """Behind the results before it."""
    results = map_in_order(lambda number: 1 // (3 - number), range(9), 2)
    assert [next(results) for _ in range(3)] == [0, 0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_progress_gets_the_number_of_files(tmp_path):
    """And passes the measurements on."""
    for number in range(3):
        Image.fromarray(disc(ones=number)).save(tmp_path / f"{number:02}.png")
    totals = []

    def progress(found, total):
        totals.append(total)
        return found

    assert examine_source(tmp_path, progress=progress).masks == 3
    assert totals == [3]
