"""The debug switch: checks of tensor values that would cost a device sync in training."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

_enabled: ContextVar[bool] = ContextVar("lossreg_debug", default=os.environ.get("LOSSREG_DEBUG") == "1")


@contextmanager
def debug_checks(enabled: bool = True) -> Iterator[None]:
    """Check the values of logits and targets inside the block.

        with lossreg.debug_checks():
            loss(logits, target)

    What the losses of segmentation and of Segment Anything check beside types and shapes, where a pixel counts:

    - An error: NaN or infinite logits, with the place of the first. -inf is allowed for a class that the target has
      not, as softmax leaves it out.
    - An error: mask values or class indices out of range, also on a GPU, before the pass. On a CPU they always are.
    - An error: masks that overlap under task="multiclass".
    - A warning, once: logits that all lie between 0 and 1, as probabilities do.
    - A warning, once: masks whose last axis may have the channels, (N, H, W, C), where axis 1 should.
    - A warning: batches that are ignored whole.

    No value is ever changed. Each check reads the tensors, so a device is synchronised. LOSSREG_DEBUG=1, set before
    Python starts, does the same for a whole process. A new thread starts without the block's setting. A loss in
    torch.compile reads the switch in each call. Values that cannot be read are not checked: of meta and fake tensors,
    under torch.vmap, and inside torch.export and CUDA graphs.

    Args:
        enabled: False disables the checks inside the block.
    """
    token = _enabled.set(enabled)
    try:
        yield
    finally:
        _enabled.reset(token)


def is_free_to_read(x: Tensor) -> bool:
    """Return True if the values of a tensor can be read here, and reading them waits for no device."""
    if x.device.type != "cpu" or type(x) is not Tensor or torch.compiler.is_compiling():
        return False
    return not (torch._C._are_functorch_transforms_active() or torch._C._len_torch_dispatch_stack())


# Return whether the checks are enabled in this context. Without a function around it, because every step calls it.
debugging = _enabled.get
