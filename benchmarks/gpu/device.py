"""The device of the kit: a GPU, or for a dry run the CPU with Triton's interpreter."""

from __future__ import annotations

import os
import sys

import torch
from peers import versions

DRY = os.environ.get("DRY") == "1"
DEVICE = torch.device("cpu" if DRY else "cuda")


def require() -> None:
    """Exit with a remedy if the kernels cannot run as requested."""
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    if DRY and not interpreted:
        sys.exit("DRY=1 runs the kernels in Triton's interpreter: set TRITON_INTERPRET=1 as well")
    if interpreted and not DRY:
        sys.exit("TRITON_INTERPRET=1 would time the interpreter: unset it, or set DRY=1 for a dry run on the CPU")
    if not DRY and not torch.cuda.is_available():
        sys.exit("torch finds no GPU here; DRY=1 TRITON_INTERPRET=1 runs the scripts on the CPU")


def heading() -> str:
    """Return the names of the device and the versions."""
    name = "dry run in Triton's interpreter" if DRY else torch.cuda.get_device_name()
    return f"{name}. {', '.join(versions())}."
