"""Files of masks, by their suffix."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from lossreg.health.targets.annotations import JSON, read_annotations
from lossreg.health.targets.array_files import ARRAYS, read_array
from lossreg.health.targets.images import LOSSLESS, LOSSY, read_image
from lossreg.health.targets.report import Target
from lossreg.health.targets.volumes import VOLUMES, read_volume

# In a folder, the first kinds that there are hold the masks: beside masks JPEG files are photographs, and JSON files
# describe them.
KINDS: Final = ((*LOSSLESS, *ARRAYS, *VOLUMES), (JSON,), LOSSY)


def suffix_of(name: str) -> str:
    """Return the suffix of a file's name in lower case, with both parts of .nii.gz."""
    name = name.lower()
    return VOLUMES[1] if name.endswith(VOLUMES[1]) else os.path.splitext(name)[1]


def is_known(name: str) -> bool:
    """Return True if the suffix is that of a file that can hold masks."""
    return any(suffix_of(name) in kind for kind in KINDS)


def read_file(path: Path, name: str, limit: int | None) -> Iterator[Target]:
    """Yield the masks of a file. limit: of masks in an array or annotations; None for all."""
    suffix = suffix_of(path.name)
    if suffix in ARRAYS:
        return read_array(path, name, limit)
    if suffix in VOLUMES:
        return read_volume(path, name)
    return read_annotations(path, name, limit) if suffix == JSON else read_image(path, name)
