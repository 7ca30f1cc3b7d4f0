"""Targets that read files of masks: pictures, arrays, volumes and annotations."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

from .target import Target

MOST_PIXELS = 2**22  # more are refused here: their time is that of the pixels, and shows nothing
COCO = {
    "images": [{"id": 1, "height": 8, "width": 9, "file_name": "a.jpg"}],
    "categories": [{"id": 7, "name": "crack"}],
    "annotations": [
        {"image_id": 1, "category_id": 7, "segmentation": [[1, 1, 5, 1, 5, 6]]},
        {"image_id": 1, "category_id": 7, "segmentation": {"size": [8, 9], "counts": [3, 20, 49]}},
        {"image_id": 1, "category_id": 7, "segmentation": {"size": [8, 9], "counts": "3d0Q1"}},
    ],
}
SA_V = {"masklet": [[{"size": [8, 9], "counts": "3d0Q1"}, {"size": [8, 9], "counts": [0, 72]}], []]}
SA_1B = {"image": {"height": 8, "width": 9}, "annotations": COCO["annotations"][1:]}
FORMATS = ("png", "tiff", "gif", "bmp", "jpeg")
WORDS = [b'"size"', b'"counts"', b'"segmentation"', b"[", b"]", b"{", b"}", b",", b"-1", b"1e9", b"null", b'"', b"NaN"]


def masks(folder: Path, suffix: str, seeds: list[bytes], words: list[bytes] | None = None) -> Target:
    """Examine a file of any bytes: damaged ones are among the unreadable, and name themselves."""
    from lossreg.health.targets import examine_source
    from lossreg.health.targets import images as readers

    path = folder / f"mask{suffix}"

    def run(data: bytes) -> None:
        path.write_bytes(data)
        with patch.object(readers, "MOST_PIXELS", MOST_PIXELS):
            report = examine_source(path, thin=True)
        assert str(report)
        json.dumps(report.to_dict(), allow_nan=False)

    return Target(run, seeds, words or [b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\x7f\xff", b"\x80"])


def images(kind: str) -> Callable[[Path], Target]:
    """Return the target of a format that Pillow reads."""

    def made(folder: Path) -> Target:
        import numpy as np
        from PIL import Image

        values = (np.arange(63).reshape(7, 9) % 5 == 0).astype(np.uint8)
        seeds = []
        pictures = [Image.fromarray(255 * values), Image.fromarray(values).convert("P")]
        for picture in pictures[: 1 if kind == "jpeg" else None]:  # which has no palette
            file = io.BytesIO()
            picture.save(file, kind)
            seeds.append(file.getvalue())
        return masks(folder, f".{kind}", seeds)

    return made


def array(folder: Path) -> Target:
    """Build arrays of several types, and archives of them."""
    import numpy as np

    seeds = []
    for dtype in ("uint8", "bool", "float32", ">i2", "float16"):
        file = io.BytesIO()
        np.save(file, np.arange(24).reshape(2, 3, 4).astype(dtype))
        seeds.append(file.getvalue())
    words = [b"'descr': '|O'", b"'shape': (99999999999,)", b"'<f8'", b"True", b"-1", b"(", b")", b"nan"]
    return masks(folder, ".npy", seeds, words)


def archive(folder: Path) -> Target:
    """Build archives of arrays, stored and compressed."""
    import numpy as np

    seeds = []
    for save in (np.savez, np.savez_compressed):
        file = io.BytesIO()
        save(file, mask=np.eye(5, dtype=np.uint8))
        seeds.append(file.getvalue())
    empty = io.BytesIO()
    zipfile.ZipFile(empty, "w").close()
    return masks(folder, ".npz", [*seeds, empty.getvalue()], [struct.pack("<I", 0xFFFFFFFF), b"PK\x03\x04", b".npy"])


def volume(folder: Path) -> Target:
    """Build a volume of NIfTI."""
    import nibabel
    import numpy as np

    image = nibabel.Nifti1Image(np.eye(4, dtype=np.uint8)[..., None].repeat(3, 2), np.eye(4))
    return masks(folder, ".nii", [image.to_bytes()])


def annotations(folder: Path) -> Target:
    """Build annotations of COCO, SA-1B and SA-V."""
    return masks(folder, ".json", [json.dumps(each).encode() for each in (COCO, SA_1B, SA_V)], WORDS)
