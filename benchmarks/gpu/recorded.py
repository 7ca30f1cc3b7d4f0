"""Launches of GPU kernels that are recorded, and compiled without a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction

from gpu import sass

TYPES = {
    torch.float32: "fp32",
    torch.float64: "fp64",
    torch.bfloat16: "bf16",
    torch.float16: "fp16",
    torch.uint8: "u8",
    torch.int32: "i32",
    torch.int64: "i64",
}


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


@contextmanager
def recorded() -> Iterator[list[Launch]]:
    """Record launches inside, and launch nothing."""
    found: list[Launch] = []

    def record(kernel: Any, *arguments: Any, grid: Any, warmup: bool, num_warps: int, **constants: Any) -> None:
        constants.pop("enable_fp_fusion")
        found.append(Launch(kernel, dict(zip(kernel.arg_names, arguments, strict=False)), constants, num_warps))

    with patch.object(JITFunction, "run", record):
        yield found
