"""Masks, and short forms of what `examine` and `read_targets` return."""

import pytest

from lossreg.health.targets.report import Mask
from lossreg.health.targets.sources import read_targets

np = pytest.importorskip("numpy", reason="NumPy is not installed, so no target can be examined")
Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed, so no image can be read")


def disc(*, ones, side=10, value=1, dtype=np.uint8):
    """Make a mask of side * side pixels, the first `ones` of them with a value."""
    mask = np.zeros(side * side, dtype)
    mask[:ones] = value
    return mask.reshape(side, side)


def rules(report):
    return [(finding.rule, finding.severity) for finding in report.findings]


def message(report, rule):
    (found,) = [finding for finding in report.findings if finding.rule == rule]
    return found.message


def read(where, **options):
    return list(read_targets(where, **options))


def shares(targets):
    """Return the number of pixels above 0 of each mask, and other targets unchanged."""
    return [int((np.asarray(each.values) > 0).sum()) if isinstance(each, Mask) else each for each in targets]
