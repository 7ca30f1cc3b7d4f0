"""Four photographs that ship with scikit-image, their targets, and tiles cut from them.

The network sees each photograph with noise added. The target is what a classical method
finds in the clean one, so the task is to do through noise what the method does without.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from skimage import color, data, filters, measure, morphology, segmentation, transform
from torch import Tensor
from unet import STRIDE

Image = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

NOISE = 0.5  # standard deviation of the noise, in standard deviations of the photograph
TRAINING_SHARE = 2 / 3  # of the longer side, from the top left; validation gets the rest
TILE = 64  # pixels


@dataclass(frozen=True)
class Region:
    """A part of one photograph: image (1, H, W) float32, target (1, H, W) uint8."""

    name: str
    image: Tensor
    target: Tensor

    @property
    def foreground(self) -> float:
        """The share of pixels that are foreground, between 0 and 1."""
        return float(self.target.float().mean())


def coins() -> tuple[Image, Mask]:
    """Coins, by a watershed of the Sobel edges from sure background and sure coin."""
    image = data.coins() / 255
    markers = np.where(image < 30 / 255, 1, 0) + np.where(image > 150 / 255, 2, 0)
    labels = segmentation.watershed(filters.sobel(image), markers)
    return image, ndimage.binary_fill_holes(labels == 2)


def page() -> tuple[Image, Mask]:
    """Ink, by Sauvola's local threshold."""
    image = data.page() / 255
    return image, image < filters.threshold_sauvola(image, window_size=25, k=0.2)


def retina() -> tuple[Image, Mask]:
    """Blood vessels, by Sato's ridge filter on the green channel at half size."""
    green = transform.downscale_local_mean(data.retina()[..., 1] / 255, (2, 2))
    # The square inside the round field of view, whose rim is a ridge too and no vessel.
    green = green[104:604, 104:604]
    ridges = filters.sato(green, sigmas=range(1, 5))
    vessels = ridges > np.quantile(ridges, 0.9)
    return green, morphology.remove_small_objects(vessels, max_size=80)


def hubble() -> tuple[Image, Mask]:
    """Stars and galaxies, as pixels five noise levels above the local median sky."""
    image = color.rgb2gray(data.hubble_deep_field())
    sky = transform.resize(measure.block_reduce(image, (40, 40), np.median), image.shape)
    excess = image - sky
    # The median absolute deviation ignores the bright sources; 1.4826 makes it a standard deviation.
    noise = 1.4826 * np.median(np.abs(excess - np.median(excess)))
    return image, filters.gaussian(excess, sigma=1) > 5 * noise


PHOTOGRAPHS: dict[str, Callable[[], tuple[Image, Mask]]] = {
    "coins": coins,
    "page": page,
    "retina": retina,
    "hubble": hubble,
}


def load(seed: int) -> tuple[list[Region], list[Region]]:
    """Return the training and the validation region of every photograph; they share no pixel."""
    noise = np.random.default_rng(seed)
    training, validation = [], []
    for name, make in PHOTOGRAPHS.items():
        clean, target = make()
        image = (clean - clean.mean()) / clean.std() + NOISE * noise.standard_normal(clean.shape)
        axis = 1 if clean.shape[1] > clean.shape[0] else 0
        split = [round(TRAINING_SHARE * clean.shape[axis])]
        for regions, pixels, mask in zip(
            (training, validation), np.split(image, split, axis), np.split(target, split, axis), strict=True
        ):
            regions.append(region(name, pixels, mask))
    return training, validation


def region(name: str, image: Image, target: Mask) -> Region:
    """Return the region cropped to sides that the network can halve."""
    height, width = (side - side % STRIDE for side in image.shape)
    pixels = torch.from_numpy(image[None, :height, :width].astype(np.float32))
    return Region(name, pixels, torch.from_numpy(target[None, :height, :width].astype(np.uint8)))


def draw_tiles(regions: Sequence[Region], each: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return a batch of random tiles, `each` from every region: (N, 1, TILE, TILE) twice."""
    images, targets = [], []
    for source in regions:
        for _ in range(each):
            top, left = (
                int(torch.randint(side - TILE + 1, (), generator=generator)) for side in source.image.shape[1:]
            )
            window = (slice(None), slice(top, top + TILE), slice(left, left + TILE))
            images.append(source.image[window])
            targets.append(source.target[window])
    return torch.stack(images), torch.stack(targets)
