"""Planted controls: copies that are bad in a known way, marked, and the same for the same seed."""

import pickle
from collections import namedtuple

import pytest
import torch

pytest.importorskip("duckdb", reason="duckdb is not installed, so there are no records")

import numpy as np
from torch.utils.data import DataLoader, Dataset

from lossreg import InputError
from lossreg.records import plant_controls, run_dataset_evaluation
from lossreg.records.controls import shifted

SQUARE = torch.zeros(1, 12, 9)
SQUARE[0, 2:5, 1:4] = 1


class Photos(Dataset):
    """Thirty photographs: a mask of 9 pixels or, in every third, an empty one; ten captions."""

    def __len__(self):
        return 30

    def __getitem__(self, index):
        if not 0 <= index < 30:
            raise IndexError(index)
        mask = torch.zeros_like(SQUARE) if index % 3 == 0 else SQUARE
        return {"name": f"p{index}", "image": torch.full((3, 2), index), "mask": mask, "caption": f"a {index % 10}"}


def test_a_shifted_mask_is_far_from_its_object():
    """Copies of examples with an object: the image as before, the mask moved by 4 to 8 rows and 3 to 6 columns."""
    data = plant_controls(Photos(), shift="mask", id="name", count=8)
    assert len(data) == 38
    assert [data[index]["name"] for index in range(30)] == [f"p{index}" for index in range(30)]
    for number in range(8):
        control = data[30 + number]
        source = int(control["image"][0, 0])
        assert source % 3  # an empty mask cannot be shifted
        assert control["name"] == f"control {number} of p{source}"
        assert control["caption"] == f"a {source % 10}"
        (down, right) = (place.min().item() for place in control["mask"][0].nonzero(as_tuple=True))
        moved = [(rows, columns) for rows in range(4, 9) for columns in range(3, 7)]
        assert any(torch.equal(control["mask"], SQUARE.roll(by, (1, 2))) for by in moved)
        assert (control["mask"] * SQUARE).sum() <= 3, (down, right)
    assert len({data[30 + number]["name"].split()[-1] for number in range(8)}) == 8
    assert torch.equal(data[1]["mask"], SQUARE)


def test_a_swapped_caption_is_one_of_another_example():
    """It is never equal to the own one; nothing else changes."""
    data = plant_controls(Photos(), swap="caption", id="name", count=20)
    for number in range(20):
        control = data[30 + number]
        own = data[int(control["image"][0, 0])]
        assert control["caption"] != own["caption"]
        assert control["caption"] in {f"a {number}" for number in range(10)}
        assert torch.equal(control["mask"], own["mask"])


def test_both_kinds_alternate():
    """Even controls have a shifted mask, odd ones a swapped caption."""
    data = plant_controls(Photos(), shift="mask", swap="caption", id="name", count=6)
    for number in range(6):
        control = data[30 + number]
        own = data[int(control["image"][0, 0])]
        changed = [key for key in ("mask", "caption") if not np.array_equal(control[key], own[key])]
        assert changed == [("mask", "caption")[number % 2]]


def test_the_seed_decides_and_a_copy_is_the_same():
    """Twice, and after pickling, as workers of a loader get it; another seed has others."""
    first, again, other = (plant_controls(Photos(), shift="mask", id="name", seed=seed) for seed in (0, 0, 1))
    for copy in (again, pickle.loads(pickle.dumps(first))):
        assert copy.control_ids == first.control_ids
        assert all(torch.equal(copy[index]["mask"], first[index]["mask"]) for index in range(30, 50))
    assert other.control_ids != first.control_ids


