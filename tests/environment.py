"""A virtual environment for tests of packages that are built and installed."""

from __future__ import annotations

import os
import subprocess
import sysconfig
import venv
from pathlib import Path


class Environment:
    """A virtual environment that has the packages of this one as well."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, symlinks=True)
        self.python = folder / "bin" / "python"
        self.folder = folder
        (site,) = folder.glob("lib/python*/site-packages")
        # addsitedir, unlike a path alone, reads the .pth files there: editable installs consist of those.
        here = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
        (site / "here.pth").write_text("".join(f"import site; site.addsitedir({path!r})\n" for path in here))

    def run(
        self,
        *arguments: str | Path,
        path: str | Path = "",
        status: int = 0,
        cwd: Path | None = None,
        errors: bool = False,
    ) -> str:
        """Run its Python, and return the output, or the text for errors. The current folder is not on sys.path.

        Args:
            path: a folder or archive on sys.path.
            status: the expected exit code.
        """
        env = {name: value for name, value in os.environ.items() if not name.startswith(("LOSSREG", "PYTHON", "PIP"))}
        programs = f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ.get('PATH', '')}"  # uv_build is one of them
        env |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(path), "PATH": programs}
        command = [str(self.python), "-P", *map(str, arguments)]
        done = subprocess.run(command, cwd=cwd or self.folder, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stderr if errors else done.stdout

    def lossreg(self, *arguments: str | Path, **options: object) -> str:
        """Run a command of lossreg."""
        return self.run("-c", "from lossreg.cli import main; main()", *arguments, **options)

    def pip(self, command: str, *arguments: str | Path) -> None:
        """Run a command of pip. The build back ends are those of this environment."""
        quiet = ("--quiet", "--disable-pip-version-check", "--no-index")
        self.run("-m", "pip", command, *quiet, "--no-deps", "--no-build-isolation", *arguments)
