"""Gather the files for a GPU run in one folder, to be copied to a machine that has a GPU and no network.

The machine has Python, torch with Triton, NumPy, SciPy and Numba. The folder contains our wheels, their dependencies
and those of their tests, the peers of the benchmark, the scripts and the tests.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
OURS = (".", "plugins/lossreg-segmentation", "plugins/lossreg-sam")
SCRIPTS = ("benchmarks", "tests", "plugins/lossreg-segmentation/tests", "conftest.py", "pyproject.toml")
TESTS_NEED = ("pytest", "pytest-xdist", "hypothesis")
PEERS = ("monai", "kornia", "kornia_rs", "segmentation_models_pytorch")
THERE = ("torch", "numpy")  # built for that machine's driver and its other packages: they must not be replaced
MANYLINUX = ("2_28", "2_27", "2_17", "2014", "1")

PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")


def main() -> None:
    """Make the folder, replacing an old one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default="3.12", metavar="VERSION", help="Python of that machine (default 3.12)")
    parser.add_argument("--out", type=Path, default=ROOT / ".gpu", metavar="FOLDER", help="default .gpu")
    options = parser.parse_args()
    shutil.rmtree(options.out, ignore_errors=True)
    wheels = options.out / "wheels"
    build(wheels)
    download(wheels, options.python, [*needs(), *TESTS_NEED])
    download(wheels, options.python, PEERS, "--no-deps")  # torch is there, and their losses need no other dependency
    copy(options.out)
    files = [path for path in options.out.rglob("*") if path.is_file()]
    print(f"{options.out}: {len(files)} files, {sum(path.stat().st_size for path in files) / 1e6:.0f} MB")


def build(wheels: Path) -> None:
    """Build a wheel of each of our distributions."""
    projects = [str(ROOT / project) for project in OURS]
    subprocess.run([*PIP, "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", wheels, *projects], check=True)


def needs() -> list[str]:
    """List the dependencies of ours, without each other and without the packages that are there."""
    projects = [tomllib.loads((ROOT / project / "pyproject.toml").read_text())["project"] for project in OURS]
    there = {*THERE, *(project["name"] for project in projects)}
    found = {need for project in projects for need in project["dependencies"] if Requirement(need).name not in there}
    return sorted(found)


def download(wheels: Path, python: str, packages: Iterable[str], *options: str) -> None:
    """Download wheels in the versions of constraints.txt, for Linux on x86-64."""
    platforms = [
        f"--platform=manylinux{version if version.isdigit() else f'_{version}'}_x86_64" for version in MANYLINUX
    ]
    target = ["--only-binary=:all:", "--implementation=cp", f"--python-version={python}", *platforms]
    constraints = ["--constraint", str(ROOT / "constraints.txt")]
    subprocess.run([*PIP, "download", "-q", "-d", wheels, *constraints, *target, *options, *packages], check=True)


def copy(out: Path) -> None:
    """Copy scripts and tests to the same relative paths."""
    for name in SCRIPTS:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, out / name, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
        else:
            shutil.copy(ROOT / name, out / name)


if __name__ == "__main__":
    main()
