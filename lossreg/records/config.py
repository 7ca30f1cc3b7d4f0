"""The settings of a record writer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from lossreg.errors import InputError


@dataclass(frozen=True)
class RecordConfig:
    """Settings: which rows are recorded, and how many are buffered.

    Args:
        every: record the batches of every n-th step, >= 1: steps divisible by it. Without a step, calls of `add` are
            counted.
        fraction: record this share of the samples, in (0, 1]. The choice depends on `seed` and their names alone, so
            that every process, epoch and run has the same samples.
        seed: another seed chooses other samples.
        flush_rows: write once this many rows are buffered, >= 1.
        flush_seconds: write once the oldest row is this old, > 0; checked whenever rows are added.
        on_error: "raise" where a shard cannot be written, such as on a full disk; the rows are kept. With "warn" a
            training goes on without these rows: `RecordWriter.lost` counts them, and `close` warns of them.
    Raises:
        InputError: a value outside its range.
    """

    every: int = 1
    fraction: float = 1.0
    seed: int = 0
    flush_rows: int = 65_536
    flush_seconds: float = 60.0
    on_error: Literal["raise", "warn"] = "raise"

    def __post_init__(self) -> None:
        for name, least in (("every", 1), ("flush_rows", 1), ("seed", -math.inf)):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise _wrong(name, value, "an integer" + (f" >= {least}" if least == 1 else ""))
        if not (_is_number(self.fraction) and 0 < self.fraction <= 1):
            raise _wrong("fraction", self.fraction, "a number > 0 and <= 1")
        if not (_is_number(self.flush_seconds) and self.flush_seconds > 0):
            raise _wrong("flush_seconds", self.flush_seconds, "a number > 0, in seconds")
        if self.on_error not in ("raise", "warn"):
            raise _wrong("on_error", self.on_error, "'raise' or 'warn'")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _wrong(name: str, value: object, allowed: str) -> InputError:
    return InputError(f"RecordConfig: {name} must be {allowed}, got {value!r:.80}", name=name)
