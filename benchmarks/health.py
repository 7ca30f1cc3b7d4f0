"""The cost of a LossMonitor in a training: steps of the example's U-Net with and without it, alternating.

The batch is 8 grey images of 512 x 512 on the CPU, the loss bce_dice_focal. The monitor has the default rules, gets the
loss, and reads every 50 updates, also during the measured steps. The limit is 2 % of a step.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

import torch
from torch import Tensor

import lossreg
from lossreg.health import LossMonitor

BAR = 0.02


def main() -> None:
    """Print the medians, their difference, and the cost of update and reading alone."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=20, help="steps with the monitor, and as many without")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=512, help="of the images, pixels, a multiple of 8")
    options = parser.parse_args()
    training = Training(options.batch, options.size)
    for watched in (False, True):
        training.step(watched)
    pairs = [(training.step(False), training.step(True)) for _ in range(options.pairs)]
    plain, watched = (statistics.median(times) for times in zip(*pairs, strict=True))
    update, reading = training.alone(25)
    ratio = statistics.median(after / before for before, after in pairs)
    share = (update + reading / training.monitor.every) / plain
    print(
        f"{torch.get_num_threads()} threads, {options.pairs} pairs of steps, batches of shape"
        f" {tuple(training.images.shape)}"
    )
    print(f"step {1e3 * plain:.1f} ms, with the monitor {1e3 * watched:.1f} ms; median ratio of the pairs {ratio:.4f}")
    print(f"update alone {1e3 * update:.2f} ms, reading {1e3 * reading:.2f} ms every {training.monitor.every}")
    print(f"share of a step {share:.2%}, bar {BAR:.0%}: {'met' if share <= BAR else 'NOT met'}")


class Training:
    """A model, its data and its monitor."""

    def __init__(self, batch: int, size: int) -> None:
        sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
        from unet import UNet

        torch.manual_seed(0)
        self.model = UNet()
        self.loss = lossreg.build("bce_dice_focal")
        self.optimizer = torch.optim.Adam(self.model.parameters())
        self.images = torch.randn(batch, 1, size, size)
        self.target = (torch.rand(batch, 1, size, size) > 0.9).to(torch.uint8)
        self.monitor = LossMonitor(loss=self.loss, sinks=[], action=lambda event: None)

    def step(self, watched: bool) -> float:
        """Return the seconds of one step of the optimiser."""
        start = time.perf_counter()
        logits: Tensor = self.model(self.images)
        output = lossreg.evaluate(self.loss, logits, self.target)
        if watched:
            self.monitor.update(output, prediction=logits, target=self.target)
        self.optimizer.zero_grad()
        output.total.backward()
        self.optimizer.step()
        return time.perf_counter() - start

    def alone(self, times: int) -> tuple[float, float]:
        """Return the median seconds of an update without a reading, and the extra seconds of one with a reading."""
        with torch.no_grad():
            logits = self.model(self.images)
        output = lossreg.evaluate(self.loss, logits, self.target)
        taken: dict[bool, list[float]] = {False: [], True: []}
        while len(taken[False]) < times or len(taken[True]) < 3:
            reads = len(self.monitor._pending) + 1 == self.monitor.every
            start = time.perf_counter()
            self.monitor.update(output, prediction=logits, target=self.target)
            taken[reads].append(time.perf_counter() - start)
        update = statistics.median(taken[False])
        return update, statistics.median(taken[True]) - update


if __name__ == "__main__":
    main()
