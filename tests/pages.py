"""Runs of the code blocks of a page of the documentation, in a test or by `python tests/pages.py PAGE`."""

from __future__ import annotations

import contextlib
import io
import re
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest  # an environment with only the packages of a page has none

BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)


def run_page(page: Path) -> dict[str, Any]:
    """Run the Python blocks of a page in order, in one namespace and in the current folder; return its names.

    A text block must equal the output of the block before it. A YAML block that begins with `# name` becomes a file.
    """
    namespace: dict[str, Any] = {"__name__": "acme_losses"}
    printed = ""
    for language, code in BLOCK.findall(page.read_text(encoding="utf-8")):
        name = re.match(r"# (\S+)\n", code)
        if language == "python":
            output = io.StringIO()
            with contextlib.redirect_stdout(output):
                exec(compile(code, f"{page.name} block", "exec", dont_inherit=True), namespace)
            printed = output.getvalue()
        elif language == "text":
            assert printed == code, f"{page.name} shows\n{code}\nand its block prints\n{printed}"
        elif language == "yaml" and name:
            Path(name[1]).write_text(code, encoding="utf-8")
    return namespace


def run_blocks(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run a page within a test, with `folder` as the current one; undo what it registers, and return its names."""
    import lossreg
    from lossreg.hooks import manager as hooks

    monkeypatch.chdir(folder)
    monkeypatch.setattr(hooks, "_complete", None)  # a page may register hooks
    with lossreg.losses.scope():
        return run_page(page)


def _torchvision_operators() -> object:
    """Define what torchvision needs on import beside a CPU build of torch, and return it: it lasts while it is held."""
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")
    if not torch.cuda.is_available():
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


if __name__ == "__main__":
    held = _torchvision_operators() if find_spec("torchvision") else None
    run_page(Path(sys.argv[1]))
