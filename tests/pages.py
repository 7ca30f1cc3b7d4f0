"""Runs of the code blocks of pages of the documentation, in a test or by `python tests/pages.py PAGE...`."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import sys
import tempfile
import time
import traceback
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


def run_apart(page: Path) -> dict[str, Any]:
    """Run a page in a process of its own and an empty folder; return its seconds, and its output if it failed."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as log:
        child = os.fork()
        if child == 0:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            os.chdir(folder)
            os._exit(_status(page))
        failed = os.waitpid(child, 0)[1] != 0
        log.seek(0)
        output = "\n".join(log.read().strip().splitlines()[-12:]) or "the process was killed"
    return {"page": str(page), "seconds": time.monotonic() - start, "problem": output if failed else ""}


def _status(page: Path) -> int:
    try:
        run_page(page)
    except BaseException:  # noqa: BLE001 - a page may exit, too
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


if __name__ == "__main__":
    held = _torchvision_operators() if find_spec("torchvision") else None
    if find_spec("torch"):
        import torch  # noqa: F401 - once for all pages, whose processes are copies of this one
    for name in sys.argv[1:]:
        print(json.dumps(run_apart(Path(name).resolve())), flush=True)
