"""Check all distributions before they are published, and list the problems: `python -m release.check [--tag v0.2.0]`.

Builds every sdist, and from it the wheel, into dist/, the folder that is uploaded; and a wheel of the site. With --tag
the version is about to be published: the tag must match the version, and its entry in the changelog needs a date.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

from packaging.metadata import Metadata

from release import changelog, contents, metadata, version
from release.distribution import ROOT, Distribution, ours
from release.installation import Environment, foreign

DIST = ROOT / "dist"


def main() -> int:
    """Run every step; return 1 if any found a problem."""
    parser = argparse.ArgumentParser(description="Check all distributions that this repository publishes.")
    parser.add_argument("--tag", help="the tag that is about to be published, v and the version")
    tag = parser.parse_args().tag
    current = version.current()
    print(f"version {current}", flush=True)
    found = version.complaints(current) + version.tag_complaints(tag, current)
    found += changelog.complaints((ROOT / changelog.FILE).read_text(), current, dated=tag is not None)
    steps = {"build": build(), "site": site(current), "twine": twine()}
    steps |= {"archives": archives(current), "alone": installations()}
    for name, problems in steps.items():
        start = time.monotonic()
        found += problems
        print(f"{name}: {time.monotonic() - start:.0f} s", flush=True)
    print(*found, sep="\n", end="\n" if found else "", file=sys.stderr)
    print(f"{len(found)} problems" if found else f"{len(ours())} distributions of {current} are ready in dist/")
    return int(bool(found))


def build() -> Iterator[str]:
    """Build an sdist of each distribution, and the wheel from it; yield the failures."""
    shutil.rmtree(DIST, ignore_errors=True)
    for distribution in ours():
        command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(DIST), str(distribution.folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            yield f"{distribution.project_file}: does not build:\n{done.stdout}{done.stderr}"


def site(current: str) -> Iterator[str]:
    """Build the site of this version, and the wheel of its pages for `lossreg docs`; yield the failures."""
    pages = [sys.executable, "-m", "docs.check", "--only", "build"]
    wheel = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(DIST), str(ROOT / "docs")]
    for command in (pages, wheel):
        environment = os.environ | {"LOSSREG_DOCS_VERSION": current}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            yield f"docs/pyproject.toml: the site does not build:\n{done.stdout}{done.stderr}"
            return


def twine() -> Iterator[str]:
    """Yield the problems that twine finds: metadata that the package index refuses, a readme that it cannot render."""
    command = [sys.executable, "-m", "twine", "check", "--strict", *map(str, sorted(DIST.glob("*")))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        yield f"twine check --strict:\n{done.stdout}{done.stderr}"


def archives(current: str) -> Iterator[str]:
    """Check the metadata and the files of the wheels and sdists; yield the problems."""
    for distribution in ours():
        wheel, sdist = wheel_of(distribution), sdist_of(distribution)
        if wheel is None or sdist is None:
            yield f"{distribution.project_file}: its wheel or sdist is missing in dist/; see why it does not build"
            continue
        project_file, committed = distribution.project_file, distribution.committed()
        with zipfile.ZipFile(wheel) as archive:
            names = set(archive.namelist())
        yield from metadata.complaints(metadata_of(wheel), distribution.name, current, project_file)
        yield from contents.wheel_complaints(names, distribution.package, committed, project_file)
        with tarfile.open(sdist) as files:
            names = {name.partition("/")[2] for name in files.getnames()}
        yield from contents.sdist_complaints(names, committed, project_file)


def installations() -> Iterator[str]:
    """Try each wheel with only its declared dependencies; yield the problems."""
    wheels = {distribution: wheel_of(distribution) for distribution in ours()}
    needed = {
        distribution: foreign(Metadata.from_email(metadata_of(wheel), validate=False).requires_dist or ())
        for distribution, wheel in wheels.items()
        if wheel is not None
    }
    with tempfile.TemporaryDirectory() as folder:
        environment = Environment(Path(folder), needed.get(ours()[0], ()))
        for distribution, its_needs in needed.items():
            did, problem = environment.try_alone(distribution, its_needs, DIST)
            print(f"    {distribution.name}: {did or 'failed'}", flush=True)
            if problem:
                yield problem


def wheel_of(distribution: Distribution) -> Path | None:
    """Return its wheel in dist/, None if it is missing."""
    return next(DIST.glob(f"{distribution.package}-*.whl"), None)


def sdist_of(distribution: Distribution) -> Path | None:
    """Return its sdist in dist/, None if it is missing."""
    return next(DIST.glob(f"{distribution.package}-*.tar.gz"), None)


def metadata_of(wheel: Path) -> bytes:
    """Return the METADATA in a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA")))


if __name__ == "__main__":
    sys.exit(main())
