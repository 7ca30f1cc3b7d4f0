"""The outputs of a model of transformers: the logits in them, and their form for predictions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from lossreg.integrations.adapt import Adapt, plain


def logits_of(output: Any, *targets: Any) -> tuple[Any, ...]:
    """Return the logits of a model's output and the targets.

    Logits of pictures get the size of the first target; those of tokens, (N, length, classes), have the classes second.
    """
    logits = output[0] if isinstance(output, tuple | list) else output
    if isinstance(output, Mapping):
        logits = output.get("logits", output)
    tensors = [value for value in (logits, *targets[:1]) if isinstance(value, Tensor)]
    if logits is not output and [value.ndim for value in tensors] in ([4, 3], [4, 4]):
        return Adapt(resize="bilinear")(logits, *targets)
    if logits is not output and [value.ndim for value in tensors] == [3, 2] and logits.shape[:2] == tensors[1].shape:
        logits = logits.movedim(-1, 1)
    return (plain(logits), *map(plain, targets))


def with_loss(loss: Tensor, outputs: Any) -> Any:
    """Return outputs with the loss before those of a tuple: the Trainer takes the others for the predictions."""
    if isinstance(outputs, dict):
        return outputs
    parts = tuple(outputs) if isinstance(outputs, tuple | list) else (outputs,)
    has_loss = bool(parts) and isinstance(parts[0], Tensor) and parts[0].ndim == 0
    return parts if has_loss else (loss, *parts)
