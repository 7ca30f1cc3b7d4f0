"""Runs of the tests that need no torch, on every Python that lossreg supports: `python tests/pythons.py [VERSION ...]`.

Each Python gets its own environment: our packages from this checkout, and lossreg's pinned dependencies without torch.
Without arguments, a Python that is missing on this machine is skipped with a message; a given version must be there.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Set
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

ROOT = Path(__file__).parent.parent
VERSIONS = ("3.11", "3.12", "3.13")
TOOLS = ("pytest", "pytest-xdist", "hypothesis", "jsonschema", "hatchling", "editables")

# Excluded files by name, and excluded folders of tests/. A new file runs until it is listed here. A single test that
# needs torch uses the fixture `torch`.
NEED_TORCH = {
    "benchmarks/",
    "composites/",
    "hooks/",
    "loss/",
    "packages/",
    "peers/",
    "targets/",
    "testing/",
    "trainers/",
    "annotations",
    "architecture_page",
    "calls",
    "collapse_example",
    "docs",
    "doctor",
    "examples",
    "factory",
    "library",
    "monitor",
    "new_plugin",
    "notebooks",
    "one_verdict",
    "plot",
    "processes",
    "providers",
    "public_names",
    "ranks",
    "registry_document",
    "statistics",
    "training",
    "tuples",
    "unions",
    "wrappers",
}
NEED_EXTRAS = {"integrations/", "records/", "check_targets", "records", "typing"}


class Verdict(NamedTuple):
    """The result of one Python: a text, and whether all is well; None if nothing ran."""

    text: str
    good: bool | None


def main(wanted: list[str]) -> int:
    """Run the tests on each Python; return 1 if tests failed, a given Python is missing, or none was found."""
    verdicts = {}
    for version in wanted or VERSIONS:
        python = interpreter(version)
        if python is None:
            reason = f"skipped: python{version} is neither on PATH nor in pyenv, or does not start"
            verdicts[version] = Verdict(reason, False if wanted else None)
            continue
        print(f"Python {version}: {python}", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            try:
                inside = environment(python, Path(folder, "venv"))
            except subprocess.CalledProcessError as error:
                verdicts[version] = Verdict(f"no environment: {shlex.join(map(str, error.cmd))} failed", False)
            else:
                verdicts[version] = run_tests(inside, Path(folder, "report.xml"))
    print(*(f"Python {version}: {verdict.text}" for version, verdict in verdicts.items()), sep="\n")
    found = {verdict.good for verdict in verdicts.values()}
    return int(False in found or True not in found)


def interpreter(version: str) -> Path | None:
    """Return the first Python of this version that starts and can make an environment."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    places = [Path(folder, f"python{version}") for folder in os.get_exec_path()]
    for path in [*places, *sorted(pyenv.glob(f"{version}.*/bin/python"))]:
        if not path.exists():
            continue
        probe = [path, "-c", "import ensurepip, sys; print('%d.%d' % sys.version_info[:2])"]
        started = subprocess.run(probe, capture_output=True, text=True, check=False)
        if started.stdout.strip() == version:
            return path
        output = (started.stderr or started.stdout or "no output").strip()
        print(f"Python {version}: skipping {path}: {output.splitlines()[0]}")
    return None


def environment(python: Path, folder: Path) -> Path:
    """Make an environment with everything except torch, and return its Python."""
    subprocess.run([python, "-m", "venv", folder], check=True)
    inside = folder / "bin" / "python"
    pip = [inside, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = [text for text in project["dependencies"] if not re.match(r"torch\b", text)]
    subprocess.run([*pip, "--constraint", ROOT / "constraints.txt", *needed, *TOOLS], check=True)
    ours = [ROOT, *sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))]
    editable = [word for path in ours for word in ("--editable", str(path))]
    subprocess.run([*pip, "--no-deps", "--no-build-isolation", *editable], check=True)
    absent = "import importlib.util, sys; sys.exit(importlib.util.find_spec('torch') and 'torch was installed too')"
    subprocess.run([inside, "-c", absent], check=True)
    return inside


def selected(excluded: Set[str] = NEED_TORCH | NEED_EXTRAS) -> dict[str, Path]:
    """Return the files to run, by place; exit if an exclusion matches no file, or only files of excluded folders."""
    unused, found = set(excluded), {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        folder, name = f"{path.parent.name}/", path.stem.removeprefix("test_")
        unused.discard(folder if folder in excluded else name)
        if not {folder, name} & excluded:
            found[path.relative_to(ROOT / "tests").with_suffix("").as_posix()] = path
    if unused:
        sys.exit(f"tests/pythons.py excludes {', '.join(sorted(unused))} without effect; remove it from the list")
    return found


def run_tests(python: Path, report: Path) -> Verdict:
    """Run the tests that need no torch with this Python."""
    files = selected()
    options = ["-q", "-n", "2", "--dist", "worksteal", "-p", "no:cacheprovider", f"--junitxml={report}"]
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("LOSSREG", "PYTHON"))}
    done = subprocess.run(
        [python, "-m", "pytest", *options, *files.values()],
        cwd=ROOT,
        env=environ | {"OMP_NUM_THREADS": "1"},
        check=False,
    )
    counts, passed = tally(report)
    text = ", ".join(f"{number} {outcome}" for outcome, number in counts.items())
    # A file that skips itself without torch would go unnoticed.
    if silent := [name for name in files if not passed[name]]:
        text += f"; nothing passed in {', '.join(silent)}: if all of it needs torch, add it to the list NEED_TORCH"
    return Verdict(text, done.returncode == 0 and not silent)


def tally(report: Path) -> tuple[Counter[str], Counter[str]]:
    """Count the tests by outcome, and the passed tests by the place of their file."""
    outcomes, passed = Counter(passed=0), Counter[str]()
    for case in ElementTree.parse(report).iter("testcase"):
        outcome = next((child.tag for child in case if child.tag in ("skipped", "failure", "error")), "passed")
        outcomes[outcome] += 1
        if outcome == "passed":
            parts = case.get("classname", "").split(".")  # such as tests.registry.test_names
            file = next(number for number, part in enumerate(parts) if part.startswith("test_"))
            passed["/".join(parts[1 : file + 1])] += 1
    return outcomes, passed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
