"""The command line: `python -m gpu WHAT`, with `benchmarks/` on the path."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable

import torch

from gpu.device import heading, require
from gpu.kernels import kernels, once
from gpu.smoke import smoke

COMMANDS: dict[str, Callable[[], bool]] = {"smoke": smoke, "kernels": kernels, "once": once}


def main() -> None:
    """Run one part; exit with 1 if a check in it failed."""
    parser = argparse.ArgumentParser(prog="python -m gpu", description="DRY=1 TRITON_INTERPRET=1: tiny, on the CPU.")
    parser.add_argument(
        "part",
        choices=COMMANDS,
        help="smoke: every path against float64. kernels: the passes alone. once: each pass once, for a profiler",
    )
    part = parser.parse_args().part
    require()
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler's own start and stop
    print(heading())
    torch.manual_seed(0)
    if not COMMANDS[part]():
        sys.exit(1)


if __name__ == "__main__":
    main()
