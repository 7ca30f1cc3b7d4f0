"""`lossreg manifest build` and `lossreg manifest check`: the manifests of packages, for their authors."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated

import typer

from lossreg.errors import LossregError
from lossreg.messages import printable

Packages = Annotated[list[str], typer.Argument(metavar="PACKAGE...", help="Top-level packages, by import name.")]
Exclude = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude",
        metavar="MODULE",
        help="A module that registers no loss, and is not imported; a pattern such as 'acme.tests*' names several."
        " May be repeated. For every build, write [tool.lossreg.manifest] exclude = [...] into pyproject.toml.",
        show_default=False,
    ),
]


def add_to(app: typer.Typer) -> None:
    """Register the command group of this file."""
    group = typer.Typer(
        help="Describe the losses of a package, so that lossreg finds them without importing it.", no_args_is_help=True
    )
    group.command("build")(build)
    group.command("check")(check)
    app.add_typer(group, name="manifest")


def build(packages: Packages, exclude: Exclude = None) -> None:
    """Write lossreg.json into the folder of each package. Exit 1 if a package cannot be described as a whole.

    All modules of a package are imported. If one cannot be, its manifest stays as it is.
    """
    from lossreg.authoring import manifest_writer
    from lossreg.authoring.next_steps import next_steps

    def write(package: str) -> None:
        path = manifest_writer.build(package, exclude or ())
        print(path)
        for remark in manifest_writer.unchecked(package, exclude or ()):
            _tell(f"warning: {remark}")
        steps = next_steps(package, path)
        for number, step in enumerate(steps, 1):
            _tell(f"{number}. {step}" if len(steps) > 1 else step)

    _for_each(packages, write)


def check(packages: Packages) -> None:
    """Compare each lossreg.json with the code. Exit 1 with the differences, or if a module cannot be imported."""
    from lossreg.authoring import manifest_writer

    def compare(package: str) -> None:
        manifest_writer.check(package)
        print(f"{package}: up to date")

    _for_each(packages, compare)


def _for_each(packages: list[str], work: Callable[[str], None]) -> None:
    """Do the work for each package. The failure of one does not stop the others."""
    failed = False
    for package in packages:
        try:
            work(package)
        except LossregError as error:
            failed = True
            _tell(f"lossreg: {error}")
    if failed:
        raise typer.Exit(1)


def _tell(text: str) -> None:
    sys.stdout.flush()  # the text belongs below the path that is printed already
    print("\n".join(map(printable, text.splitlines())), file=sys.stderr)
