"""A build of the site in which every warning is an error."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

DOCS = Path(__file__).parents[1]
BUILT = DOCS / "_build"
SITE = BUILT / "html"


def build(*, cold: bool = False, site: Path = SITE) -> float:
    """Build the site and return the seconds that it took. Raises CalledProcessError after the first list of warnings.

    Args:
        cold: read and write every page, whether it has changed or not.
        site: folder of the pages.
    """
    start = time.monotonic()
    options = ["--fail-on-warning", "--nitpicky", "--quiet", *(["--fresh-env", "--write-all"] if cold else [])]
    command = [sys.executable, "-m", "sphinx", *options, "--doctree-dir", str(BUILT / "doctrees")]
    subprocess.run([*command, str(DOCS), str(site)], check=True)
    return time.monotonic() - start
