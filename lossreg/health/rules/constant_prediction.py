"""The rule for predictions that do not depend on the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, ClassVar, NamedTuple

from lossreg.health.event import Finding
from lossreg.health.rules.judged import judged_masks
from lossreg.health.rules.rule import Rule, Verdicts
from lossreg.health.window import Example, Mask, Update, Window, ids

HINT = (
    "the prediction does not depend on the image: look for dead activations, a learning rate that is too high,"
    " identical inputs, and a head without gradient"
)


class _Row(NamedTuple):
    example: Example
    is_constant: bool
    predicted: float


@dataclass(frozen=True, kw_only=True)
class ConstantPrediction(Rule):
    """A prediction that does not depend on the image.

    It is the same at every pixel of an example, in all of its masks. Or it is the same for all examples of a batch, as
    when only the padding at the border shows. Judged are examples with both foreground and background.

    Args:
        spread: standard deviation over the pixels, as a share of p (1 - p) at the mean p, below which a prediction is
            constant, >= 0. It is about that of the logits. Logits of a new network vary by 0.01 and more over an image,
            with any prior; rounding in float32 stays below 1e-5 for p between 0.01 and 0.99. Constant over a batch are
            predictions with means, lowest and highest values that differ by less.
        share: of the judged examples that must be constant, in (0, 1].
        examples: minimum number of judged examples, >= 1; to a window with fewer, those before it are added.
    Reads: Mask.predicted, spread, lowest, highest, foreground, valid.
    """

    spread: float = 1e-3
    share: float = 0.9
    examples: int = 4
    needed: int = 2
    of: int = 3

    shares: ClassVar = frozenset({"share"})

    def check(self, window: Window) -> Verdicts:
        judged = window.last(self._rows, self.examples)
        if len(judged) < self.examples:
            return {}
        constant = [row.example for row in judged if row.is_constant]
        if len(constant) < self.share * len(judged):
            return {"": None}
        predicted = fmean(row.predicted for row in judged)
        evidence: dict[str, Any] = {"constant": len(constant), "examples": len(judged), "predicted": predicted}
        return {"": Finding("error", evidence, HINT, "fault", ids(constant))}

    def _rows(self, update: Update) -> Sequence[_Row]:
        varying: dict[int, tuple[Example, list[Mask]]] = {}
        for place, example, _, mask in judged_masks([update]):
            if 0 < (mask.foreground or 0.0) < 1:
                varying.setdefault(place, (example, []))[1].append(mask)
        alike = self._are_alike([example.masks for example, _ in varying.values()])
        return [
            _Row(example, alike or all(map(self._is_constant, masks)), fmean(mask.predicted or 0.0 for mask in masks))
            for example, masks in varying.values()
        ]

    def _is_constant(self, mask: Mask) -> bool:
        mean = mask.predicted or 0.0
        return (mask.spread or 0.0) <= self.spread * _scale(mean)

    def _are_alike(self, examples: Sequence[Sequence[Mask]]) -> bool:
        """Return True if all examples have the same prediction, and their targets differ."""
        if len({tuple(mask.foreground for mask in masks) for masks in examples}) < 2:
            return False
        for masks in zip(*examples, strict=True):
            means = [mask.predicted or 0.0 for mask in masks]
            ends = [[mask.lowest or 0.0 for mask in masks], [mask.highest or 0.0 for mask in masks]]
            if max(means) - min(means) > self.spread * _scale(fmean(means)):
                return False
            if any(not max(values) - min(values) <= self.spread for values in ends):
                return False
        return True


def _scale(probability: float) -> float:
    """Return p (1 - p), at least 1e-12, because it is 0 at probabilities of 0 and 1."""
    return max(probability * (1 - probability), 1e-12)
