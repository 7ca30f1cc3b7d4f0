"""The cost of Tracked in a training: steps of the example's U-Net with it and with the bare loss, alternating.

The batch is 8 grey images of 512 x 512 on the CPU, the loss bce_dice_focal. Tracked has its meters, the monitor of the
default rules, which reads every 50 steps, also during the measured ones, and records of each example. The limits are
2 % of a step, and no operation that waits for the device beyond those of the bare loss.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import lossreg
from lossreg.integrations import Tracked

BAR = 0.02
LOSS = "bce_dice_focal"


def main() -> None:
    """Print the medians, their ratio, the cost of a call alone, and the operations that wait."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=20, help="steps with Tracked, and as many with the bare loss")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=512, help="of the images, pixels, a multiple of 8")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        training = Training(options.batch, options.size, folder)
        for loss in (training.bare, training.tracked):
            training.step(loss)
        pairs = [(training.step(training.bare), training.step(training.tracked)) for _ in range(options.pairs)]
        plain, tracked = (statistics.median(times) for times in zip(*pairs, strict=True))
        ratio = statistics.median(after / before for before, after in pairs)
        alone = training.alone(55)
        waits = training.waits(training.tracked) - training.waits(training.bare)
        training.tracked.close()
    threads, shape = torch.get_num_threads(), tuple(training.images.shape)
    print(f"{threads} threads, {options.pairs} pairs of steps, batches of shape {shape}")
    print(f"step {1e3 * plain:.1f} ms, with Tracked {1e3 * tracked:.1f} ms; median ratio of the pairs {ratio:.4f}")
    print(f"Tracked alone, mean over 55 calls: {1e3 * alone:.2f} ms more than the bare loss")
    print(f"share of a step {alone / plain:.2%}, bar {BAR:.0%}: {'met' if alone / plain <= BAR else 'NOT met'}")
    print(f"operations that wait for the device, more than the bare loss in a step: {waits}")


class Training:
    """A model, its data, and the loss in both forms."""

    def __init__(self, batch: int, size: int, folder: str) -> None:
        sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
        from unet import UNet

        torch.manual_seed(0)
        self.model = UNet()
        self.bare = lossreg.build(LOSS)
        self.tracked = Tracked(LOSS, monitor={"sinks": [], "action": lambda event: None}, records=folder)
        self.optimizer = torch.optim.Adam(self.model.parameters())
        self.images = torch.randn(batch, 1, size, size)
        self.target = (torch.rand(batch, 1, size, size) > 0.9).to(torch.uint8)
        self.steps = 0

    def step(self, loss: nn.Module) -> float:
        """Return the seconds of one step of the optimiser."""
        self._begin()
        start = time.perf_counter()
        logits: Tensor = self.model(self.images)
        self.optimizer.zero_grad()
        loss(logits, self.target).backward()
        self.optimizer.step()
        return time.perf_counter() - start

    def alone(self, times: int) -> float:
        """Return the mean seconds by which a call of Tracked exceeds one of the bare loss; readings are among them."""
        with torch.no_grad():
            logits = self.model(self.images)
        logits.requires_grad_()
        taken: dict[nn.Module, float] = {self.bare: 0.0, self.tracked: 0.0}
        for loss in list(taken) * times:
            self._begin()
            start = time.perf_counter()
            loss(logits, self.target).backward()
            taken[loss] += time.perf_counter() - start
        return (taken[self.tracked] - taken[self.bare]) / times

    def waits(self, loss: nn.Module) -> int:
        """Return how many operations of a step wait for the device; the monitor reads in another step."""
        self._begin()
        logits = self.model(self.images)
        counted = Waits()
        with counted:
            loss(logits, self.target).backward()
        return counted.number

    def _begin(self) -> None:
        names = [f"{self.steps}-{n}" for n in range(len(self.images))]
        self.tracked.context.begin(step=self.steps, epoch=0, sample_ids=names, dataset="noise")
        self.steps += 1


class Waits(TorchDispatchMode):
    """Count the operations that would wait for a GPU: reads of a value, shapes from values, copies to the host."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.number: int = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name, given = function.overloadpacket.__name__, kwargs or {}
        moved = name == "_to_copy" and given.get("device") is not None
        self.number += moved or name in ("_local_scalar_dense", "nonzero", "masked_select", "equal")
        called: Callable[..., Any] = function
        return called(*args, **given)


if __name__ == "__main__":
    main()
