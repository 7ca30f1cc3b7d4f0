"""Next steps of an author after `lossreg manifest build`: declare the manifest, pack it, install the package."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lossreg.authoring.manifest_writer import is_declared
from lossreg.authoring.project import INSTALLED, PYPROJECT, SETUP_CFG, SETUP_PY, Project, in_table, project_of
from lossreg.authoring.wheel_contents import Advice, addition, missing
from lossreg.discovery.distributions import MANIFESTS_GROUP, normalized
from lossreg.discovery.manifest import FILE_NAME, package_folder


def next_steps(package: str, path: Path) -> list[str]:
    """Return the steps that are left until lossreg and the wheel have the manifest that was written to a path."""
    if {*INSTALLED} & {*path.parts}:
        return [
            f"{path} is in an installed copy of {package}, and the sources do not have it: run `pip install --editable"
            f" .` in their folder, and then `lossreg manifest build {package}` again"
        ]
    project = project_of(path.parent)
    known = is_declared(package)
    steps = [] if known or _declares(project, package) else [_text(declaration(project, package), "lossreg", project)]
    if project is not None:
        data = missing(project, package, path.relative_to(project.folder).as_posix())
        steps += [_text(data, "the wheel", project)] if data else []
    if package_folder(package).joinpath(FILE_NAME).resolve() != path.resolve():
        steps.append("install the package again: a strict editable install has only the files of its installation")
    elif not known:
        folder = project.folder if project else "the folder of its pyproject.toml"
        steps.append(f"install the package: `pip install --editable .` in {folder}; a later build needs no new install")
    return steps


def _text(advice: Advice, reader: str, project: Project | None) -> str:
    file = project.folder / advice.file if project else advice.file
    lines = [f"for {reader}, {advice.action} {file}" + ":" * bool(advice.lines), *advice.lines]
    return "\n    ".join(lines)


def declaration(project: Project | None, package: str) -> Advice:
    """Return the lines that declare the manifest, in the form that the build backend of the project reads."""
    name, value = provider_of(project, package), f"{package}:{FILE_NAME}"
    line = f'{name} = "{value}"'
    if project is None or _is_standard(project):
        return addition(project, PYPROJECT, f'project.entry-points."{MANIFESTS_GROUP}"', line)
    for table, place in (("tool.poetry", "plugins"), ("tool.flit", "entrypoints")):
        if project.at(table):
            return addition(project, PYPROJECT, f'{table}.{place}."{MANIFESTS_GROUP}"', line)
    if project.setup_py and not project.setup_cfg.get("metadata"):
        argument = f'entry_points={{"{MANIFESTS_GROUP}": ["{name} = {value}"]}},'
        return Advice(SETUP_PY, "add to the arguments of setup in", (argument,))
    return addition(project, SETUP_CFG, "options.entry_points", f"{MANIFESTS_GROUP} =", f"    {name} = {value}")


def _is_standard(project: Project) -> bool:
    """Return whether the table [project] of pyproject.toml may hold entry points."""
    if project.at("project"):
        return "entry-points" not in project.at("project.dynamic", [])
    return not (project.at("tool.poetry") or project.at("tool.flit") or project.setup_cfg or project.setup_py)


def provider_of(project: Project | None, package: str) -> str:
    """Return the name of the provider by convention: that of the distribution, without "lossreg-" before it."""
    return normalized((project.name if project else "") or package).removeprefix("lossreg-")


def _declares(project: Project | None, package: str) -> bool:
    """Return whether a file of the project declares the manifest, and only the installed metadata is older."""
    if project is None:
        return False
    tables: list[Any] = [
        in_table(project.pyproject, [*table.split("."), MANIFESTS_GROUP])
        for table in ("project.entry-points", "tool.poetry.plugins", "tool.flit.entrypoints")
    ]
    tables.append(in_table(project.setup_cfg, ["options.entry_points", MANIFESTS_GROUP]))
    tables.append(in_table(project.setup_py, ["entry_points", MANIFESTS_GROUP]))
    lines = [[*found.values()] if isinstance(found, Mapping) else found or [] for found in tables]
    return any(f"{package}:" in str(found) for found in lines)
