"""Train the demo's U-Net from one YAML file by plain PyTorch, Lightning and transformers, and compare their losses.

Only the trainer differs: each gets the same initial weights and the same batches. So the losses are the same.
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import torch
import typer

HERE = Path(__file__).parent
CONFIG = HERE.parent / "configs" / "bce_dice_focal.yaml"
sys.path[:0] = [str(HERE), str(HERE.parent)]  # where the files below lie, also for a runner of scripts

import with_lightning  # noqa: E402
import with_pytorch  # noqa: E402
import with_transformers  # noqa: E402
from photographs import load  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402
from tiles import Tiles  # noqa: E402

import lossreg  # noqa: E402

TRAINERS = {
    "PyTorch": with_pytorch.train,
    "Lightning": with_lightning.train,
    "transformers": with_transformers.train,
}
TOLERANCE = 1e-5

Steps = list[dict[str, float]]


def main(
    config: Annotated[Path, typer.Option(help="YAML file with training.loss.")] = CONFIG,
    steps: Annotated[int, typer.Option(min=1, help="Steps of each training.")] = 25,
) -> None:
    """Print the loss and its components at each step; exit with 1 if a trainer's differ by more than 1e-5."""
    loss = lossreg.read_config(config, at="training.loss")
    tiles = Tiles(load(seed=0)[0], steps)
    runs: dict[str, Steps] = {}
    for name, train in TRAINERS.items():
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            runs[name] = train(loss, tiles, Path(folder))
        print(f"{name}: {len(runs[name])} steps in {time.perf_counter() - start:.0f} s")
    Console(width=100).print(table(runs))
    worst = {name: difference(run, runs["PyTorch"]) for name, run in runs.items()}
    print(*(f"{name}: largest difference {value:.1e}" for name, value in worst.items()), sep="\n")
    if max(worst.values()) > TOLERANCE:
        raise typer.Exit(1)


def table(runs: dict[str, Steps]) -> Table:
    """Return a row for each key of the first steps and of the last one, and a column for each trainer."""
    found = Table("step", "", *runs)
    first = next(iter(runs.values()))
    for step in sorted({*range(min(3, len(first))), len(first) - 1}):
        for number, key in enumerate(first[step]):
            values = [f"{run[step][key]:.6f}" if key in _at(run, step) else "" for run in runs.values()]
            found.add_row("" if number else str(step + 1), key, *values, end_section=number + 1 == len(first[step]))
    return found


def _at(run: Steps, step: int) -> dict[str, float]:
    return run[step] if step < len(run) else {}


def difference(run: Steps, other: Steps) -> float:
    """Return the largest difference of a value; infinity if steps or keys differ."""
    if [set(step) for step in run] != [set(step) for step in other]:
        return float("inf")
    return max(abs(a[key] - b[key]) for a, b in zip(run, other, strict=True) for key in a)


if __name__ == "__main__":
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)  # sums in one order, so that the result does not depend on the number of cores
    typer.run(main)
