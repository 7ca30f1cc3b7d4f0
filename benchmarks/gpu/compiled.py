"""Compile the GPU kernels without a GPU and write docs/benchmarks/kernels.md: `python -m gpu.compiled`.

The driver launches on tensors without memory; a launch is recorded, then compiled for each architecture.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction

from gpu import sass
from gpu.cases import DICE, DICE_CROSS_ENTROPY, SAM
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
TYPES = {
    torch.float32: "fp32",
    torch.float64: "fp64",
    torch.bfloat16: "bf16",
    torch.float16: "fp16",
    torch.uint8: "u8",
    torch.int32: "i32",
    torch.int64: "i64",
}


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


class Launch(NamedTuple):
    """A recorded launch of a kernel."""

    kernel: Any
    arguments: dict[str, Any]
    constants: dict[str, Any]
    warps: int

    def compiled(self, architecture: int) -> bytes:
        """Compile it as Triton does in a launch: a size of 1 is a constant, a multiple of 16 is known as one."""
        constants, signature, known = dict(self.constants), {}, {}
        for place, param in enumerate(self.kernel.params):
            value = self.arguments.get(param.name)
            if param.name not in self.arguments:
                signature[param.name] = "constexpr"
            elif value is None or (isinstance(value, int) and value == 1 and not param.do_not_specialize):
                signature[param.name], constants[param.name] = "constexpr", value
            else:
                pointer = isinstance(value, Tensor)
                signature[param.name] = f"*{TYPES[value.dtype]}" if pointer else f"i{64 if abs(value) >> 31 else 32}"
                if pointer or (value % 16 == 0 and not param.do_not_specialize):
                    known[(place,)] = [["tt.divisibility", 16]]
        names = self.kernel.arg_names
        source = ASTSource(self.kernel, signature, {(names.index(name),): x for name, x in constants.items()}, known)
        options = {"num_warps": self.warps, "enable_fp_fusion": True}
        binary: bytes = triton.compile(source, target=GPUTarget("cuda", architecture, 32), options=options).asm["cubin"]
        return binary

    def work(self, classes: int) -> tuple[float, float, int]:
        """Return the logits of a thread in a step, the steps of a program, and the turns of loops within a step."""
        constants, threads = self.constants, sass.WARP * self.warps
        if "BLOCK" in constants:
            return constants["BLOCK"] / threads, self.arguments["length"] / constants["BLOCK"], 1
        return constants["V"] * constants["W"] * classes / threads, self.arguments["steps"], constants["CHUNKS"]


def launches(variant: Variant) -> Iterator[Launch]:
    """Yield the launches of both passes."""
    found: list[Launch] = []

    def record(kernel: Any, *arguments: Any, grid: Any, warmup: bool, num_warps: int, **constants: Any) -> None:
        constants.pop("enable_fp_fusion")
        found.append(Launch(kernel, dict(zip(kernel.arg_names, arguments, strict=False)), constants, num_warps))

    (x, t), request = variant.tensors(), variant.request()
    factors = torch.empty(len(variant.needs), x.shape[0] * x.shape[1], dtype=sums_dtype(x), device="meta")
    with patch.object(JITFunction, "run", record):
        triton_driver.sums_parts(x, t, request)
        triton_driver.gradient(x, t, factors, factors[0, 0], request)
    yield from found


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
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
