"""The meter: means of total and components over many batches, whose sums stay on the device."""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

import torch
from torch import Tensor, distributed

from lossreg.errors import InputError
from lossreg.health.rank_consensus import world_size
from lossreg.loss import LossOutput

TOTAL = "total_loss"
WIDTH = 64  # of the row that ranks exchange: more names than a loss has, since a rank may know none of them


class Meter:
    """The means of total and components since the last `read`, weighted by examples.

    An addition is two or three operations on the device. A read is one copy to the host and, with several ranks, one
    all-reduce that every rank must take part in; a rank without examples, too.
    """

    def __init__(self) -> None:
        self._sums: dict[tuple[str, ...], Tensor] = {}  # by names: the sum of each, then the number of examples
        self._known: tuple[str, ...] = (TOTAL,)

    def add(self, output: LossOutput, examples: int, *, splits: bool, padded: bool = False) -> None:
        """Add a batch.

        Args:
            output: of the batch.
            examples: number of genuine examples.
            splits: True if the total is the mean of the values per example.
            padded: True if there are more values per example than genuine examples.
        """
        names = (TOTAL, *map(component_key, output.components))
        row = _row(output, examples, splits=splits, padded=padded)
        before = self._sums.get(names)
        self._sums[names] = row if before is None else before + row

    def read(self, prefix: str = "", *, reduce: bool = True) -> dict[str, float]:
        """Return the means by name, and begin again; nothing without an example on any rank.

        Args:
            prefix: of the names, such as "train/".
            reduce: over all ranks, which must all call it; False for this rank alone.
        Raises:
            InputError: the ranks have different components.
        """
        self._known = tuple(dict.fromkeys([*self._known, *(name for names in self._sums for name in names)]))
        names = [TOTAL, *sorted(self._known[1:])]  # one order on every rank; a rank that knows the total alone has it
        row = self._together(names)
        self._sums = {}
        if reduce and world_size() > 1:
            distributed.all_reduce(row)
        have, check, *numbers = row.tolist()
        if check != have * _check(names) and len(names) > 1:
            raise InputError(
                f"the components of the loss differ between ranks; this one has {', '.join(names)}. Call the same loss"
                " on every rank, or read with reduce=False"
            )
        sums, counts = numbers[: len(numbers) // 2], numbers[len(numbers) // 2 :]
        means = {name: sums[n] / counts[n] for n, name in enumerate(names) if counts[n]}
        return {f"{prefix}{name}": means[name] for name in self._known if name in means}

    def _together(self, names: Sequence[str]) -> Tensor:
        """Return one row of all sums and counts, of the same width on every rank."""
        width = WIDTH * -(-len(names) // WIDTH)
        place = {name: n for n, name in enumerate(names)}
        device = next((row.device for row in self._sums.values()), _device())
        row = torch.zeros(2 + 2 * width, dtype=_double(device), device=device)
        if len(names) > 1:
            row[:2] = torch.tensor([1, _check(names)], dtype=row.dtype)
        for own, sums in self._sums.items():
            index = torch.tensor([place[name] for name in own])
            row[2 + index] += sums[:-1]
            row[2 + width + index] += sums[-1]
        return row


def _check(names: Sequence[str]) -> int:
    return crc32(" ".join(names).encode()) % 2**16  # exact in float32, times the number of ranks


def _row(output: LossOutput, examples: int, *, splits: bool, padded: bool) -> Tensor:
    """Return the sums of total and components over the examples, and their number."""
    parts = output.per_example_components
    with torch.no_grad():
        double = _double(output.total.device)
        if splits and output.per_example is not None and len(parts) == len(output.components):
            values = torch.stack([output.per_example, *parts.values()])
            sums = (values[:, :examples] if padded else values).sum(1, dtype=double)
        else:
            sums = torch.stack([output.total.detach(), *output.components.values()]).to(double) * examples
        return torch.nn.functional.pad(sums, (0, 1), value=examples)


def _double(device: torch.device) -> torch.dtype:
    return torch.float32 if device.type == "mps" else torch.float64  # MPS has no float64


def _device() -> torch.device:
    """Return the device of a rank without a batch: that which the backend of the ranks takes."""
    nccl = world_size() > 1 and "nccl" in str(distributed.get_backend())
    return torch.device("cuda" if nccl else "cpu")


def component_key(component: str) -> str:
    """Return the name of a component in logs."""
    return component if component.startswith("loss_") else f"loss_{component}"
