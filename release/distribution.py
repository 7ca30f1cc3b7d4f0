"""The distributions that are published from this repository: lossreg itself, and each folder of plugins/."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent


class Distribution(NamedTuple):
    """What is published under one name."""

    name: str
    folder: Path

    @property
    def package(self) -> str:
        """The package that it holds."""
        return self.name.replace("-", "_")

    @property
    def project_file(self) -> str:
        """Where its metadata is written, for messages."""
        return str((self.folder / "pyproject.toml").relative_to(ROOT))

    def committed(self) -> set[str]:
        """The files of its package that Git tracks, by their paths from its folder."""
        listed = ["git", "ls-files", "-z", self.package]
        done = subprocess.run(listed, cwd=self.folder, capture_output=True, text=True, check=True)
        return {path for path in done.stdout.split("\0") if path}


def ours() -> list[Distribution]:
    """All of them, lossreg first: the others need it."""
    plugins = sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))
    return [Distribution("lossreg", ROOT), *(Distribution(folder.name, folder) for folder in plugins)]
