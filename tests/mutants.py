"""Mutation tests: break chosen places of the code, one at a time, and find the test that notices. Run by hand.

    .venv/bin/python tests/mutants.py                            all mutants; exit code 1 if one is not noticed
    .venv/bin/python tests/mutants.py --only dice-smooth         some mutants
    .venv/bin/python tests/mutants.py --table docs/testing.md    all, and write the outcomes to that page

The list is mutants.toml. The checkout is not changed: its tracked files are copied to a temporary folder, and
broken and tested there.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
LIST = Path(__file__).with_suffix(".toml")
BEGIN, END = "<!-- written by tests/mutants.py -->", "<!-- end -->"
AT_ONCE = 2
PATIENCE = 1800  # seconds
PACKAGES = ("lossreg", "lossreg_segmentation", "lossreg_sam")
DEFAULT = ("-m", "not tools")  # the tests of `make test`
# The conformance kit's cases for our losses. pytest only reads the conftest.py files of its arguments.
CASES = ("plugins/lossreg-segmentation/tests/conftest.py", "plugins/lossreg-sam/tests/conftest.py")

_FAILED = re.compile(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", re.MULTILINE)


@dataclass(frozen=True)
class Mutant:
    """One mistake: `old`, which occurs once in a file, becomes `new`.

    Args:
        harm: the harm to a user.
        tests: files, or checks of the conformance kit; one must fail.
        tools: True if they start processes or compilers, so that only `make test-all` runs them.
    """

    name: str
    file: str
    old: str
    new: str
    harm: str
    tests: list[str]
    tools: bool = False

    @property
    def selection(self) -> tuple[str, ...]:
        """Return the tests as arguments of pytest."""
        cases = CASES if any(test.startswith("pyproject.toml::") for test in self.tests) else ()
        return (*self.tests, *cases, *(() if self.tools else DEFAULT))


class Outcome(NamedTuple):
    """The outcome of tests. failed: the first failed test or empty. trouble: why there is no outcome, or empty."""

    seconds: float
    failed: str = ""
    trouble: str = ""

    @property
    def summary(self) -> str:
        """Return the outcome in a line."""
        return f"failed {self.failed}" if self.failed else self.trouble or "all pass"


def mutants() -> list[Mutant]:
    """Read the list."""
    return [Mutant(**fields) for fields in tomllib.loads(LIST.read_text(encoding="utf-8"))["mutant"]]


def misfits(listed: Iterable[Mutant]) -> list[str]:
    """List the mutants that no longer fit the code, each with the reason."""
    found = []
    for one in listed:
        path = ROOT / one.file
        times = path.read_text(encoding="utf-8").count(one.old) if path.is_file() else 0
        if times != 1:
            found.append(f"{one.name}: its old text occurs {times} times in {one.file}, and must occur once")
        files = [test.partition("::")[0] for test in one.tests]
        found += [f"{one.name}: there is no file {file}" for file in files if not (ROOT / file).is_file()]
    return found


class Copy:
    """A copy of the tracked files, in a folder where they may be broken."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
        for name in listed.stdout.rstrip("\0").split("\0"):
            if (ROOT / name).is_file():  # unless it is about to be deleted
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)
        places = [folder, *(path.parent for path in folder.glob("plugins/*/pyproject.toml"))]
        self.environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(map(str, places)),  # precedes installed packages, also editable ones
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
        }
        code = "".join(f"import {name}; print({name}.__file__)\n" for name in PACKAGES)
        files = self._python("-c", code).stdout.split()
        print("imported are", *files, flush=True)
        if len(files) < len(PACKAGES) or not all(folder in Path(file).parents for file in files):
            raise RuntimeError(f"not all of {PACKAGES} are imported from {folder}, so its tests would prove nothing")

    def tested(self, selection: Iterable[str], kernels: str = "sound") -> Outcome:
        """Run tests until one fails. `kernels` names the folder for kernels that Numba compiles."""
        start = time.monotonic()
        try:
            run = self._python("-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *selection, kernels=kernels)
        except subprocess.TimeoutExpired:
            return Outcome(PATIENCE, trouble=f"still running after {PATIENCE} s")
        seconds, failed = time.monotonic() - start, _FAILED.search(run.stdout)
        if run.returncode == 0 or failed:
            return Outcome(seconds, failed[1] if failed else "")
        return Outcome(seconds, trouble=f"pytest ended with {run.returncode}: {run.stdout[-500:]}{run.stderr[-500:]}")

    @contextmanager
    def broken(self, mutant: Mutant) -> Iterator[None]:
        """Make the mistake for the duration of a block."""
        path = self.folder / mutant.file
        sound = path.read_text(encoding="utf-8")
        path.write_text(sound.replace(mutant.old, mutant.new), encoding="utf-8")
        try:
            yield
        finally:
            path.write_text(sound, encoding="utf-8")

    def _python(self, *arguments: str, kernels: str = "sound") -> subprocess.CompletedProcess[str]:
        environment = self.environment | {"NUMBA_CACHE_DIR": str(self.folder / ".kernels" / kernels)}
        command = [sys.executable, *arguments]
        return subprocess.run(
            command, cwd=self.folder, env=environment, timeout=PATIENCE, capture_output=True, text=True, check=False
        )


_own = threading.local()  # the copy of this thread


def begin(scratch: str) -> None:
    """Make the copy of this thread."""
    _own.copy = Copy(Path(tempfile.mkdtemp(dir=scratch)).resolve())


def passing(selection: tuple[str, ...]) -> Outcome:
    """Run tests without any mistake, because tests that fail anyway prove nothing."""
    found: Outcome = _own.copy.tested(selection)
    print(f"without mistakes: {found.summary} ({found.seconds:.0f} s): {' '.join(selection)}", flush=True)
    return found


def judged(mutant: Mutant, sound: Outcome, *, whole: bool) -> Outcome:
    """Test a mutant with its tests, if they pass without it; with `whole`, with all tests if its own still pass."""
    copy: Copy = _own.copy
    found = Outcome(0, trouble=f"they fail without it: {sound.summary}")
    if not sound.failed and not sound.trouble:
        # Numba checks for changes in a kernel's own file, but not in the files that it imports.
        kernels = mutant.name if "numba" in mutant.file else "sound"
        with copy.broken(mutant):
            found = copy.tested(mutant.selection, kernels)
            if whole and not found.failed:
                found = copy.tested(DEFAULT, kernels)
    print(f"{mutant.name}: {found.summary} ({found.seconds:.0f} s)", flush=True)
    return found


def outcomes(chosen: list[Mutant], *, whole: bool) -> list[Outcome]:
    """Return the outcome of each mutant."""
    with (
        tempfile.TemporaryDirectory(prefix="mutants-") as scratch,
        ThreadPoolExecutor(AT_ONCE, initializer=begin, initargs=(scratch,)) as pool,
    ):
        selections = list(dict.fromkeys(one.selection for one in chosen))
        sound = dict(zip(selections, pool.map(passing, selections), strict=True))
        return list(pool.map(lambda one: judged(one, sound[one.selection], whole=whole), chosen))


def table(found: Iterable[tuple[Mutant, Outcome]]) -> str:
    """Return the outcomes as a table in Markdown."""
    lines = ["| mistake | file | what a user would suffer | noticed by | s |", "|---|---|---|---|--:|"]
    for mutant, outcome in found:
        noticed = f"`{outcome.failed}`" if outcome.failed else "**no test**"
        where = " (`make test-all`)" if mutant.tools else ""
        cells = (mutant.name, f"`{mutant.file}`", mutant.harm, noticed + where, f"{outcome.seconds:.0f}")
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def put(page: Path, lines: str) -> None:
    """Replace the text between the marks of a page."""
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        sys.exit(f"{page} lacks the lines {BEGIN} and {END}; add them around the place of the table")
    page.write_text(f"{before}{begin}\n\n{lines}\n\n{end}{after}", encoding="utf-8")


def main() -> None:
    """Read the arguments, check that every mutant fits, and judge the selected ones."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only these mutants")
    parser.add_argument("--list", action="store_true", help="print the mutants, and run nothing")
    parser.add_argument("--whole", action="store_true", help="run all tests if the expected ones do not fail")
    parser.add_argument("--table", type=Path, metavar="PAGE", help="write the outcomes between the marks of this page")
    given = parser.parse_args()
    every = mutants()
    if wrong := misfits(every):
        sys.exit("\n".join([f"{LIST.name} does not fit the code:", *wrong]))
    if unknown := {*(given.only or ())} - {one.name for one in every}:
        parser.error(f"no mutant is called {', '.join(sorted(unknown))}; see --list")
    chosen = [one for one in every if given.only is None or one.name in given.only]
    if given.only and given.table:
        parser.error("--table needs all mutants: remove --only")
    if given.list:
        print(*(f"{one.name}: {one.harm}" for one in chosen), sep="\n")
        return
    found = list(zip(chosen, outcomes(chosen, whole=given.whole), strict=True))
    if given.table:
        put(given.table, table(found))
    missed = [mutant.name for mutant, outcome in found if not outcome.failed]
    print(f"{len(found) - len(missed)} of {len(found)} are noticed", *missed, sep="\n  not ")
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
