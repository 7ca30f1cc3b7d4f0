"""Annotation files of COCO, SA-1B and SA-V."""

import json

import pytest

from lossreg.errors import ShapeError
from lossreg.health.targets import examine
from lossreg.health.targets.report import Unreadable
from lossreg.health.targets.rle import decode, unpack

from .masks import np, read, shares


def pack(runs):
    """Write runs as COCO does, from its description: five bits a character, differences from the fourth run on."""
    text = ""
    for place, run in enumerate(runs):
        number = run - runs[place - 2] if place > 2 else run
        while True:
            bits, number = number & 31, number >> 5
            last = number == (-1 if bits & 16 else 0)
            text += chr(bits + (0 if last else 32) + 48)
            if last:
                break
    return text


def runs_of(mask):
    """Count the lengths of runs down the columns, one pixel at a time; the first is of zeros."""
    runs, value = [0], 0
    for pixel in mask.T.ravel().tolist():
        if pixel != value:
            runs.append(0)
            value = pixel
        runs[-1] += 1
    return runs


def test_runs_by_hand():
    """Two columns of three: 0 0 1, 1 1 0. And a text of pycocotools' own documentation kind: 5 bits each."""
    assert decode({"size": [3, 2], "counts": [2, 3, 1]}).tolist() == [[0, 1], [0, 1], [1, 0]]
    assert unpack("231") == [2, 3, 1]
    assert unpack("o4") == [159]  # 31, and 32 as more follows; then 4: 31 + 4 * 32
    assert unpack("0123") == [0, 1, 2, 4]  # the fourth is a difference: 3 to 1


@pytest.mark.parametrize("seed", range(5))
def test_masks_come_back(seed):
    """Of random masks, as lists, as text and as bytes; the writer is another one."""
    draws = np.random.default_rng(seed)
    mask = (draws.random((17, 40)) < (0.02, 0.5, 0.98, 0, 1)[seed]).astype(np.uint8)
    runs = runs_of(mask)
    for counts in (runs, pack(runs), pack(runs).encode()):
        assert (decode({"size": [17, 40], "counts": counts}) == mask).all()


@pytest.mark.parametrize(
    "encoded, text",
    [
        ({"size": [2, 2], "counts": [1, 2]}, "the runs have 3 pixels, the size 2 x 2 has 4"),
        ({"size": [2, 2], "counts": [5, -1]}, "the runs have 4 pixels"),
        ({"size": [2, 2], "counts": "o"}, "the counts end within a number"),
        ({"size": [2, 2], "counts": "\x00"}, "the counts have the character"),
        ({"size": [2], "counts": [4]}, "expected size [height, width] and counts of runs"),
        ({"counts": [4]}, "expected size"),
        ({"size": [2, 2], "counts": None}, "expected size"),
        ({"size": [2, 2], "counts": [float("inf")]}, "expected size"),
        ({"size": [10**6, 10**6], "counts": [10**12]}, "1,000,000 x 1,000,000 pixels, but a mask may have up to"),
    ],
)
def test_runs_that_are_no_mask(encoded, text):
    """Too few or negative ones, a broken text, no size, too many pixels."""
    with pytest.raises(ShapeError) as caught:
        decode(encoded)
    assert text in str(caught.value)


SQUARE = [2, 2, 6, 2, 6, 6, 2, 6]  # x, y from 2 to 6
COCO = {
    "images": [{"id": number, "height": 10, "width": 12, "file_name": f"{number}.jpg"} for number in (7, 8, 9)],
    "annotations": [
        {"image_id": 7, "category_id": 30, "segmentation": [SQUARE]},
        {"image_id": 7, "category_id": 90, "segmentation": {"size": [10, 12], "counts": [110, 10]}},
        {"image_id": 8, "category_id": 90, "segmentation": {"size": [10, 12], "counts": pack([100, 20])}},
    ],
    "categories": [{"id": 10}, {"id": 30}, {"id": 90}],
}


def written(folder, content, name="a.json"):
    (folder / name).write_text(json.dumps(content))
    return folder / name


def test_coco(tmp_path):
    """A mask per image, of the places of the categories among all: 30 is 2, 90 is 3. Image 9 has none."""
    first, second, third = read(written(tmp_path, COCO))
    assert [each.name for each in (first, second, third)] == ["a.json, 7.jpg", "a.json, 8.jpg", "a.json, 9.jpg"]
    assert first.values.shape == (10, 12)
    assert (first.values[3:6, 3:6] == 2).all()
    assert (first.values[:, 11] == 3).all()
    assert first.values[0, 0] == first.values[8, 8] == 0
    assert shares([second, third]) == [20, 0]
    assert [each.name for each in read(tmp_path / "a.json", limit=2)] == ["a.json, 7.jpg", "a.json, 8.jpg"]
    assert examine([first, second, third]).empty == 1


def test_sa_1b_and_sa_v(tmp_path):
    """All objects of an image; each object of each frame, also one that is not there."""
    one, none = {"size": [4, 5], "counts": pack([5, 3, 12])}, {"size": [4, 5], "counts": pack([20])}
    image = {"image": {"height": 4, "width": 5}, "annotations": [{"segmentation": one}, {"segmentation": none}]}
    written(tmp_path, image, "sa_1.json")
    assert [(each.name, *shares([each])) for each in read(tmp_path)] == [("sa_1.json", 3)]
    video = written(tmp_path, {"video_id": "sav_1", "masklet": [[one, none], [one]]}, "v.json")
    found = read(video)
    assert [each.name for each in found] == [
        "v.json, frame 0, object 0",
        "v.json, frame 0, object 1",
        "v.json, frame 1, object 0",
    ]
    assert shares(found) == [3, 0, 3]


@pytest.mark.parametrize(
    "content, reason",
    [
        ({"images": [], "size": 3}, "got the keys images, size"),
        ([1, 2], "got none of their keys"),
        ({"images": [{}], "annotations": [{}]}, "expected COCO (images and annotations), SA-1B"),
        ({**COCO, "annotations": [{"image_id": 7, "segmentation": [[1, 2]]}]}, "Error"),
        ({**COCO, "images": [{"id": 7, "height": 10**6, "width": 10**6}]}, "pixels, but a mask may have up to"),
        ({**COCO, "images": [{"id": 7, "width": 10}]}, "KeyError: 'height'"),
        ({**COCO, "images": [{"id": 7, "width": 10, "height": float("inf")}]}, "OverflowError"),
        ({"masklet": [5, None, [3]]}, "expected size [height, width] and counts of runs"),
        ({"masklet": [[{"size": [2, 2], "counts": [3]}]]}, "the runs have 3 pixels"),
    ],
)
def test_annotations_that_cannot_be_read(tmp_path, content, reason):
    """Each is unreadable, and the others are read."""
    found = read(written(tmp_path, content))
    assert isinstance(found[0], Unreadable)
    assert reason in found[0].reason


def test_a_file_that_is_no_json(tmp_path):
    """Beside one that is."""
    written(tmp_path, COCO)
    (tmp_path / "b.json").write_text("{")
    found = read(tmp_path)
    assert [type(each).__name__ for each in found] == ["Mask"] * 3 + ["Unreadable"]


def test_json_beside_masks_is_left_out(tmp_path):
    """It describes them."""
    np.save(tmp_path / "m.npy", np.ones((4, 4)))
    written(tmp_path, COCO)
    assert [each.name for each in read(tmp_path)] == ["m.npy"]
