"""The masks that rules of predictions judge."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lossreg.health.window import Example, Mask, Update

LOWEST, HIGHEST = -0.5, 1.5  # of a mask's values; resizing overshoots 0 and 1, by less


def are_masks(example: Example) -> bool:
    """Return False if values of the target are those of no mask: class ids, 0 and 255, or a regression's."""
    return example.values is None or not (example.values[0] < LOWEST or example.values[1] > HIGHEST)


def judged_masks(updates: Sequence[Update]) -> Iterator[tuple[int, Example, int, Mask]]:
    """Yield the number of the example among the updates, the example, the class and the mask.

    Left out are masks without prediction or target, with NaN, without valid pixels, and with values of no mask, which
    are reported by TargetRange.
    """
    examples = (example for update in updates for example in update.examples)
    for place, example in enumerate(examples):
        if not are_masks(example):
            continue
        for number, mask in enumerate(example.masks):
            known = mask.valid > 0 and mask.predicted is not None and mask.foreground is not None
            if known and mask.predicted == mask.predicted:  # not NaN, which NonFinite reports
                yield place, example, number, mask


def exclude_each_other(masks: Sequence[Sequence[Mask]]) -> bool:
    """Return True if the masks of examples are exclusive classes: their probabilities add up to 1."""
    sums = [sum(mask.predicted or 0.0 for mask in row) for row in masks]
    return any(len(row) > 1 for row in masks) and all(abs(total - 1) < 0.01 for total in sums)
