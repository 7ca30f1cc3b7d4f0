"""Four photographs that ship with scikit-image, their targets, and tiles cut from them.

The network gets each photograph with added noise; the target is the result of a classical method on the clean one.
Page and retina are converted to darkness against their surroundings, so that the foreground is brighter in all four: a
tile is too small to identify its photograph.
"""

# scikit-image and SciPy have no type annotations.
# mypy: disable-error-code="no-untyped-call, import-untyped"

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from skimage import color, data, filters, morphology, segmentation, transform
from torch import Tensor
from unet import STRIDE

Image = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

# Standard deviation of the noise, in standard deviations of the photograph. It makes many pixels uncertain: a pixelwise
# loss then misses some rare foreground, because each of its pixels is more likely background.
NOISE = 2.0
TRAINING_SHARE = 2 / 3  # of the longer side, from the top left; validation gets the rest
TILE = 64  # pixels


@dataclass(frozen=True)
class Region:
    """A part of one photograph: image (1, H, W) float32 of unit variance before noise, target (1, H, W) uint8.

    foreground: the share of foreground pixels in the whole photograph, between 0 and 1.
    """

    name: str
    image: Tensor
    target: Tensor
    foreground: float


def coins() -> tuple[Image, Mask]:
    """Return coins, by a watershed of the Sobel edges from certain background and certain coin."""
    image = data.coins() / 255
    markers = np.where(image < 30 / 255, 1, 0) + np.where(image > 150 / 255, 2, 0)
    labels = segmentation.watershed(filters.sobel(image), markers)
    return image, ndimage.binary_fill_holes(labels == 2)


def page() -> tuple[Image, Mask]:
    """Return a page of text and its ink, by Sauvola's local threshold."""
    image = data.page() / 255
    return darkness(image), image < filters.threshold_sauvola(image, window_size=25, k=0.2)


def retina() -> tuple[Image, Mask]:
    """Return a retina and its blood vessels, by Sato's ridge filter on the green channel at half size."""
    green = transform.downscale_local_mean(data.retina()[..., 1] / 255, (2, 2))
    # The square inside the round field of view: the rim is also a ridge, but not a vessel.
    green = green[104:604, 104:604]
    ridges = filters.sato(green, sigmas=range(1, 5))
    vessels = ridges > np.quantile(ridges, 0.9)
    return darkness(green), morphology.remove_small_objects(vessels, max_size=80)


def hubble() -> tuple[Image, Mask]:
    """Return stars and galaxies, as pixels five noise levels above the local median sky."""
    image = color.rgb2gray(data.hubble_deep_field())
    # Sky varies slowly: every fourth pixel is enough for a median over about 50 x 50.
    sky = transform.resize(ndimage.median_filter(image[::4, ::4], size=13), image.shape)
    excess = image - sky
    # The median absolute deviation ignores the bright sources; 1.4826 makes it a standard deviation.
    noise = 1.4826 * np.median(np.abs(excess - np.median(excess)))
    return image, filters.gaussian(excess, sigma=1) > 5 * noise


def darkness(image: Image) -> Image:
    """Return the darkness of each pixel relative to its surroundings, which removes uneven light."""
    surroundings: Image = filters.gaussian(image, sigma=20)
    return surroundings - image


PHOTOGRAPHS: dict[str, Callable[[], tuple[Image, Mask]]] = {
    "coins": coins,
    "page": page,
    "retina": retina,
    "hubble": hubble,
}


def load(seed: int) -> tuple[list[Region], list[Region]]:
    """Return the training and the validation region of every photograph; they share no pixel."""
    generator = np.random.default_rng(seed)
    training, validation = [], []
    for name, make in PHOTOGRAPHS.items():
        clean, target = make()
        image = (clean - clean.mean()) / clean.std() + NOISE * generator.standard_normal(clean.shape)
        axis = 1 if clean.shape[1] > clean.shape[0] else 0
        split = [round(TRAINING_SHARE * clean.shape[axis])]
        images, targets = np.split(image, split, axis), np.split(target, split, axis)
        foreground = float(target.mean())
        training.append(Region(name, pixels(images[0], np.float32), pixels(targets[0], np.uint8), foreground))
        validation.append(Region(name, pixels(images[1], np.float32), pixels(targets[1], np.uint8), foreground))
    return training, validation


def pixels(array: Image | Mask, dtype: npt.DTypeLike) -> Tensor:
    """Return an (H, W) array as (1, H, W), cropped to sides that the network can halve."""
    height, width = (side - side % STRIDE for side in array.shape)
    return torch.from_numpy(array[None, :height, :width].astype(dtype))


def draw_tiles(regions: Sequence[Region], each: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return random tiles, `each` from every region: images and targets, both (N, 1, TILE, TILE)."""
    images, targets = [], []
    for source in regions:
        for _ in range(each):
            ends = [side - TILE + 1 for side in source.image.shape[1:]]
            top, left = (int(torch.randint(end, (), generator=generator)) for end in ends)
            window = (slice(None), slice(top, top + TILE), slice(left, left + TILE))
            images.append(source.image[window])
            targets.append(source.target[window])
    return torch.stack(images), torch.stack(targets)
