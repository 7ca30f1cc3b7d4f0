"""Equality of aggregates but for the rounding of sums, which depends on the order of rows and threads."""

import pytest


def same(found, wanted, scale):
    """Whether two results differ by no more than the rounding of sums of numbers of this size."""
    if isinstance(wanted, dict):
        sizes = {name: scale**2 if name == "variance" else scale for name in wanted}
        return found.keys() == wanted.keys() and all(same(found[name], wanted[name], sizes[name]) for name in wanted)
    if isinstance(wanted, list):
        return len(found) == len(wanted) and all(same(*pair, scale) for pair in zip(found, wanted, strict=True))
    if isinstance(wanted, float):
        return found == pytest.approx(wanted, rel=1e-12, abs=1e-12 * scale)
    return found == wanted
