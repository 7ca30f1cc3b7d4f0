"""The calls to check and time: their sums, and the shapes and types of logits and targets."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gpu.device import DEVICE, DRY
from lossreg_segmentation.statistics import Activation
from lossreg_segmentation.statistics.request import Request

DICE = ("intersection", "predicted", "actual")
DICE_CROSS_ENTROPY = (*DICE, "valid", "cross_entropy_positive")
SAM = (*DICE, "valid", "focal_positive", "focal_negative", "hard_intersection", "hard_union")

# Sizes of small images: two and a half blocks of a mask kernel, and one whose rows begin at odd addresses.
EVEN, ODD = ((8, 12), (5, 7)) if DRY else ((64, 80), (37, 41))


class Case(NamedTuple):
    """One kind of call.

    target: "mask", one for each channel; "shared", one for all channels; "index", of the class of each pixel.
    """

    name: str
    shape: tuple[int, int, int, int]
    dtype: torch.dtype
    target: str
    needs: tuple[str, ...]

    @property
    def activation(self) -> Activation:
        """Return the activation for this target."""
        return "softmax" if self.target == "index" else "sigmoid"

    def small(self) -> Case:
        """Return the same case for two small images."""
        size = ODD if self.shape[-1] % 2 else EVEN
        return self._replace(shape=(2, self.shape[1], *size))

    def tensors(self) -> tuple[Tensor, Tensor]:
        """Draw logits (B, C, L) and a target with a tenth of positives, or with all classes equally often."""
        batch, channels, height, width = self.shape
        length = height * width
        logits = (2 * torch.randn(batch, channels, length, device=DEVICE)).to(self.dtype)
        if self.target == "index":
            return logits, torch.randint(channels, (batch, length), device=DEVICE)
        masks = torch.rand(batch, 1 if self.target == "shared" else channels, length, device=DEVICE) < 0.1
        return logits, masks.to(torch.uint8)

    def request(self) -> Request:
        """Return the request of the pass for the driver."""
        return Request(self.activation, self.needs, gamma=2.0, ignore_index=None, threshold=0.0)


CASES = (
    Case("sam bf16", (24, 3, 1024, 1024), torch.bfloat16, "shared", SAM),
    Case("sam f32", (4, 3, 1024, 1024), torch.float32, "shared", SAM),
    Case("dice f32", (8, 1, 512, 512), torch.float32, "mask", DICE),
    Case("dice bf16 large", (24, 3, 1024, 1024), torch.bfloat16, "mask", DICE),
    Case("sam bf16 odd", (8, 3, 513, 513), torch.bfloat16, "mask", SAM),
    Case("classes 21 f32", (2, 21, 512, 512), torch.float32, "index", DICE_CROSS_ENTROPY),
    Case("classes 21 bf16 large", (16, 21, 512, 512), torch.bfloat16, "index", DICE_CROSS_ENTROPY),
    Case("classes 150 bf16", (4, 150, 512, 512), torch.bfloat16, "index", DICE_CROSS_ENTROPY),
)
