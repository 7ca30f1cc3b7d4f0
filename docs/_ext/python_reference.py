"""The Python reference: a page for each public module, written before a build, from its `__all__`."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from generated import write

if TYPE_CHECKING:
    from sphinx.application import Sphinx

# Modules by page, in the order of the sidebar.
MODULES = {
    "python": "lossreg",
    "python_segmentation": "lossreg_segmentation",
    "python_sam": "lossreg_sam",
    "python_records": "lossreg.records",
    "python_health": "lossreg.health",
    "python_targets": "lossreg.health.targets",
    "python_integrations": "lossreg.integrations",
    "python_authoring": "lossreg.authoring",
    "python_testing": "lossreg.testing",
}
KINDS = {
    "Functions": "autofunction",
    "Classes": "autoclass",
    "Errors": "autoexception",
    "Objects": "autodata",
}
OPTIONS = {"autoclass": ["members"], "autoexception": ["members"], "autodata": ["no-value"]}


def kind(value: object) -> str:
    """Return the heading under which a public name stands."""
    if inspect.isclass(value):
        return "Errors" if issubclass(value, BaseException) else "Classes"
    return "Functions" if inspect.isroutine(value) else "Objects"


def page(module: ModuleType) -> str:
    """Return the page of a module."""
    from docstrings import rest

    names: dict[str, list[str]] = {heading: [] for heading in KINDS}
    elsewhere = []
    for name in module.__all__:
        value = getattr(module, name)
        if getattr(import_module("lossreg"), name, None) is value and module.__name__ != "lossreg":
            elsewhere.append(f"{{py:obj}}`lossreg.{name}`")
        elif not inspect.ismodule(value):
            names[kind(value)].append(name)
    blocks = [f"# `{module.__name__}`", in_rest(f".. module:: {module.__name__}\n\n{rest(module.__doc__ or '')}")]
    if elsewhere:
        blocks.append(f"It also has {', '.join(elsewhere)}.")
    for heading, found in names.items():
        if found:
            blocks += [f"## {heading}", in_rest("\n".join(described(KINDS[heading], name) for name in found))]
    return "\n\n".join(blocks) + "\n"


def described(directive: str, name: str) -> str:
    """Return the directive that documents a name of the current module."""
    return "\n".join([f".. {directive}:: {name}", *(f"   :{option}:" for option in OPTIONS.get(directive, ())), ""])


def in_rest(text: str) -> str:
    """Return reStructuredText for a page in Markdown."""
    return f"```{{eval-rst}}\n{text}\n```"


def generate(app: Sphinx) -> None:
    """Write the pages; one that would be the same stays, so that it is not built again."""
    folder = Path(app.srcdir) / "reference"
    for name, module in MODULES.items():
        write(folder / f"{name}.md", page(import_module(module)))


def of_ours(app: Sphinx, what: str, name: str, obj: object, skip: bool, options: object) -> bool | None:
    """Leave out members that other libraries define, such as those of nn.Module."""
    module = getattr(inspect.unwrap(obj) if callable(obj) else obj, "__module__", None) or "lossreg"
    return None if module.startswith("lossreg") else True


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the handlers."""
    app.connect("builder-inited", generate)
    app.connect("autodoc-skip-member", of_ours)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
