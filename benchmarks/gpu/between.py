"""The kernels between both passes of a whole loss, compiled without a GPU."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import lossreg
from gpu import sass
from gpu.recorded import Launch, recorded
from lossreg_segmentation.one_function.device import DevicePlan
from lossreg_segmentation.one_function.plan import Kind
from lossreg_segmentation.one_function.tables import Table
from lossreg_segmentation.ratios import Formula


def between(name: str, variant: Any) -> list[Launch]:
    """Return the launches between both passes of a loss."""
    x, t = variant.tensors()
    kind = Kind(x.shape, x.dtype, t.shape, t.dtype, "triton", x.device)
    plan = DevicePlan(variant.request(), kind, [Table(formulas_of(name, x.shape[1]))])
    predicted = x[..., 0] if name == "SAM" else None
    with recorded() as found:
        plan.finished(x, t, predicted, mean=True)
    return found[1:]


def formulas_of(name: str, channels: int) -> dict[str, Formula]:
    """Return the terms of a loss."""
    names = {"Dice": ["dice"], "Dice + BCE + focal": ["bce_dice_focal"], "SAM": ["sam"]}
    found: dict[str, Formula] = {}
    for each in names.get(name, ["dice", "cross_entropy"]):
        loss: Any = lossreg.build(each)
        found |= (
            loss.formulas() if each == "sam" else loss.formulas("multiclass" if channels > 3 else "binary", channels)
        )
    return found


def rows_between(whole: Sequence[tuple[str, Any]], architectures: Sequence[int]) -> Iterator[str]:
    """Yield a row for each kernel between the passes and architecture."""
    for name, variant in whole:
        for launch in between(name, variant):
            for architecture in architectures:
                used = sass.usage(launch.compiled(architecture))
                kernel = launch.kernel.__name__
                cells = (name, kernel, f"sm_{architecture}", f"{used.registers}", f"{used.spills}")
                print(*cells, sep="  ", file=sys.stderr, flush=True)
                yield f"| {' | '.join(cells)} |"
