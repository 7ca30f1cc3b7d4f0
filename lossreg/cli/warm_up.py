"""`lossreg warm-up`: compiles the kernels of losses before the first step of a training."""

from __future__ import annotations

from typing import Annotated

import typer

from lossreg.cli.columns import line
from lossreg.messages import printable

HEADINGS = ("loss", "compiled", "from disk", "seconds")
WIDTHS = (36, 8, 9, 7)  # fixed, because each loss is printed as soon as it is done
NUMBERS = (1, 2, 3)

Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="[NAME|FILE]...", help="Losses or config files; without, all losses that have kernels."),
]
Logits = Annotated[
    list[str] | None,
    typer.Option("--logits", metavar="DTYPE", help="Of the logits; may be repeated. Default: the three."),
]
Targets = Annotated[
    list[str] | None,
    typer.Option("--target", metavar="DTYPE", help="Of the target; may be repeated. Default: the three."),
]


def add_to(app: typer.Typer) -> None:
    """Register the command of this file."""
    app.command("warm-up")(warm_up)


def warm_up(names: Names = None, logits: Logits = None, target: Targets = None) -> None:
    """Compile the CPU kernels of losses, so that the first step of a training does not wait for them.

    Logits in float32, bfloat16 and float16, targets in uint8, bool and int64, with and without ignored pixels: seconds
    for each kernel that is not on disk yet. A sum of losses has kernels of its own: name its config file.

    Exit 1 if no folder can keep the kernels.
    """
    from lossreg.authoring import warm_up as kernels

    types = {"logits": logits or kernels.LOGITS, "targets": target or kernels.TARGETS}
    print(line(HEADINGS, WIDTHS, numbers=NUMBERS), flush=True)
    for found in kernels.warm_up(names or (), **types):
        cells = (printable(found.name), f"{found.compiled}", f"{found.read}", f"{found.seconds:.1f}")
        print(line(cells, WIDTHS, numbers=NUMBERS), flush=True)
    where = kernels.folders()
    if not where:
        print("\nnothing is kept: no folder is writable; set NUMBA_CACHE_DIR to one that is, here and in the training")
        raise typer.Exit(1)
    print("\nkept in\n" + "\n".join(f"    {printable(folder)}" for folder in where))
