"""Projects on disk: the loss of docs/start/publish.md, built as docs/howto/publish_a_package.md describes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PUBLISH, AUTHORS = ROOT / "docs" / "start" / "publish.md", ROOT / "docs" / "howto" / "publish_a_package.md"
BLOCK = re.compile(r"```\w+\n# ([\w./]+)[^\n]*\n(.*?)```", re.DOTALL)
LAYOUTS = ("flat", "src")
DECLARATIONS = ("lines", "manifest")


class BackEnd(NamedTuple):
    """One row of the table: its name, and the parts of pyproject.toml in its cells."""

    name: str
    system: str
    flat: str
    manifest: str


class Project(NamedTuple):
    """A project of one package with one loss. All of its names are its own, so that several can be installed."""

    name: str
    package: str
    folder: Path
    source: Path
    """The folder that holds the package's files."""
    declared: str
    """"lines" or "manifest"."""

    @property
    def distribution(self) -> str:
        """Return the name of the distribution, which is also its provider."""
        return f"acme-{self.name}"

    @property
    def loss(self) -> str:
        """Return the name of its loss."""
        return f"hinge_{self.name}".replace("-", "_")


def blocks(page: Path, heading: str) -> dict[str, str]:
    """Return the code blocks of a section by the file that their first line names; blocks of one file are joined."""
    section = page.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    found: dict[str, str] = {}
    for file, code in BLOCK.findall(section):
        found[file] = found.get(file, "") + code
    return found


def back_ends() -> list[BackEnd]:
    """Return the rows of the table. A cell holds the lines of pyproject.toml as code, or nothing."""
    section = AUTHORS.read_text().partition("\n## Build back ends\n")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in re.findall(r"^\|.+\|$", section, re.MULTILINE)]
    return [BackEnd(name, *("\n".join(re.findall("`([^`]+)`", cell)) for cell in cells)) for name, *cells in rows[2:]]


def write(folder: Path, back_end: BackEnd, layout: str, declared: str, package: str = "") -> Project:
    """Write the project of a back end in one layout, declared by a line per loss or by a manifest.

    Args:
        package: the import name, which may lie in a namespace: "acme_ns.losses". By default the project's own.
    """
    name = "-".join([back_end.name.lower(), layout, declared, *package.split(".")[1:]])
    package = package or f"acme_{name}".replace("-", "_")
    root = folder / name / "src" if layout == "src" else folder / name
    project = Project(name, package, folder / name, root.joinpath(*package.split(".")), declared)
    project.source.mkdir(parents=True)
    (project.source / "__init__.py").touch()
    loss = blocks(PUBLISH, "Write your loss")["acme_losses/hinge.py"]
    (project.source / "hinge.py").write_text(_renamed(loss, project))
    group = {"lines": "lossreg.losses", "manifest": "lossreg.manifests"}[declared]
    (point,) = re.findall(rf'(\[project\.entry-points\."{group}"\]\n.+\n)', AUTHORS.read_text())
    parts = [
        f"[build-system]\n{back_end.system}",
        f'[project]\nname = "{project.distribution}"\nversion = "1.0"\ndescription = "A loss"',
        point,
        back_end.flat if layout == "flat" else "",
        back_end.manifest if declared == "manifest" else "",
    ]
    (project.folder / "pyproject.toml").write_text(_renamed("\n\n".join(parts), project))
    return project


def _renamed(text: str, project: Project) -> str:
    """Replace the names of the documentation by those of the project."""
    text = re.sub("^acme_losses = ", f'"{project.package}" = ', text, flags=re.MULTILINE)  # a key may have no dot
    text = text.replace("acme_losses", project.package).replace("acme-losses", project.distribution)
    return text.replace("mask_hinge", project.loss)
