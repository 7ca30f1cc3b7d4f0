"""The debug switch: checks of tensor values that would cost a device sync in training."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_enabled: ContextVar[bool | None] = ContextVar("lossreg_debug", default=None)


@contextmanager
def debug_checks(enabled: bool = True) -> Iterator[None]:
    """Check values inside the block: NaN and infinite logits, targets on a device, batches that are all ignored.

    Each check reads the tensors, so a device is synchronised. LOSSREG_DEBUG=1 does the same for a whole process.
    A new thread starts without the block's setting. No value is ever changed.
    """
    token = _enabled.set(enabled)
    try:
        yield
    finally:
        _enabled.reset(token)


def debugging() -> bool:
    """Return whether the checks are enabled in this context."""
    enabled = _enabled.get()
    return os.environ.get("LOSSREG_DEBUG") == "1" if enabled is None else enabled
