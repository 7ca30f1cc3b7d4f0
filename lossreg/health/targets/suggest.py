"""Losses worth trying first on targets with these numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from lossreg.health.targets.report import TargetReport

COUNT: Final = 3
WHICH: Final = "losses.html#which-one"
ABSENT: Final = "howto/empty_masks.html#choose-absent"
MIX: Final = "howto/mix.html#mix-losses-and-change-the-mixture-over-time"

THIN: Final = 0.55  # of the foreground, at least; large objects and spots have at most 0.5
TINY: Final = 0.01  # share of the pixels
MANY_EMPTY: Final = 0.25  # of the masks
MOSTLY_BACKGROUND: Final = 0.8  # of the pixels


class Suggestion(NamedTuple):
    """A config for `lossreg.build`. page: the section of the site that explains it."""

    config: dict[str, Any]
    reason: str
    page: str


def suggest(report: TargetReport, *, ignore_index: int | None = None) -> tuple[Suggestion, ...]:
    """Return the three losses worth trying first on these targets; none if the report has errors or no foreground.

    They follow from the share of foreground, the share of empty masks, the thinness and the number of classes. The
    best loss depends on more than that; compare them.

    Args:
        report: what `examine(..., thin=True)` returns. Without `thin`, foreground does not count as thin.
        ignore_index: the value given to `examine`, which the losses need as well.
    """
    if report.failed or not report.foreground or not report.quantiles:
        return ()
    facts = _Facts(report, ignore_index)
    found = _of_classes(facts) if facts.classes > 2 else _of_a_mask(facts)
    return tuple(suggestion for suggestion, _ in zip(found, range(COUNT), strict=False))


@dataclass(frozen=True)
class _Facts:
    """What the suggestions depend on."""

    report: TargetReport
    ignore_index: int | None

    @property
    def classes(self) -> int:
        """Return the number of classes with the background; 2 for masks and for numbered objects."""
        rules = {finding.rule for finding in self.report.findings}
        above = sum(row.value > 0 for row in self.report.values) - ("255 beside classes" in rules)
        return 2 if self.report.more_values or "many values" in rules else 1 + max(above, 1)

    @property
    def size(self) -> float:
        """Return the median share of foreground, of the masks that have any."""
        return self.report.quantiles["median"]

    @property
    def rarest(self) -> float:
        """Return the share of the pixels that the rarest class has."""
        return min(row.pixels for row in self.report.values if row.value > 0)

    @property
    def thin(self) -> bool:
        return self.report.thin is not None and self.report.thin >= THIN

    def loss(self, name: str, **params: Any) -> dict[str, Any]:
        """Return a config, with the value of ignored pixels."""
        if self.ignore_index is not None:
            params["ignore_index"] = self.ignore_index
        return {"name": name, "params": params} if params else {"name": name}


def _sum(*terms: dict[str, Any]) -> dict[str, Any]:
    return {"name": "weighted_sum", "params": {"terms": list(terms)}}


def _of_a_mask(facts: _Facts) -> Iterator[Suggestion]:
    """Yield suggestions for masks of one class, those of a special case first."""
    report, size = facts.report, f"half of the masks with foreground have at most {100 * facts.size:.2g} % of it"
    if report.empty >= MANY_EMPTY * report.masks:
        reason = f"{report.empty / report.masks:.0%} of the masks are empty, and still have a gradient here"
        yield Suggestion(facts.loss("bce_dice_focal", absent="false_positives"), reason, ABSENT)
    else:
        yield Suggestion(facts.loss("bce_dice_focal"), "pixels and overlap in one: the usual start for masks", WHICH)
    if facts.thin:
        reason = f"{report.thin:.0%} of the foreground is lines a few pixels wide, whose centre lines count here"
        yield Suggestion(_sum(facts.loss("dice"), facts.loss("cldice") | {"weight": 0.5}), reason, WHICH)
    if facts.size < TINY:
        reason = f"{size}, and a missed pixel costs more than a false one here"
        yield Suggestion(facts.loss("tversky", alpha=0.3, beta=0.7), reason, WHICH)
        reason = f"{size}, and the easy background counts little here"
        yield Suggestion(facts.loss("unified_focal"), reason, WHICH)
    reason = f"{size}: a sum of pixels and overlap whose weights can be changed"
    yield Suggestion(_sum(facts.loss("bce"), facts.loss("dice")), reason, MIX)
    yield Suggestion(facts.loss("lovasz_hinge"), "close to the intersection over union of each mask", WHICH)


def _of_classes(facts: _Facts) -> Iterator[Suggestion]:
    """Yield suggestions for classes that exclude each other, those of a special case first."""
    report = facts.report
    background = 1 - (report.foreground or 0)
    dice, reason = facts.loss("dice"), f"pixels and overlap: the usual start for {facts.classes} classes"
    if background > MOSTLY_BACKGROUND:
        dice = facts.loss("dice", background=False)
        reason += f"; {background:.0%} of the pixels are background, which Dice leaves out"
    cross_entropy = facts.loss("cross_entropy")
    yield Suggestion(_sum(cross_entropy, dice), reason, WHICH)
    if facts.thin:
        reason = f"{report.thin:.0%} of the foreground is lines a few pixels wide, whose centre lines count here"
        yield Suggestion(_sum(cross_entropy, facts.loss("cldice") | {"weight": 0.5}), reason, WHICH)
    if facts.rarest < TINY:
        reason = (
            f"the rarest class has {100 * facts.rarest:.2g} % of the pixels; classes are weighted by their size here"
        )
        yield Suggestion(_sum(cross_entropy, facts.loss("generalized_dice")), reason, WHICH)
        reason = (
            f"the rarest class has {100 * facts.rarest:.2g} % of the pixels, and the easy background counts little here"
        )
        yield Suggestion(facts.loss("unified_focal"), reason, WHICH)
    reason = "close to the mean intersection over union of the classes"
    yield Suggestion(_sum(cross_entropy, facts.loss("lovasz_softmax")), reason, WHICH)
    yield Suggestion(facts.loss("ohem_cross_entropy"), "the pixels that are hardest to classify count alone", WHICH)
