"""The loss of a set of masks: queries are matched with targets, then compared pair by pair.

A call passes these files in this order:

    inputs.py      reads levels and targets, and checks them
    points.py      where masks are compared: random points or all pixels
    costs.py       what each query would cost with each target, by matrix products
    assignment.py  the pairs of least cost, by SciPy, after one copy to the host
    loss.py        the terms of the pairs
"""

from lossreg_segmentation.matched.loss import Matched

__all__ = ["Matched"]
