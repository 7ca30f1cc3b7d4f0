"""Versions of the site as folders: `python -m docs.check.publish SITES 0.1` puts the built site there.

The newest release also lies at the root of SITES. Each copy has a list of all versions, which its pages offer.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from packaging.version import InvalidVersion, Version

from .build import SITE

LIST = "versions.json"
DEV = "dev"


def publish(built: Path, sites: Path, version: str) -> None:
    """Copy a built site into the folder of its version, and to the root if no release is newer; list all versions."""
    folder = sites / version
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(built, folder)
    names = versions(sites)
    if version == names[0]:
        shutil.copytree(built, sites, dirs_exist_ok=True)
    write_list(sites, names, "")
    for name in names:
        write_list(sites / name, names, "../")


def versions(sites: Path) -> list[str]:
    """Return the names of the versions: releases, the newest first, then "dev"."""
    names = [path.name for path in sites.iterdir() if (path / "index.html").is_file()]
    releases = sorted((name for name in names if _is_version(name)), key=Version, reverse=True)
    return [*releases, *([DEV] if DEV in names else [])]


def write_list(folder: Path, names: list[str], root: str) -> None:
    """Write the list of a copy. root: the way from it to the root."""
    rows = [{"name": name, "path": f"{root}{name}/"} for name in names]
    (folder / LIST).write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def _is_version(name: str) -> bool:
    try:
        Version(name)
    except InvalidVersion:
        return False
    return True


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Put the built site into the folder of a version.")
    parser.add_argument("sites", type=Path)
    parser.add_argument("version")
    options = parser.parse_args()
    options.sites.mkdir(parents=True, exist_ok=True)
    publish(SITE, options.sites, options.version)
