"""Runs of the Python blocks of each page, in an empty folder, with exactly the packages that the page names."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from .environments import Environments, NotInstalledError, requirements

ROOT = Path(__file__).parents[2]
RUNNER = ROOT / "tests" / "pages.py"
PATTERNS = ("README.md", "docs/**/*.md", "plugins/*/README.md")
NOT = ("docs/_build/", "docs/reference/python", "docs/reference/cli", "docs/trainers/")  # tests/trainers runs the last
SHELL = re.compile(r"^```(?:sh|bash|console)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINE = re.compile(r"`(pip install [^`\n]+)`")
BLOCK = re.compile(r"^```python\n", re.MULTILINE)
PATIENCE = 900  # seconds for a page: tutorials train, and machines are busy
AT_ONCE, CHUNK = 2, 12  # processes at once, and pages of each


@dataclass(frozen=True)
class Outcome:
    """The run of a page. problem: empty if all is well. missing: why it could not be run here, or empty."""

    page: str
    blocks: int
    seconds: float = 0.0
    problem: str = ""
    missing: str = ""


def pages() -> list[Path]:
    """Return every page that has a block of Python."""
    found = sorted({path for pattern in PATTERNS for path in ROOT.glob(pattern)})
    named = [path for path in found if not str(path.relative_to(ROOT)).startswith(NOT)]
    return [path for path in named if count(path)]


def count(page: Path) -> int:
    """Return the number of blocks of Python in a page."""
    return len(BLOCK.findall(page.read_text(encoding="utf-8")))


def wanted(text: str) -> list[str]:
    """Return the packages that a page installs above its last block of Python: in blocks of shell, else in a line."""
    above = text[: [match.start() for match in BLOCK.finditer(text)][-1]]
    return sorted({each for shell in SHELL.findall(above) or LINE.findall(above) for each in requirements(shell)})


def run(found: Iterable[Path], environments: Environments) -> Iterator[Outcome]:
    """Run pages, two at once, and yield the outcome of each; warnings are errors. Pages of one environment share it."""
    groups: dict[Path, list[Path]] = {}
    for page in found:
        packages = wanted(page.read_text(encoding="utf-8"))
        if not packages:
            yield _outcome(page, problem="no `pip install` line above its blocks names what they need")
            continue
        try:
            groups.setdefault(environments.python(packages), []).append(page)
        except NotInstalledError as error:
            yield _outcome(page, missing=str(error))
    chunks = [
        (python, group[start : start + CHUNK])
        for python, group in groups.items()
        for start in range(0, len(group), CHUNK)
    ]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for outcomes in pool.map(lambda chunk: run_chunk(*chunk), chunks):
            yield from outcomes


def run_chunk(python: Path, group: Sequence[Path]) -> list[Outcome]:
    """Run pages of one environment, one after another, each in a process and an empty folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        limit = PATIENCE * len(group)
        command = ["timeout", *map(str, (limit, python, RUNNER, *group))]
        done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    ran = {row["page"]: row for row in rows}
    return [
        _outcome(page, ran[str(page)]["seconds"], ran[str(page)]["problem"])
        if str(page) in ran
        else _outcome(page, problem=done.stderr.strip()[-2000:] or f"not done after {limit} s")
        for page in group
    ]


def _outcome(page: Path, seconds: float = 0.0, problem: str = "", missing: str = "") -> Outcome:
    return Outcome(str(page.relative_to(ROOT)), count(page), seconds, problem, missing)


def environment() -> dict[str, str]:
    """Return the variables of a run: those of this process without Python's and lossreg's own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "LOSSREG"))}
    return kept | {"PYTHONWARNINGS": "error", "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}


def run_all(found: Iterable[Path], folder: Path, packages: Sequence[Path]) -> list[Outcome]:
    """Run pages and print a line for each."""
    outcomes = []
    for outcome in run(found, Environments(folder, packages)):
        about = f"not run, {outcome.missing}" if outcome.missing else f"{outcome.seconds:.1f} s"
        print(f"  {outcome.page}: {outcome.blocks} blocks, {about}", flush=True)
        outcomes.append(outcome)
    return outcomes
