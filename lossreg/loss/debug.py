"""The debug switch: checks of tensor values that would cost a device sync in training."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_enabled: ContextVar[bool] = ContextVar("lossreg_debug", default=os.environ.get("LOSSREG_DEBUG") == "1")


@contextmanager
def debug_checks(enabled: bool = True) -> Iterator[None]:
    """Check values inside the block: NaN and infinite logits, targets on a device, batches that are all ignored.

    Each check reads the tensors, so a device is synchronised. LOSSREG_DEBUG=1, set before Python starts, does the same
    for a whole process. A new thread starts without the block's setting. No value is ever changed.
    """
    token = _enabled.set(enabled)
    try:
        yield
    finally:
        _enabled.reset(token)


# Return whether the checks are enabled in this context. Without a function around it, because every step calls it.
debugging = _enabled.get
