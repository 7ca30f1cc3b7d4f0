"""Conversion of tensors and nested lists to NumPy arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lossreg.errors import ShapeError

if TYPE_CHECKING:
    import numpy.typing as npt


def as_array(values: Any) -> npt.NDArray[Any]:
    """Return a tensor, an array or nested lists as an array of numbers with at least one dimension.

    Raises:
        ShapeError: the values are a single number, have no pixels, or are not numbers.
    """
    import numpy as np

    if hasattr(values, "detach"):  # a tensor
        values = values.detach().cpu()
        values = values.float() if str(values.dtype) == "torch.bfloat16" else values  # which NumPy lacks
    try:
        found = np.asarray(values)
    except (TypeError, ValueError) as error:  # lists of unequal length
        raise ShapeError(f"expected an array of numbers: {error}") from error
    if found.dtype.kind not in "biuf":
        raise ShapeError(f"expected booleans, integers or floats, got dtype {found.dtype}")
    if found.ndim == 0:
        raise ShapeError(f"expected a mask (H, W), got the number {found.item()!r}; a class label is not a mask")
    if found.size == 0:
        raise ShapeError(f"expected a mask (H, W), got shape {found.shape} without pixels")
    return found
