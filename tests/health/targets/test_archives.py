"""Masks in .npz and NIfTI files."""

import gzip
import sys

import pytest

from lossreg.errors import MissingLibraryError
from lossreg.health.targets.report import Unreadable

from .masks import disc, np, read, shares


def test_the_arrays_of_an_archive(tmp_path):
    """All of them, or those under the name of a mask; compressed or not; (N, H, W) is N masks."""
    np.savez(tmp_path / "a.npz", disc(ones=1), np.stack([disc(ones=2), disc(ones=3)]))
    np.savez_compressed(tmp_path / "b.npz", image=disc(ones=99), label=disc(ones=4))
    found = read(tmp_path)
    assert shares(found) == [1, 2, 3, 4]
    assert [each.name for each in found][1:] == ["a.npz, arr_1, mask 0", "a.npz, arr_1, mask 1", "b.npz, label"]


def test_a_large_or_damaged_archive(tmp_path, monkeypatch):
    """An array that is larger when unpacked is not; a cut file is unreadable; objects are not loaded."""
    np.savez_compressed(tmp_path / "a.npz", mask=np.zeros((64, 64), np.uint8))
    whole = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "b.npz").write_bytes(whole[: len(whole) // 2])
    np.savez(tmp_path / "c.npz", mask=np.array([{}]))
    monkeypatch.setattr("lossreg.health.targets.array_files.MOST_BYTES", 1000)
    large, cut, objects = read(tmp_path)
    assert large == Unreadable("a.npz, mask", "over 1 GiB; save it as .npy, which is read in parts")
    assert isinstance(cut, Unreadable)
    assert "Object arrays cannot be loaded" in objects.reason


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".NII.GZ"])
def test_a_volume(tmp_path, suffix):
    """One mask, of the type on disk. Neither .gz alone nor anything damaged stops the others."""
    nibabel = pytest.importorskip("nibabel", reason="nibabel is not installed, so no NIfTI file can be read")
    volume = np.zeros((5, 6, 7), np.uint8)
    volume[1, 2, :3] = 2
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), tmp_path / f"a{suffix.lower()}")
    (tmp_path / f"a{suffix.lower()}").rename(tmp_path / f"a{suffix}")
    (tmp_path / "b.nii").write_bytes(b"no")
    (tmp_path / "c.nii.gz").write_bytes(gzip.compress(b"no"))
    (tmp_path / "d.gz").write_bytes(b"no")
    found = read(tmp_path)
    assert shares(found[:1]) == [3]
    assert (found[0].values.shape, found[0].values.dtype) == ((5, 6, 7), np.uint8)
    assert [type(each).__name__ for each in found] == ["Mask", "Unreadable", "Unreadable"]


def test_nifti_needs_nibabel(tmp_path, monkeypatch):
    """The error names the extra."""
    (tmp_path / "a.nii").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(MissingLibraryError) as caught:
        read(tmp_path)
    assert str(caught.value) == "check-targets of NIfTI: nibabel is not installed; pip install 'lossreg[nifti]'"
