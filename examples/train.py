"""Train the same U-Net with several losses, each described by a config, and compare the predictions.

Only the loss differs: every config gets the same initial weights, the same batches and the same number of epochs.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
import typer
from photographs import Region, draw_tiles, load
from pictures import draw_curves, draw_predictions
from recording import cut, drawn, record
from report import Run, iou_table, sparse_findings
from rich.console import Console
from rich.progress import Progress
from torch import Tensor, nn
from unet import UNet

import lossreg
from lossreg.records import RecordWriter, write_report

HERE = Path(__file__).parent
CONFIGS = [HERE / "configs" / f"{name}.yaml" for name in ("bce", "bce_dice_focal", "mixture")]

STEPS = 25  # per epoch
TILES = 4  # per photograph in each batch
LEARNING_RATE = 3e-3

console = Console()


def main(
    configs: Annotated[list[Path], typer.Option(help="Repeat for each; the first is the baseline.")] = CONFIGS,
    epochs: Annotated[int, typer.Option(min=1, help="Number of epochs for every config.")] = 6,
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path("runs"),
    seed: Annotated[int, typer.Option(help="Seed of the noise, the weights and the batches.")] = 0,
) -> None:
    """Train a U-Net per config over four photographs; print IoU, draw pictures, report the hardest tiles."""
    losses = [(path.stem, build(path)) for path in configs]
    training, validation = load(seed)
    tiles = cut(validation, out / "tiles")
    with Progress(console=console) as progress:
        runs = []
        for name, loss in losses:
            with RecordWriter(out / "records" / name, run=name) as writer:
                after_epoch = partial(record, loss=loss, tiles=tiles, writer=writer)
                runs.append(fit(name, loss, training, validation, epochs, seed, progress, after_epoch))
    console.print(iou_table(runs, validation))
    for finding in sparse_findings(runs, validation):
        console.print(finding)
    draw_curves(runs, validation, out / "curves.png")
    draw_predictions(runs, validation, out / "predictions.png")
    for run in runs:
        write_report(
            out / "records" / run.name,
            out / f"{run.name}.html",
            title=f"Validation tiles under {run.name}",
            target_path="{parent}/{stem}-target.png",
            prediction=drawn(tiles, run.predictions),
        )


def build(path: Path) -> nn.Module:
    """Return the loss that a config file describes; end the program if the config is invalid."""
    try:
        return lossreg.build(lossreg.read_config(path, at="training.loss"))
    except lossreg.LossregError as error:
        typer.echo(f"{path}: {error}", err=True)
        raise typer.Exit(1) from error


def fit(
    name: str,
    loss: nn.Module,
    training: Sequence[Region],
    validation: Sequence[Region],
    epochs: int,
    seed: int,
    progress: Progress,
    after_epoch: Callable[[nn.Module, int], None],
) -> Run:
    """Train a model and return the results; weights and batches depend on the seed alone.

    after_epoch: called with the model and the number of its optimizer steps.
    """
    torch.manual_seed(seed)
    model = UNet()
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs * STEPS)
    generator = torch.Generator().manual_seed(seed)
    bar = progress.add_task(name, total=epochs * STEPS)
    run = Run(name)
    for epoch in range(1, epochs + 1):
        model.train()
        sums: Counter[str] = Counter()
        for _ in range(STEPS):
            images, targets = draw_tiles(training, TILES, generator)
            output = lossreg.evaluate(loss, model(images), targets)
            optimizer.zero_grad()
            output.total.backward()  # has no type annotations in torch
            optimizer.step()
            schedule.step()
            progress.advance(bar)
            sums.update({part: float(value) for part, value in output.components.items()})
        run.components.append({part: value / STEPS for part, value in sums.items()})
        validate(model, validation, run)
        after_epoch(model, epoch * STEPS)
        parts = "  ".join(f"{part} {value:.4f}" for part, value in run.components[-1].items())
        progress.console.print(f"{name}, epoch {epoch} of {epochs}: {parts}")
    return run


@torch.no_grad()
def validate(model: nn.Module, regions: Sequence[Region], run: Run) -> None:
    """Record the predictions for whole regions, and their intersection over union with the target."""
    model.eval()
    run.predictions = {region.name: model(region.image[None])[0].sigmoid() > 0.5 for region in regions}
    run.iou.append({region.name: iou(run.predictions[region.name], region.target.bool()) for region in regions})


def iou(predicted: Tensor, target: Tensor) -> float:
    """Return intersection over union of two masks; 1 if both are empty."""
    union = int((predicted | target).sum())
    return int((predicted & target).sum()) / union if union else 1.0


if __name__ == "__main__":
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)  # sums in one order, so that the result does not depend on the number of cores
    typer.run(main)
