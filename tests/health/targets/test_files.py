"""Files and folders of masks."""

import sys

import pytest

from lossreg.errors import LossregError, MissingLibraryError
from lossreg.health.targets import examine
from lossreg.health.targets.report import Mask
from lossreg.health.targets.sources import read_targets

from .masks import Image, disc, np, read, rules, shares


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
        "palette.png": "palette indices are the values: 0 is #000000, 2 is #c80000",
    }
    report = examine(found.values())
    assert report.dtypes == {"uint8": 5, "bool": 1, "float32": 1, "int32": 1, "uint16": 1}
    assert ("reading", "note") in rules(report)


def test_a_mode_that_cannot_hold_classes(tmp_path):
    """It is named, with the remedy."""
    Image.new("CMYK", (4, 4)).save(tmp_path / "b.tif")
    (found,) = read(tmp_path)
    assert found.reason == "image mode CMYK is not supported; save the mask with one value per pixel"


@pytest.mark.parametrize("suffix", [".bmp", ".gif", ".jpg", ".jpeg"])
def test_other_formats(tmp_path, suffix):
    """JPEG changes values, but not those of a mask without borders."""
    ones = 100 if suffix in (".jpg", ".jpeg") else 30
    Image.fromarray(disc(ones=ones)).save(tmp_path / f"a{suffix}")
    assert shares(read(tmp_path)) == [ones]
    assert shares(read(tmp_path / f"a{suffix}")) == [ones]


def test_photographs_beside_masks_are_left_out(tmp_path):
    """JPEG files are masks where there is nothing else."""
    Image.fromarray(disc(ones=3)).save(tmp_path / "a.png")
    for name in ("a.jpg", "b.JPEG"):
        Image.fromarray(disc(ones=100)).save(tmp_path / name)
    assert [each.name for each in read(tmp_path)] == ["a.png"]
    (tmp_path / "a.png").unlink()
    assert [each.name for each in read(tmp_path)] == ["a.jpg", "b.JPEG"]


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
    Image.new("L", (4, 4)).save(tmp_path / "webp.png", format="WEBP")
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
    expected = (
        "a folder of PNG, TIFF, BMP, GIF, JPEG, .npy, .npz or NIfTI files, one such file, a .json file of COCO or SA-V,"
        " a Parquet file with --column, or module:loader"
    )
    others = (
        "of HDF5 and other formats, save the masks as .npy, or give a function that returns them, as module:function"
    )
    (tmp_path / "empty").mkdir()
    (tmp_path / "photos").mkdir()
    for name in ("a.webp", "b.WEBP", "c.csv", "d.h5"):
        (tmp_path / "photos" / name).write_text("-")
    for where, text in {
        "gone": f"gone: no such file or folder; expected {expected}",
        "empty": f"empty: the folder is empty; expected {expected}",
        "photos": f"photos: the folder holds only .csv, .h5, .webp files; {others}; expected {expected}",
        "photos/d.h5": f"d.h5: cannot be read as masks; {others}; expected {expected}",
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
