"""Tries of single wheels: the declared dependencies are enough to import it, to list its losses and to load them.

One environment has the dependencies of lossreg, because every plugin needs lossreg. Each wheel is installed with its
further dependencies, used, and removed with them; torch alone would take minutes in an environment per wheel.
"""

from __future__ import annotations

import os
import subprocess
import venv
from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import Requirement

from release.distribution import ROOT, Distribution

# Loads every loss whose library is installed: providers describe libraries that their users install.
PROBE = """
import importlib, json, subprocess, sys
package, distribution, lossreg = sys.argv[1:]
importlib.import_module(package)
from lossreg import losses
mine = [entry for entry in losses.entries() if entry.distribution == distribution]
listed = json.loads(subprocess.run([lossreg, "list", "--json"], capture_output=True, text=True, check=True).stdout)
names = {(loss["provider"], loss["name"].rpartition("/")[2]) for loss in listed}
missing = [entry.full_name for entry in mine if (entry.provider, entry.name) not in names]
if missing or not mine:
    sys.exit(f"lossreg list does not show {', '.join(missing) or 'any of its losses'}")
loaded = [losses.get(entry.full_name) for entry in mine if entry.state != "missing"]
print(f"{len(mine)} losses listed, {len(loaded)} loaded")
"""


class Environment:
    """A virtual environment in which wheels are tried one after another."""

    def __init__(self, folder: Path, needed: Iterable[Requirement]) -> None:
        venv.create(folder, with_pip=True)
        self._bin = folder / "bin"
        self._install(needed)
        self._always = self._installed()

    def try_alone(self, distribution: Distribution, needed: Iterable[Requirement], wheels: Path) -> tuple[str, str]:
        """Install a wheel, use it, and remove it; return its output and the problem, one of them empty."""
        self._install(needed)
        # Without an index, so that the wheels in dist/ are used.
        installed = self._pip("install", "--no-index", "--find-links", str(wheels), distribution.name)
        if installed.returncode:
            return "", f"{distribution.project_file}: its wheel cannot be installed: {_last(installed.stderr)}"
        # -I: nothing is imported from this checkout.
        arguments = ["-I", "-c", PROBE, distribution.package, distribution.name, str(self._bin / "lossreg")]
        used = self._python(*arguments)
        self._pip("uninstall", "--yes", *(self._installed() - self._always)).check_returncode()
        if used.returncode:
            return "", f"{distribution.project_file}: its wheel alone cannot be used: {_last(used.stderr)}"
        return used.stdout.strip(), ""

    def _install(self, needed: Iterable[Requirement]) -> None:
        wanted = [str(each) for each in needed]
        options = ["--no-compile", "--constraint", str(ROOT / "constraints.txt")]
        if wanted and (done := self._pip("install", *options, *wanted)).returncode:
            raise SystemExit(f"the dependencies of the wheels cannot be installed:\n{done.stderr}")

    def _installed(self) -> set[str]:
        listed = self._pip("list", "--format", "freeze").stdout.splitlines()
        return {line.partition("==")[0] for line in listed}

    def _pip(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self._python("-m", "pip", "--disable-pip-version-check", *arguments)

    def _python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environ = {key: value for key, value in os.environ.items() if not key.startswith("LOSSREG")}
        command = [str(self._bin / "python"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environ)


def foreign(requirements: Iterable[Requirement]) -> list[Requirement]:
    """Return the requirements of a wheel that are not ours, without extras."""
    return [
        needed
        for needed in requirements
        if not needed.name.startswith("lossreg") and (needed.marker is None or needed.marker.evaluate({"extra": ""}))
    ]


def _last(output: str) -> str:
    return (output.strip().splitlines() or ["no output"])[-1]
