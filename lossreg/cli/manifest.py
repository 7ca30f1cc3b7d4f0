"""`lossreg manifest build` and `lossreg manifest check`: the manifests of packages, for their authors."""

from __future__ import annotations

from typing import Annotated

import typer

Packages = Annotated[list[str], typer.Argument(metavar="PACKAGE...", help="Top-level packages, by import name.")]


def add_to(app: typer.Typer) -> None:
    """Register the command group of this file."""
    group = typer.Typer(
        help="Describe the losses of a package, so that lossreg finds them without importing it.", no_args_is_help=True
    )
    group.command("build")(build)
    group.command("check")(check)
    app.add_typer(group, name="manifest")


def build(packages: Packages) -> None:
    """Write lossreg.json into the folder of each package."""
    from lossreg.authoring import manifest_writer

    for package in packages:
        print(manifest_writer.build(package))
        if not manifest_writer.is_declared(package):
            typer.echo(
                f"{package} does not declare its manifest; add this to pyproject.toml and install the package again:\n"
                f'  [project.entry-points."lossreg.manifests"]\n  {package} = "{package}:lossreg.json"',
                err=True,
            )


def check(packages: Packages) -> None:
    """Compare each lossreg.json with the code. Exit 1 with the differences."""
    from lossreg.authoring import manifest_writer

    for package in packages:
        manifest_writer.check(package)
        print(f"{package}: up to date")
