"""Training on masks that are mostly missing and read as empty: how it collapses, and how the monitor shows it.

Each tile of the photographs keeps its mask with a probability of 1 in 50, and gets zeros otherwise, as loaders do with
samples without annotation. The same U-Net gets the same batches under three losses:

- `bce` collapses: its best prediction at a pixel is 1/50 of the probability of foreground.
- `bce_dice_focal`, often recommended against this, collapses as well, and further. Dice rewards overlap, but the
  prediction of nothing is perfect on an empty mask, and nearly all masks are empty. The loss helps if foreground is
  rare within masks, not if masks are missing.
- `bce_dice_focal` with absent=ignore leaves empty masks out, and learns from the few others. If an empty mask means
  that the image has no foreground, keep it, and remove the samples with missing masks from the data instead.

Collapse is judged over tiles with foreground, because predicting nothing is right on the others. The monitor has its
default rules. Under every loss it reports, rightly, that nearly all targets are empty.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from matplotlib.figure import Figure
from photographs import Region, draw_tiles, load
from pictures import COLOURS
from report import Run, iou_table
from rich.console import Console
from rich.progress import Progress
from torch import Tensor
from train import validate
from unet import UNet

import lossreg
from lossreg.health import HealthEvent, LossMonitor
from lossreg.health.targets import examine

MIXTURE = {"name": "bce_dice_focal", "params": {"alpha": None}}
LOSSES: dict[str, dict[str, Any]] = {
    "bce": {"name": "bce"},
    "bce_dice_focal": MIXTURE,
    "bce_dice_focal, absent=ignore": {"name": "bce_dice_focal", "params": {"alpha": None, "absent": "ignore"}},
}

TILES = 2  # per photograph in each batch
LEARNING_RATE = 2e-2  # high, so that one short epoch shows what a low one does in many

Batches = Iterator[tuple[Tensor, Tensor]]

console = Console()


@dataclass
class History:
    """The history of one training: its results, the events of the monitor, and the predictions.

    predicted, target: means over the tiles with foreground, by step; steps without such tiles are left out.
    """

    run: Run
    events: list[HealthEvent] = field(default_factory=list)
    predicted: dict[int, float] = field(default_factory=dict)
    target: dict[int, float] = field(default_factory=dict)

    def events_of(self, *kinds: str) -> list[HealthEvent]:
        """Return the events of some kinds."""
        return [event for event in self.events if event.kind in kinds]


def main(
    steps: Annotated[int, typer.Option(min=1, help="Of the epoch, 8 tiles each.")] = 300,
    missing: Annotated[float, typer.Option(min=0, max=1, help="Share of tiles whose mask is missing.")] = 0.98,
    out: Annotated[Path, typer.Option(help="Folder for the picture.")] = Path("runs"),
    seed: Annotated[int, typer.Option(help="Of the noise, the weights and the batches.")] = 0,
) -> None:
    """Train for one epoch on mostly missing masks, under three losses, and print the events of the monitor."""
    training, validation = load(seed)
    check(batches(training, missing, steps, seed))
    with Progress(console=console) as progress:
        histories = [fit(name, training, validation, missing, steps, seed, progress) for name in LOSSES]
    for history in histories:
        print_events(history)
    console.print(iou_table([history.run for history in histories], validation))
    out.mkdir(parents=True, exist_ok=True)
    draw(histories, out / "collapse.png")
    console.print(f"Drawn in {out / 'collapse.png'}")


def batches(training: Sequence[Region], missing: float, steps: int, seed: int) -> Batches:
    """Yield the batches of an epoch, the same in each call: images and targets, (N, 1, TILE, TILE) each."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        images, targets = draw_tiles(training, TILES, generator)
        targets[torch.rand(len(targets), generator=generator) < missing] = 0
        yield images, targets


def check(given: Batches) -> None:
    """Print the findings of `lossreg check-targets` for an epoch; end the program if no target has foreground."""
    report = examine(target for _, targets in given for target in targets)
    console.print(f"{report.masks:,} targets, {report.empty:,} of them empty, {report.foreground or 0:.2%} foreground")
    for finding in report.findings:
        console.print(f"  {finding.severity}: {finding.message}")
    if report.failed:
        raise typer.Exit(1)


def fit(
    name: str,
    training: Sequence[Region],
    validation: Sequence[Region],
    missing: float,
    steps: int,
    seed: int,
    progress: Progress,
) -> History:
    """Train, and return the history. Weights and batches depend on the seed alone."""
    torch.manual_seed(seed)
    model, loss, history = UNet(), lossreg.build(LOSSES[name]), History(Run(name))
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    bar = progress.add_task(name, total=steps)
    with LossMonitor(action=history.events.append) as monitor:
        for step, (images, targets) in enumerate(batches(training, missing, steps, seed), start=1):
            logits = model(images)
            output = lossreg.evaluate(loss, logits, targets)
            monitor.update(output, prediction=logits, target=targets, step=step)
            optimizer.zero_grad()
            output.total.backward()
            optimizer.step()
            progress.advance(bar)
            filled = targets.flatten(1).bool().any(1)
            if filled.any():
                history.predicted[step] = float(logits.detach()[filled].sigmoid().mean())
                history.target[step] = float(targets[filled].float().mean())
    validate(model, validation, history.run)
    return history


def print_events(history: History) -> None:
    """Print the monitor's events: those of the training, then those of the data."""
    faults, data = history.events_of("fault", "unknown"), history.events_of("data")
    console.print(
        f"\n[bold]{history.run.name}[/]: {'nothing wrong with the training' if not faults else 'events of the monitor'}"
    )
    for event in faults:
        console.print(f"  {event}", markup=False)
    rules = ", ".join(f"{event.rule} at step {event.step}" for event in data)
    console.print(f"  of the data: {rules or 'nothing'}")


def draw(histories: Sequence[History], path: Path) -> None:
    """Save a plot of the mean prediction over tiles with foreground, by step, with the faults of the monitor."""
    figure = Figure(figsize=(10, 5), dpi=120, layout="constrained")
    axes = figure.subplots()
    target = histories[0].target  # the same for all
    axes.plot(list(target), list(target.values()), ".-", color="grey", linewidth=0.8, label="target")
    for history, colour in zip(histories, COLOURS, strict=False):
        axes.plot(list(history.predicted), list(history.predicted.values()), ".-", color=colour, label=history.run.name)
        for event in history.events_of("fault", "unknown"):
            axes.axvline(event.step, color=colour, linestyle=":")
            axes.annotate(event.rule, (event.step, 1e-6), rotation=90, color=colour, ha="right")
    axes.set(
        title="Tiles with foreground: mean prediction, and events of the monitor (dotted)",
        xlabel="step",
        ylabel="mean over tiles with foreground (probability)",
        yscale="log",
    )
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left")
    figure.savefig(path)


if __name__ == "__main__":
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)  # sums in one order, so that the result does not depend on the number of cores
    typer.run(main)
