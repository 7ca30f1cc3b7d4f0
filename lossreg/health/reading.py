"""One update's statistics: on the device as one row of numbers, and what the host needs to understand them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lossreg.health.window import Example, Mask, Update

if TYPE_CHECKING:
    from torch import Tensor

WIDTH = len(Mask._fields)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The numbers lie in this order: total, components, losses, presence, masks, weights, gradients.

    Args:
        step: of the update.
        values: 1-dim, on the device; None if the batch was empty.
        components: their names.
        batch, masks: sizes; batch is 0 if nothing was given that says it, masks if no prediction was.
        has_losses, has_target: whether there are per-example losses, a target.
        probed: names of the components whose weights and gradients are there.
        sample_ids: of the examples, or empty.
    """

    step: int
    values: Tensor | None = None
    components: Sequence[str] = ()
    batch: int = 0
    masks: int = 0
    has_losses: bool = False
    has_target: bool = False
    probed: Sequence[str] = ()
    sample_ids: Sequence[str] = ()

    def update(self, numbers: Sequence[float]) -> Update:
        """The update, from the numbers of `values` on the host."""
        if self.values is None:
            return Update(self.step, None)
        rest = iter(numbers)
        total = next(rest)
        components = {name: next(rest) for name in self.components}
        losses = [next(rest) if self.has_losses else None for _ in range(self.batch)]
        presence = [(next(rest), next(rest)) if self.has_target else None for _ in range(self.batch)]
        rows = [[self._mask([next(rest) for _ in range(WIDTH)]) for _ in range(self.masks)] for _ in range(self.batch)]
        examples = []
        for number, found in enumerate(presence):
            empty = None if found is None or found[0] < 0 else found[0] == 0
            masks = tuple(rows[number]) if self.masks or found is None else (Mask(found[1]),)
            sample_id = self.sample_ids[number] if self.sample_ids else None
            examples.append(Example(losses[number], empty, masks, sample_id))
        return Update(self.step, total, components, tuple(examples))

    def _mask(self, row: Sequence[float]) -> Mask:
        return Mask(*row) if self.has_target else Mask(*row[:5])

    def probe(self, numbers: Sequence[float]) -> tuple[Mapping[str, float], Mapping[str, float]]:
        """Weights and norms of the gradients by component, from the same numbers; empty if it was not probed."""
        count = len(self.probed)
        last = numbers[len(numbers) - 2 * count :]
        return dict(zip(self.probed, last[:count], strict=True)), dict(zip(self.probed, last[count:], strict=True))
