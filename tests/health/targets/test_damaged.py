"""Damaged files, and files that claim more pixels than memory holds."""

import struct
import warnings
import zlib

import pytest

from lossreg.health.targets import examine
from lossreg.health.targets.report import Unreadable

from .masks import Image, disc, np, read, rules, shares

HEADER = "{'descr': '|u1', 'fortran_order': False, 'shape': (4, 4), }"


def npy(header, data=bytes(16)):
    """Return the bytes of a .npy file with a header of one's own."""
    return b"\x93NUMPY\x01\x00v\x00" + header.encode().ljust(117) + b"\n" + data


def png(width, height, colour=0):
    """Return a PNG that claims a size, grey or of another kind of colour, without its pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "header",
    [
        HEADER.replace(")", ""),  # a tokenizer raises
        HEADER.replace("(4, 4)", "(4, -4)"),
        HEADER.replace("(4, 4)", "(99999999999999999999, 4)"),
        HEADER.replace("(4, 4)", "(4, 400)"),  # more than the file holds
        HEADER.replace("(4, 4)", "None"),
        HEADER.replace("(4, 4)", "(4, 'four')"),
        HEADER.replace("|u1", "|O"),
        HEADER.replace("|u1", "M8[s]"),
        HEADER.replace("'|u1'", "['|u1']"),
        HEADER.replace("'|u1'", "[('a', '|u1')]"),
        HEADER.replace("False", "[" * 60),
        HEADER.replace("descr", "desc\x00r"),
        "-" * 100,
        "",
    ],
)
def test_a_damaged_header_is_one_unreadable_file(tmp_path, header):
    """The others are read."""
    np.save(tmp_path / "a.npy", disc(ones=3))
    (tmp_path / "b.npy").write_bytes(npy(header))
    (tmp_path / "c.npy").write_bytes(npy(HEADER, bytes(8) + b"\x01" * 8))
    first, second, third = read(tmp_path)
    assert shares([first, third]) == [3, 8]
    assert isinstance(second, Unreadable)
    assert second.reason
    assert "\n" not in second.reason
    assert rules(examine([first, second, third])) == [("unreadable", "warning")]


@pytest.mark.parametrize("suffix", [".npy", ".png", ".tif", ".gif", ".bmp", ".jpg"])
@pytest.mark.parametrize("seed", range(4))
def test_bytes_at_random(tmp_path, suffix, seed):
    """A file with some bytes changed is a mask or unreadable; nothing is raised, not even by `examine`."""
    whole = tmp_path / f"whole{suffix}"
    np.save(whole, disc(ones=5)) if suffix == ".npy" else Image.fromarray(disc(ones=5)).save(whole)
    draws = np.random.default_rng(seed)
    content = np.frombuffer(whole.read_bytes(), np.uint8).copy()
    content[draws.integers(0, len(content), 6)] = draws.integers(0, 255, 6)
    whole.write_bytes(content.tobytes()[: draws.integers(len(content) // 2, len(content) + 1)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Pillow, about what it repaired
        examine(read(whole))


@pytest.mark.parametrize("width, height", [(13_000, 13_000), (1 << 27, 2), (100_000, 100_000)])
def test_an_image_of_too_many_pixels_is_not_decoded(tmp_path, width, height):
    """A file of 100 bytes may claim any size. The reason has the remedy."""
    (tmp_path / "a.png").write_bytes(png(width, height))
    (found,) = read(tmp_path)
    assert isinstance(found, Unreadable)
    assert found.reason.endswith(
        "pixels, but a mask may have up to 134,217,728; cut it into tiles, as training does"
    ), found.reason


def test_coloured_images_may_have_half_as_many(tmp_path):
    """They take four times the memory."""
    (tmp_path / "a.png").write_bytes(png(8_200, 8_200, colour=2))
    (tmp_path / "b.png").write_bytes(png(8_200, 8_200))
    first, second = read(tmp_path)
    assert first.reason.startswith("8,200 x 8,200 pixels, but a mask may have up to 67,108,864")
    assert "pixels" not in second.reason  # it is decoded, and has none


def test_an_array_of_too_many_pixels(tmp_path, monkeypatch):
    """Each mask counts by itself."""
    monkeypatch.setattr("lossreg.health.targets.array_files.MOST_PIXELS", 99)
    np.save(tmp_path / "a.npy", np.stack([disc(ones=1)]))
    np.save(tmp_path / "b.npy", np.stack([disc(ones=1, side=9)] * 2))
    found = read(tmp_path)
    assert found[0].reason.startswith("10 x 10 pixels, but a mask may have up to ")
    assert shares(found[1:]) == [1, 1]


def test_a_large_mask_takes_little_more_memory_than_itself(monkeypatch):
    """16 MB: less than half as much again, where it took nine times as much."""
    import tracemalloc

    monkeypatch.setattr("lossreg.health.targets.pixels.PART", 1 << 18)
    mask = np.zeros((4000, 4000), np.uint8)
    mask[:10, :10] = [0, 1, 2, 3, 4] * 2
    tracemalloc.start()
    try:
        report = examine([mask])
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert report.foreground == 80 / mask.size
    assert most < mask.size / 2
