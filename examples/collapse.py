"""What happens when most masks are missing and read as empty, as in many data sets; and how it shows.

Each tile of the photographs keeps its mask with a probability of 1 in 50, and is given zeros otherwise, as loaders do
with samples that nobody annotated. The same U-Net sees the same batches under three losses:

- `bce` collapses: the best that it can predict of a pixel is 1/50 of the probability that it is foreground.
- `bce_dice_focal` as it is often recommended against this collapses, too, and further. Dice rewards overlap, but it
  also scores the prediction of nothing on an empty mask as perfect, and where nearly all masks are empty, that wins.
  It helps against foreground that is rare within masks, not against masks that are missing.
- `bce_dice_focal` with absent=ignore leaves empty masks out, and learns from the few that are there. Where an empty
  mask means that nothing is there to be found, leave it in, and remove those that are missing from the data instead.

Collapse is judged over tiles that have foreground, since to predict nothing is right on the others. The monitor has
its default rules. What it says of the data, that nearly all targets are empty, is true under every loss.
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
class Course:
    """One training: what was found in the end, what the monitor said, and how predictions went.

    predicted, target: by step, their means over the tiles that have foreground; steps without such tiles are left out.
    """

    run: Run
    events: list[HealthEvent] = field(default_factory=list)
    predicted: dict[int, float] = field(default_factory=dict)
    target: dict[int, float] = field(default_factory=dict)

    def said(self, *kinds: str) -> list[HealthEvent]:
        """The events of these kinds."""
        return [event for event in self.events if event.kind in kinds]


def main(
    steps: Annotated[int, typer.Option(min=1, help="Of the epoch, 8 tiles each.")] = 300,
    missing: Annotated[float, typer.Option(min=0, max=1, help="Share of tiles whose mask is missing.")] = 0.98,
    out: Annotated[Path, typer.Option(help="Folder for the picture.")] = Path("runs"),
    seed: Annotated[int, typer.Option(help="Of the noise, the weights and the batches.")] = 0,
) -> None:
    """Train for one epoch on masks of which most are missing, under three losses, and listen to the monitor."""
    training, validation = load(seed)
    check(batches(training, missing, steps, seed))
    with Progress(console=console) as progress:
        courses = [fit(name, training, validation, missing, steps, seed, progress) for name in LOSSES]
    for course in courses:
        tell(course)
    console.print(iou_table([course.run for course in courses], validation))
    out.mkdir(parents=True, exist_ok=True)
    draw(courses, out / "collapse.png")
    console.print(f"Drawn in {out / 'collapse.png'}")


def batches(training: Sequence[Region], missing: float, steps: int, seed: int) -> Batches:
    """The batches of an epoch, the same whenever it is asked for: images and targets, (N, 1, TILE, TILE) each."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        images, targets = draw_tiles(training, TILES, generator)
        targets[torch.rand(len(targets), generator=generator) < missing] = 0
        yield images, targets


def check(seen: Batches) -> None:
    """Say what `lossreg check-targets` would say of the epoch's targets; end the program if none has foreground."""
    report = examine(target for _, targets in seen for target in targets)
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
) -> Course:
    """Return a finished training, whose weights and batches follow from the seed alone."""
    torch.manual_seed(seed)
    model, loss, course = UNet(), lossreg.build(LOSSES[name]), Course(Run(name))
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    bar = progress.add_task(name, total=steps)
    with LossMonitor(action=course.events.append) as monitor:
        for step, (images, targets) in enumerate(batches(training, missing, steps, seed), start=1):
            logits = model(images)
            output = lossreg.evaluate(loss, logits, targets)
            monitor.update(output, logits, targets, step=step)
            optimizer.zero_grad()
            output.total.backward()
            optimizer.step()
            progress.advance(bar)
            there = targets.flatten(1).bool().any(1)
            if there.any():
                course.predicted[step] = float(logits.detach()[there].sigmoid().mean())
                course.target[step] = float(targets[there].float().mean())
    validate(model, validation, course.run)
    return course


def tell(course: Course) -> None:
    """Print what the monitor said, of the training and of the data apart."""
    faults, data = course.said("fault", "unknown"), course.said("data")
    console.print(
        f"\n[bold]{course.run.name}[/]: {'nothing wrong with the training' if not faults else 'the monitor says'}"
    )
    for event in faults:
        console.print(f"  {event}", markup=False)
    told = ", ".join(f"{event.rule} at step {event.step}" for event in data)
    console.print(f"  of the data: {told or 'nothing'}")


def draw(courses: Sequence[Course], path: Path) -> None:
    """Save the mean prediction over tiles with foreground, by step, and where the monitor told a fault."""
    figure = Figure(figsize=(10, 5), dpi=120, layout="constrained")
    axes = figure.subplots()
    target = courses[0].target  # the same for all
    axes.plot(list(target), list(target.values()), ".-", color="grey", linewidth=0.8, label="target")
    for course, colour in zip(courses, COLOURS, strict=False):
        axes.plot(list(course.predicted), list(course.predicted.values()), ".-", color=colour, label=course.run.name)
        for event in course.said("fault", "unknown"):
            axes.axvline(event.step, color=colour, linestyle=":")
            axes.annotate(event.rule, (event.step, 1e-6), rotation=90, color=colour, ha="right")
    axes.set(
        title="Where there is foreground: what is predicted, and what the monitor says (dotted)",
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
