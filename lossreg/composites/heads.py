"""The stacked outputs of several heads, which look like one level of another shape."""

from __future__ import annotations

from torch import Tensor

from lossreg.errors import ShapeError


def refuse_stacked_heads(input: object, target: object) -> None:
    """Raise ShapeError for one tensor (N, heads, C, *) whose target is (N, C, *) with C = 1, (N, 1, *) or (N, *).

    As the finest level alone it would have a softmax over the heads.
    """
    if not isinstance(input, Tensor) or not isinstance(target, Tensor) or input.ndim < 5:
        return
    batch, pixels = input.shape[0], input.shape[3:]
    if target.shape in ((batch, 1, *pixels), (batch, *pixels)):
        raise ShapeError(
            f"input has shape {tuple(input.shape)} and target {tuple(target.shape)}: if axis 1 of input stacks the"
            " outputs of several heads, use input.unbind(1); for one level of volumes of depth 1 give [input]"
        )
