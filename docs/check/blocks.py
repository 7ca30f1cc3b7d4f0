"""Runs of the Python blocks of each page, in an empty folder, with exactly the packages that the page names."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from .environments import Environments, NotInstalledError, requirements

ROOT = Path(__file__).parents[2]
RUNNER = ROOT / "tests" / "pages.py"
PATTERNS = ("README.md", "docs/**/*.md", "plugins/*/README.md")
NOT = ("docs/_build/", "docs/reference/python", "docs/reference/cli", "docs/trainers/")  # tests/trainers runs the last
SHELL = re.compile(r"^```(?:sh|bash|console)\n(.*?)^```", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```python\n", re.MULTILINE)
PATIENCE = 300  # seconds for a page


@dataclass(frozen=True)
class Outcome:
    """The run of a page. problem: empty if all is well."""

    page: str
    blocks: int
    seconds: float = 0.0
    problem: str = ""


def pages() -> list[Path]:
    """Return every page that has a block of Python."""
    found = sorted({path for pattern in PATTERNS for path in ROOT.glob(pattern)})
    named = [path for path in found if not str(path.relative_to(ROOT)).startswith(NOT)]
    return [path for path in named if BLOCK.search(path.read_text(encoding="utf-8"))]


def wanted(text: str) -> list[str]:
    """Return the packages that a page installs above its last block of Python."""
    above = text[: [match.start() for match in BLOCK.finditer(text)][-1]]
    return sorted({each for shell in SHELL.findall(above) for each in requirements(shell)})


def run(page: Path, environments: Environments) -> Outcome:
    """Run a page; warnings are errors."""
    text = page.read_text(encoding="utf-8")
    name, count = str(page.relative_to(ROOT)), len(BLOCK.findall(text))
    packages = wanted(text)
    if not packages:
        return Outcome(name, count, problem="no `pip install` line above its blocks names what they need")
    try:
        python = environments.python(packages)
    except NotInstalledError as error:
        return Outcome(name, count, problem=str(error))
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [python, RUNNER, page],
            cwd=folder,
            env=environment(Path(folder)),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
    problem = "" if done.returncode == 0 else "\n".join((done.stdout + done.stderr).strip().splitlines()[-12:])
    return Outcome(name, count, time.monotonic() - start, problem)


def environment(home: Path) -> dict[str, str]:
    """Return the variables of a run: those of this process without Python's and lossreg's own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "LOSSREG"))}
    return kept | {"PYTHONWARNINGS": "error", "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}


def run_all(found: Iterable[Path], folder: Path, packages: Sequence[Path]) -> list[Outcome]:
    """Run pages, two at once, and print a line for each."""
    environments = Environments(folder, packages)
    outcomes = []
    with ThreadPoolExecutor(2) as pool:
        for outcome in pool.map(lambda page: run(page, environments), found):
            state = f"\n    {outcome.problem}".replace("\n", "\n    ") if outcome.problem else ""
            print(f"  {outcome.page}: {outcome.blocks} blocks, {outcome.seconds:.0f} s{state}", flush=True)
            outcomes.append(outcome)
    return outcomes
