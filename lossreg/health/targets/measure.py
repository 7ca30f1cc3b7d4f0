"""What one target adds to the report. Targets are measured apart, in any order, and then summed in theirs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from lossreg.health.targets.arrays import as_array
from lossreg.health.targets.pixels import Pixels, sum_pixels
from lossreg.health.targets.report import Coloured, Flag, Mask, Target, Unreadable

MOST_IN_A_MASK: Final = 64  # values; masks of classes have fewer, photographs more


@dataclass(frozen=True)
class Measurement:
    """The numbers of a target, and its problems as pairs of rule and example. pixels: None if they are not known."""

    kind: type[Target]
    name: str
    empty: bool = False
    pixels: Pixels | None = None
    dtype: str = ""
    shape: str = ""
    palette: tuple[tuple[int, str], ...] = ()
    colours: tuple[str, ...] = ()
    problems: list[tuple[str, str]] = field(default_factory=list)


def measure(target: Target, ignore_index: int | None, *, thin: bool = False) -> Measurement:
    """Return the numbers and the problems of a target.

    Args:
        ignore_index: value of pixels that do not count.
        thin: measure how much of the foreground is thin, too.
    Raises:
        ShapeError: an array is a single number, has no pixels, or does not hold numbers.
    """
    name = target.name
    if isinstance(target, Unreadable):
        return Measurement(Unreadable, name, problems=[("unreadable", f"{name}: {target.reason}")])
    if isinstance(target, Flag):
        return Measurement(Flag, name, empty=not target.present)
    if isinstance(target, Coloured):
        rule = "coloured" if target.colours else "many colours"
        return Measurement(Coloured, name, colours=target.colours, problems=[(rule, name)])
    if target.values is None:
        return Measurement(Mask, name, empty=True, problems=[("missing", name)])
    values = as_array(target.values)
    pixels = sum_pixels(values, ignore_index, thin=thin)
    return Measurement(
        Mask,
        name,
        empty=pixels.foreground == 0 < pixels.total,
        pixels=pixels,
        dtype=values.dtype.name,
        shape="x".join(map(str, values.shape)),
        palette=target.palette,
        problems=list(_problems(target, pixels)),
    )


def _problems(mask: Mask, pixels: Pixels) -> list[tuple[str, str]]:
    """Return the problems of a mask with pixels, as pairs of rule and example."""
    values = f"over {len(pixels.counts):,}" if pixels.more and pixels.fraction is None else f"{len(pixels.counts):,}"
    found = {
        "alpha" if mask.alpha else "reading": mask.note,
        "nan": pixels.nan and f"{pixels.nan} pixels",
        "infinite": pixels.infinite and f"{pixels.infinite} pixels",
        "negative": pixels.low < 0 and f"{pixels.low:g}",
        "interpolated": pixels.classes and f"{values} values, with many pixels at {_listed(pixels.classes)}",
        "non-integer": not pixels.classes and pixels.fraction is not None and f"{pixels.fraction:g}",
        "many values": not pixels.classes and len(pixels.counts) > MOST_IN_A_MASK and f"{values} values",
    }
    problems = [*mask.problems, *((rule, f"{mask.name}: {example}") for rule, example in found.items() if example)]
    return problems if pixels.total else [*problems, ("ignored", mask.name)]


def _listed(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values[:-1]) + f" and {values[-1]:g}" if values[1:] else f"{values[0]:g}"
