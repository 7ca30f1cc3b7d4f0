"""Files of masks, by their suffix."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from lossreg.health.targets.array_files import ARRAY, read_array
from lossreg.health.targets.images import LOSSLESS, LOSSY, read_image
from lossreg.health.targets.report import Target

SUFFIXES: Final = (*LOSSLESS, *LOSSY, ARRAY)


def read_file(path: Path, name: str, limit: int | None) -> Iterator[Target]:
    """Yield the masks of a file. limit: of masks in an array; None for all."""
    return read_array(path, name, limit) if path.suffix.lower() == ARRAY else read_image(path, name)
