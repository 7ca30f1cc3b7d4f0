"""A kernel's machine code: what a multiprocessor can hold of it, and the instructions for each logit."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import triton

TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
WARP = 32
# Of a multiprocessor: warps, blocks, registers of each of its four parts, and bytes of shared memory.
MOST_WARPS, MOST_BLOCKS, PARTS, REGISTERS = 64, 32, 4, 16384
SHARED = {80: 164 * 1024, 90: 228 * 1024}
# Registers are given to a warp, and shared memory to a block, in units.
UNIT, RESERVED = 256, 1024

_INSTRUCTION = re.compile(r"^\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_]*)((?:\.\w+)*)(.*)")
_LABEL = re.compile(r"^(\.L_x_\w+):")


class Usage(NamedTuple):
    """What a program needs; spills are bytes for each thread in local memory."""

    registers: int
    spills: int
    shared: int

    def occupancy(self, warps: int, architecture: int) -> float:
        """Return the share of a multiprocessor's warps that run at once."""
        of_warp = -(-self.registers * WARP // UNIT) * UNIT
        blocks = min(PARTS * (REGISTERS // of_warp) // warps, MOST_BLOCKS, MOST_WARPS // warps)
        return min(blocks, SHARED[architecture] // (self.shared + RESERVED)) * warps / MOST_WARPS


class Code(NamedTuple):
    """Instructions, by name with its suffixes, and loops as (first, last) instruction."""

    instructions: tuple[str, ...]
    loops: tuple[tuple[int, int], ...]

    def for_each_step(self, steps: float, inner: int) -> float:
        """Return the instructions of a thread for each turn of the outermost loops.

        Args:
            steps: turns of the outermost loops, over which the instructions outside them are spread.
            inner: turns of a loop inside another one.
        """
        outermost = [loop for loop in self.loops if not any(_inside(loop, other) for other in self.loops)]
        within = [loop for loop in self.loops if loop not in outermost]
        nested = sum(_length(loop) for loop in within if not any(_inside(loop, other) for other in within))
        each = sum(map(_length, outermost)) + (inner - 1) * nested
        if not outermost:
            return len(self.instructions)
        return each + (len(self.instructions) - sum(map(_length, outermost))) / steps

    def memory(self) -> list[str]:
        """Return the kinds of loads and stores of global memory that occur, the widest first."""
        found = {re.sub(r"\.(E|CONSTANT|STRONG|GPU|EF|LTC\w*)\b", "", name) for name in self.instructions}
        kinds = [name for name in found if name.startswith(("LDG", "STG"))]
        return sorted(kinds, key=lambda name: (name[:3], -_width(name), name))


def usage(cubin: bytes) -> Usage:
    """Read the resources of a compiled kernel."""
    text = _tool("cuobjdump", cubin, "-res-usage")
    numbers = {name: int(number) for name, number in re.findall(r"(REG|STACK|SHARED|LOCAL):(\d+)", text)}
    return Usage(numbers["REG"], numbers["STACK"] + numbers["LOCAL"], numbers["SHARED"])


def code(cubin: bytes) -> Code:
    """Read the instructions of a compiled kernel."""
    return parsed(_tool("nvdisasm", cubin, "-c").splitlines())


def parsed(lines: Sequence[str]) -> Code:
    """Parse a disassembly. A branch to an earlier label ends a loop; the one to itself, behind the end, does not."""
    names: list[str] = []
    labels: dict[str, int] = {}
    loops = []
    for line in lines:
        if label := _LABEL.match(line):
            labels[label[1]] = len(names)
        elif found := _INSTRUCTION.match(line):
            names.append(found[1] + found[2])
            target = re.search(r"\((\.L_x_\w+)\)", found[3])
            if found[1] == "BRA" and target and labels.get(target[1], len(names)) < len(names) - 1:
                loops.append((labels[target[1]], len(names) - 1))
    while names and names[-1] == "NOP":  # fill the last line of the instruction cache
        names.pop()
    return Code(tuple(names), tuple(loops))


def _tool(name: str, cubin: bytes, option: str) -> str:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        return subprocess.run([TOOLS / name, option, file.name], capture_output=True, text=True, check=True).stdout


def _length(loop: tuple[int, int]) -> int:
    return loop[1] - loop[0] + 1


def _inside(loop: tuple[int, int], other: tuple[int, int]) -> bool:
    return loop != other and other[0] <= loop[0] and loop[1] <= other[1]


def _width(name: str) -> int:
    widths = {"128": 128, "64": 64, "U16": 16, "S16": 16, "U8": 8, "S8": 8}
    return next((width for suffix, width in widths.items() if name.endswith(f".{suffix}")), 32)
