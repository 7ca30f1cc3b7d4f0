"""Statistics of a data set's masks, for a look before training: empty masks, foreground, values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

from lossreg.health.targets.in_order import map_in_order
from lossreg.health.targets.measure import Measurement, measure
from lossreg.health.targets.pairs import Pairs
from lossreg.health.targets.report import Coloured, Flag, Mask, TargetReport, Unreadable
from lossreg.health.targets.sources import MaskFile, files_of, read_targets
from lossreg.health.targets.tally import Tally
from lossreg.messages import require

Progress = Callable[[Iterator[Measurement], int | None], Iterable[Measurement]]


def examine(masks: Iterable[object], *, ignore_index: int | None = None, thin: bool = False) -> TargetReport:
    """Return statistics of masks. Each is read once, one at a time.

    Foreground is every value above 0. A mask of several planes (C, H, W) counts as one. One-hot planes are read as
    class indices, with 0 for the background.

    Args:
        masks: arrays or tensors of any size, (H, W), (1, H, W), (C, H, W) or volumes, of booleans, integers or floats;
            or `Mask`, `Coloured`, `Flag` and `Unreadable`, the results of `read_targets`.
        ignore_index: value of pixels that do not count.
        thin: measure how much of the foreground is lines a few pixels wide, which `suggest` uses. It takes as long
            again.
    Raises:
        MissingLibraryError: NumPy is not installed.
        ShapeError: an array is a single number, has no pixels, or does not hold numbers.
    """
    require("numpy", extra="targets", use="check-targets")
    tally = Tally(thin=0 if thin else None)
    for number, item in enumerate(masks):
        target = item if isinstance(item, (Mask, Coloured, Flag, Unreadable)) else Mask(f"mask {number}", item)
        tally.add(measure(target, ignore_index, thin=thin))
    return tally.report()


def examine_source(
    where: str | Path,
    *,
    column: str | None = None,
    limit: int | None = None,
    images: Path | None = None,
    ignore_index: int | None = None,
    thin: bool = False,
    workers: int = 1,
    progress: Progress = lambda found, _: found,
) -> TargetReport:
    """Return statistics of the masks of a source, as `read_targets` reads it.

    Args:
        where, column, limit: those of `read_targets`.
        images: the folder of the images that belong to files of masks; their sizes are compared.
        ignore_index, thin: those of `examine`.
        workers: threads that read files, at least 1. The result does not depend on it.
        progress: gets the measurements and the number of files, None if it is unknown, and yields the measurements.
    Raises:
        LossregError: there is no such source, it holds no targets, or `images` is not for it.
        MissingLibraryError: a library that reads it is not installed.
    """
    files = files_of(where, column=column, limit=limit, images=images)
    tally = Tally(thin=0 if thin else None)
    if files is None:
        found = (measure(each, ignore_index, thin=thin) for each in read_targets(where, column=column, limit=limit))
        for each in progress(found, limit):
            tally.add(each)
        return tally.report()
    pairs = Pairs(images) if images is not None else None

    def measured(file: MaskFile) -> list[Measurement]:
        targets = file.read() if pairs is None else pairs.check(file.read(), file.name)
        return [measure(each, ignore_index, thin=thin) for each in targets]

    found = (each for of_file in map_in_order(measured, files, workers) for each in of_file)
    for each in progress(islice(found, limit), len(files) if len(files) > 1 else None):
        tally.add(each)
    if pairs is not None and limit is None:
        for path in pairs.without_mask:
            tally.problems.add("no mask", path.as_posix())
    return tally.report()