def test_ids_are_marked_in_the_records(tmp_path):
    """The column `control` is true for the copies alone, from a DataLoader with workers."""
    duckdb = pytest.importorskip("duckdb")
    data = plant_controls(Photos(), shift="mask", id="name", count=5)

    def compute(batch):
        names = batch["name"]
        return {"loss": batch["mask"].mean((1, 2, 3)), "sample_id": names, "control": data.is_control(names)}

    run_dataset_evaluation(compute, DataLoader(data, 7), job_name="job", step=0, out_dir=tmp_path)
    query = f"SELECT sample_id FROM read_parquet('{tmp_path}/*/*.parquet') WHERE control"
    found = {name for (name,) in duckdb.sql(query).fetchall()}
    assert found == data.control_ids
    assert len(found) == 5


def test_integers_as_ids_stay_integers():
    """Below 0; also as tensors and NumPy scalars, which a loader stacks. Without an id the index is it."""
    for make in (int, np.int64, torch.tensor):
        data = plant_controls([{"id": make(n), "label": n % 2} for n in range(9)], swap="label", id="id", count=2)
        assert [int(data[9]["id"]), int(data[10]["id"])] == [-1, -2]
        assert type(data[9]["id"]) is type(data[0]["id"])
        assert data.is_control(torch.tensor([0, -1, -2])) == [False, True, True]
    unnamed = plant_controls([(0.5, n % 2) for n in range(9)], swap=1, count=2)
    assert unnamed.control_ids == {"9", "10"}


Pair = namedtuple("Pair", "image label")


@pytest.mark.parametrize("kind", [tuple, list, lambda parts: Pair(*parts)])
@pytest.mark.parametrize("key", [1, -1])
def test_tuples_lists_and_named_tuples_keep_their_type(kind, key):
    """The part is changed by its place, also from the end."""
    data = plant_controls([kind(["x", n]) for n in range(9)], swap=key, count=3)
    for index in range(9, 12):
        assert type(data[index]) is type(data[0])
        assert data[index][0] == "x"
    assert data[-1] == data[11]
    assert len(list(data)) == 12
    with pytest.raises(IndexError, match="index 12 is out of range for 12 examples"):
        data[12]


def test_masks_of_every_kind_are_shifted_alike():
    """A tensor, an array, nested lists and a PIL image of indices."""
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed: pip install pillow")
    array = SQUARE[0].numpy().astype(np.uint8)
    expected = shifted(torch.from_numpy(array), 5).numpy()
    assert not np.array_equal(expected, array)
    assert np.array_equal(shifted(array, 5), expected)
    assert shifted(array.tolist(), 5) == expected.tolist()
    for mode in ("L", "P"):
        picture = image.new(mode, (9, 12))
        picture.putdata(array.ravel().tolist())
        assert np.array_equal(np.asarray(shifted(picture, 5)), expected)


@pytest.mark.parametrize(
    "options, message",
    [
        ({}, r"nothing to make examples bad: give shift= the mask, or swap= the caption or label"),
        ({"shift": "mask", "count": 0}, r"count must be a number of controls >= 1, got 0 \(int\)"),
        ({"shift": "mask", "seed": 0.5}, r"seed must be an integer, got 0.5 \(float\)"),
        (
            {"shift": "mask", "count": 21},
            "of 30 examples, 20 can be made bad by shift, and count is 21; give count=20, or",
        ),
        ({"swap": "mask", "data": [{"mask": 0}] * 4}, "of 4 examples, 0 can be made bad by swap, .*give another part"),
        ({"shift": "masks"}, "an example has no part 'masks'; it has 'name', 'image', 'mask', 'caption'"),
        ({"swap": "caption", "data": [("a", 1)]}, r"an example has no part 'caption'; it has \('a', 1\) \(tuple\)"),
        ({"shift": "mask", "id": "image"}, "id='image': a sample_id must be text or an integer, got tensor"),
        ({"shift": "mask", "data": iter([])}, r"data must be a list or a dataset with len\(\) and an index, got"),
        ({"shift": "mask", "data": {"mask": []}}, r"data must be a list or a dataset with len\(\) and an index, got"),
    ],
)
def test_what_cannot_be_planted(options, message):
    """The message has what to give instead."""
    with pytest.raises(InputError, match=message):
        plant_controls(**{"data": Photos(), **options})
