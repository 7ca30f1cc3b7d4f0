"""The scenes of the gallery: blood vessels of a retina, and predictions of them with mistakes."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import ndimage

sys.path.append(str(Path(__file__).parents[3] / "examples"))
import six_losses
from photographs import Image, Mask
from pictures import Picture, compare
from six_losses import PUSHES, shade

__all__ = ["PUSHES", "Picture", "Scene", "mistaken", "nothing", "photograph", "seen", "shade", "single_mistakes"]

SHIFT = 4  # pixels


class Scene(NamedTuple):
    """A prediction, as logits (H, W), and its target."""

    logits: Image
    target: Mask


@cache
def photograph() -> tuple[Image, Mask]:
    """Return the photograph and its vessels."""
    return six_losses.scene()


@cache
def mistaken() -> Scene:
    """Return a prediction with four mistakes at once, as in the picture of six losses."""
    _, vessels = photograph()
    return Scene(six_losses.prediction(vessels), vessels)


@cache
def single_mistakes() -> dict[str, Scene]:
    """Return predictions with one mistake each; the last has a target without foreground."""
    _, vessels = photograph()
    broken, thin = vessels.copy(), ndimage.binary_erosion(vessels)
    broken[six_losses.GAP] = False
    row, column = np.ogrid[: vessels.shape[0], : vessels.shape[1]]
    at = six_losses.BLOB
    blob = (row - at[0]) ** 2 + (column - at[1]) ** 2 <= six_losses.RADIUS**2
    shifted = np.roll(vessels, (SHIFT, SHIFT), (0, 1))
    empty = np.zeros_like(vessels)
    scenes = {"gap": broken, "blob": vessels | blob, "shift": shifted, "thin": thin}
    found = {name: Scene(logits(drawn), vessels) for name, drawn in scenes.items()}
    return found | {"empty": Scene(logits(blob), empty)}


def nothing() -> Scene:
    """Return a prediction of nothing where nothing is."""
    empty = np.zeros_like(photograph()[1])
    return Scene(logits(empty), empty)


def logits(drawn: Mask) -> Image:
    """Return logits of a sure prediction with soft edges."""
    soft: Image = 10 * ndimage.gaussian_filter(drawn.astype(float), 0.6) - 5
    return soft


def seen(scene: Scene) -> Picture:
    """Return a picture of a prediction: right pixels white, missed ones blue, false ones orange."""
    return compare(scene.logits > 0, scene.target)
