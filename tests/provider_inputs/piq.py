"""Inputs of the losses of PIQ."""

import torch


def images(side=48):
    return torch.rand(2, 3, side, side), torch.rand(2, 3, side, side)


FIVE_SCALES = 161  # the smallest side of an image for five scales and a window of 11 pixels

INPUTS = {
    ("images", "images"): images,
    ("images", "none"): lambda: images()[:1],
    ("embeddings", "embeddings"): lambda: (torch.rand(8, 4), torch.rand(8, 4)),
    "ms_ssim": lambda: images(FIVE_SCALES),
    "iw_ssim": lambda: images(FIVE_SCALES),
}
EXCLUDED: dict[str, str] = {}
