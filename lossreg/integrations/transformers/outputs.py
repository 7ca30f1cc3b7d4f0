"""The logits in the output of a model of transformers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from lossreg.integrations.adapt import Adapt, plain


def logits_of(output: Any, *targets: Any) -> tuple[Any, ...]:
    """Return the logits of a model's output and the targets; logits of pictures at the size of the first target."""
    logits = output[0] if isinstance(output, tuple) else output
    if isinstance(output, Mapping):
        logits = output.get("logits", output)
    tensors = [value for value in (logits, *targets[:1]) if isinstance(value, Tensor)]
    if logits is not output and [value.ndim for value in tensors] in ([4, 3], [4, 4]):
        return Adapt(resize="bilinear")(logits, *targets)
    return (plain(logits), *map(plain, targets))
