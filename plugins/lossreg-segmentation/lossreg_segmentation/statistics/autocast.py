"""Computation outside of autocast, which would round sums over pixels to half precision."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def outside_autocast(x: Tensor) -> AbstractContextManager[object]:
    """Disable autocast, so that products keep their own type; backward, too, may be called under autocast."""
    if x.is_meta:  # torch knows no autocast for them
        return nullcontext()
    device = x.device.type
    # Checked first, because the context alone takes microseconds.
    return torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else nullcontext()
