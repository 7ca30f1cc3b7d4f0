"""Masks in NIfTI files."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from lossreg.errors import MissingLibraryError
from lossreg.health.targets.images import MOST_PIXELS, too_many
from lossreg.health.targets.report import Mask, Target, Unreadable
from lossreg.messages import one_line, require

VOLUMES: Final = (".nii", ".nii.gz")


def read_volume(path: Path, name: str) -> Iterator[Target]:
    """Yield the volume of a NIfTI file as one mask.

    Raises:
        MissingLibraryError: nibabel is not installed.
    """
    require("nibabel", extra="nifti", use="check-targets of NIfTI")
    import nibabel
    import numpy as np

    try:
        volume: Any = nibabel.load(path)
        if math.prod(volume.shape) > MOST_PIXELS:
            yield Unreadable(name, too_many(" x ".join(map(str, volume.shape))))
        else:
            yield Mask(name, np.asanyarray(volume.dataobj))
    except MissingLibraryError:
        raise
    except Exception as error:  # noqa: BLE001 - a decoder may raise any error for a broken file
        yield Unreadable(name, one_line(error))
