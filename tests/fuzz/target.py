"""A target of the search, and what several of them use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

Run = Callable[[bytes], object]


class Target(NamedTuple):
    """A function of one input, the inputs to begin with, and words to put in.

    `run` may raise a LossregError; another exception is a mistake of lossreg's.
    """

    run: Run
    seeds: Sequence[bytes]
    words: Sequence[bytes] = ()
