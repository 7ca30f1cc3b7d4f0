"""The distributions that this repository publishes: lossreg itself, and each folder of plugins/."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent


class Distribution(NamedTuple):
    """A distribution: its name on the package index and its folder."""

    name: str
    folder: Path

    @property
    def package(self) -> str:
        """Return the name of its package."""
        return self.name.replace("-", "_")

    @property
    def project_file(self) -> str:
        """Return the path of its pyproject.toml from the root, for messages."""
        return str((self.folder / "pyproject.toml").relative_to(ROOT))

    def committed(self) -> set[str]:
        """Return the files of its package that Git tracks, as paths from its folder."""
        listed = ["git", "ls-files", "-z", self.package]
        done = subprocess.run(listed, cwd=self.folder, capture_output=True, text=True, check=True)
        return {path for path in done.stdout.split("\0") if path}


def ours() -> list[Distribution]:
    """Return all distributions, lossreg first, because the others need it."""
    plugins = sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))
    return [Distribution("lossreg", ROOT), *(Distribution(folder.name, folder) for folder in plugins)]
