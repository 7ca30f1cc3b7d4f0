"""Runs of the code blocks of a page of the documentation."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

import lossreg
from lossreg.hooks import manager as hooks

BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)


def run_blocks(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the Python blocks of a page in order, in one namespace, with `folder` as the current one.

    A text block must equal the output of the block before it. A YAML block that begins with `# name` becomes a file.
    """
    monkeypatch.chdir(folder)
    monkeypatch.setattr(hooks, "_complete", None)  # a page may register hooks
    namespace: dict = {"__name__": "acme_losses"}
    printed = ""
    with lossreg.losses.scope():
        for language, code in BLOCK.findall(page.read_text()):
            name = re.match(r"# (\S+)\n", code)
            if language == "python":
                output = io.StringIO()
                with contextlib.redirect_stdout(output):
                    exec(compile(code, f"{page.name} block", "exec", dont_inherit=True), namespace)
                printed = output.getvalue()
            elif language == "text":
                assert printed == code
            elif language == "yaml" and name:
                (folder / name[1]).write_text(code)
