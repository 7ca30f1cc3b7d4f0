"""Compile the GPU kernels without a GPU and write docs/benchmarks/kernels.md: `python -m gpu.compiled`.

The driver launches on tensors without memory; a launch is recorded, then compiled for each architecture.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
import triton
from torch import Tensor

from gpu import sass
from gpu.between import rows_between
from gpu.cases import DICE, DICE_CROSS_ENTROPY, SAM
from gpu.recorded import Launch, recorded
from lossreg_segmentation.statistics import triton_driver
from lossreg_segmentation.statistics.request import Request, sums_dtype

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks" / "kernels.md"
ARCHITECTURES = (90, 80)
PIXELWISE = (
    *DICE,
    "valid",
    "cross_entropy_positive",
    "cross_entropy_negative",
    "focal_positive",
    "focal_negative",
)


class Variant(NamedTuple):
    """A kind of call. target: "mask", "shared" by all masks, "soft", or "index" of classes."""

    name: str
    shape: tuple[int, int, int]
    dtype: torch.dtype
    target: str
    needs: tuple[str, ...]
    ignore: int | None = None
    channels_last: bool = False

    def tensors(self) -> tuple[Tensor, Tensor]:
        """Return logits and a target without memory."""
        batch, channels, length = self.shape
        x = torch.empty(self.shape, dtype=self.dtype, device="meta")
        if self.channels_last:
            x = torch.empty((batch, length, channels), dtype=self.dtype, device="meta").movedim(2, 1)
        if self.target == "index":
            return x, torch.empty((batch, length), dtype=torch.int64, device="meta")
        kind = self.dtype if self.target == "soft" else torch.uint8
        return x, torch.empty((batch, 1 if self.target == "shared" else channels, length), dtype=kind, device="meta")

    def request(self) -> Request:
        """Return the request of the pass."""
        return Request("softmax" if self.target == "index" else "sigmoid", self.needs, 2.0, self.ignore, 0.0)


MASKS = (
    Variant("Dice, float32", (8, 1, 512**2), torch.float32, "mask", DICE),
    Variant("Dice, bfloat16", (24, 3, 1024**2), torch.bfloat16, "mask", DICE),
    Variant("Dice + BCE + focal, float32", (8, 1, 512**2), torch.float32, "mask", PIXELWISE),
    Variant("SAM, float32", (4, 3, 1024**2), torch.float32, "shared", SAM),
    Variant("SAM, bfloat16", (24, 3, 1024**2), torch.bfloat16, "shared", SAM),
    Variant("SAM, bfloat16, ignored positions", (24, 3, 1024**2), torch.bfloat16, "shared", SAM, 255),
    Variant("SAM, bfloat16, 513 x 513", (8, 3, 513**2), torch.bfloat16, "mask", SAM),
    Variant("SAM, bfloat16, 513 x 513, one target", (8, 3, 513**2), torch.bfloat16, "shared", SAM),
    Variant("SAM, float32, soft target", (4, 3, 1024**2), torch.float32, "soft", SAM),
    Variant("SAM, float64", (4, 3, 1024**2), torch.float64, "shared", SAM),
    Variant("SAM, float32, channels last", (4, 3, 1024**2), torch.float32, "shared", SAM, None, True),
)
CLASSES = tuple(
    Variant(
        f"Dice + CE, {channels} classes, {name}", (2, channels, length), dtype, "index", DICE_CROSS_ENTROPY, *others
    )
    for channels, name, length, dtype, *others in (
        (21, "float32", 512**2, torch.float32),
        (21, "bfloat16", 512**2, torch.bfloat16),
        (21, "float32, ignored pixels", 512**2, torch.float32, 255),
        (21, "float32, 513 x 513", 513**2, torch.float32),
        (21, "float32, channels last", 512**2, torch.float32, None, True),
        (150, "float32", 512**2, torch.float32),
        (150, "bfloat16", 512**2, torch.bfloat16),
    )
)
WHOLE = (
    ("Dice", MASKS[0]),
    ("Dice + BCE + focal", MASKS[2]),
    ("SAM", MASKS[3]),
    ("Dice + CE, 21 classes", CLASSES[0]),
    ("Dice + CE, 150 classes", CLASSES[5]),
)


def launches(variant: Variant) -> list[Launch]:
    """Return the launches of both passes."""
    (x, t), request = variant.tensors(), variant.request()
    factors = torch.empty(len(variant.needs), x.shape[0] * x.shape[1], dtype=sums_dtype(x), device="meta")
    with recorded() as found:
        triton_driver.sums_parts(x, t, request)
        triton_driver.gradient(x, t, factors, factors[0, 0], request)
    return found


def rows(variants: Sequence[Variant]) -> Iterator[str]:
    """Yield a row for each variant, pass and architecture."""
    for variant in variants:
        for launch in launches(variant):
            logits, steps, inner = launch.work(variant.shape[1])
            for architecture in ARCHITECTURES:
                cubin = launch.compiled(architecture)
                used, code = sass.usage(cubin), sass.code(cubin)
                cells = (
                    variant.name,
                    launch.kernel.__name__.split("_")[1],
                    f"sm_{architecture}",
                    f"{used.registers}",
                    f"{used.spills}",
                    f"{used.occupancy(launch.warps, architecture):.0%}",
                    f"{code.for_each_step(steps, inner) / logits:.1f}",
                    ", ".join(code.memory()),
                )
                print(*cells, sep="  ", file=sys.stderr, flush=True)
                yield f"| {' | '.join(cells)} |"


def page() -> str:
    """Compile all variants and return the page."""
    lines = [
        "# The compiled GPU kernels",
        "",
        f"Triton {triton.__version__}, compiled without a GPU by `python -m gpu.compiled`; nothing was run.",
        "Instructions are those of a thread for each of its logits, with both ways of every branch: masked reads at",
        "the edges of an image count as well, though most programs never take them. Spills are bytes of a thread.",
        "",
        "| call | kernel | for | registers | spills | occupancy | instructions per logit | loads and stores |",
        "|---|---|---|--:|--:|--:|--:|---|",
        *rows((*MASKS, *CLASSES)),
        "",
        "Between both passes of a loss, one program for each example turns the sums into value and slopes. Where the",
        "partial sums are very many, `add_parts` adds them up first.",
        "",
        "| loss | kernel | for | registers | spills |",
        "|---|---|---|--:|--:|",
        *rows_between(WHOLE, ARCHITECTURES),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
