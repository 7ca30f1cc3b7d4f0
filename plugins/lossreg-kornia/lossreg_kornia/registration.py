"""Mutual information with a fixed reference, a parameter of the loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Field
from torch import Tensor

from lossreg.authoring import Functions
from lossreg_kornia.library import Positive, library

KERNELS = ("xu", "rectangular", "truncated_gaussian")
SIGNAL = [0.0, 0.25, 0.5, 1.0]

# The config contains the reference. For a changing one, kornia/mutual_information takes it with each call.
HINTS: dict[str, Any] = {
    "reference_signal": Tensor,
    "kernel_function": Annotated[
        Callable[..., Tensor], Functions({kernel: f"kornia.losses:MIKernel.{kernel}" for kernel in KERNELS})
    ],
    "num_bins": Annotated[int, Field(ge=2)],
    "window_radius": Positive,
}

for dimensions, what, example in [
    ("", "signals", SIGNAL),
    ("2D", "images", [SIGNAL] * 2),
    ("3D", "volumes", [[SIGNAL] * 2] * 2),
]:
    for prefix, name, summary in [
        ("MI", "mutual_information", "Negative mutual information"),
        ("NMI", "normalized_mutual_information", "Negative normalised mutual information"),
    ]:
        library.loss(
            f"kornia.losses:{prefix}LossFromRef{dimensions}",
            f"{name}_from_ref" + (f"_{dimensions.lower()}" if dimensions else ""),
            summary=f"{summary} of {what} with a reference that is built in.",
            tags=["registration"],
            input=f"{what} of the reference's shape",
            target_kind="none",
            needs_labels=False,
            family=name,
            example={"reference_signal": example},
            hints=HINTS,
        )
