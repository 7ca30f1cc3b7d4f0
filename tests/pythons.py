"""The tests that need no torch, on every Python that lossreg supports: `python tests/pythons.py [VERSION ...]`.

Each Python gets an environment of its own: our packages from this checkout and, pinned, what lossreg needs but torch.
A Python that is not on this machine is passed over and named; one that was asked for must be there.
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
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

ROOT = Path(__file__).parent.parent
VERSIONS = ("3.11", "3.12", "3.13")
TOOLS = ("pytest", "pytest-xdist", "hypothesis", "jsonschema", "hatchling", "editables")

# Every other file of tests/ runs, so a new one does until its name is here. A single test takes the fixture `torch`.
NEED_TORCH = {
    "collapse_example",
    "sums",
    "conformance",
    "deep_supervision",
    "docs",
    "doctor",
    "evaluation",
    "examples",
    "executors",
    "factory",
    "gpu_kit",
    "gpu_parts",
    "monitor",
    "ranks",
    "statistics",
    "training",
    "hooks",
    "library",
    "loss",
    "new_plugin",
    "per_example",
    "plot",
    "point_sampled",
    "processes",
    "providers",
    "pytest_plugin",
    "row_validation",
    "writer",
    "registry_document",
    "scheduled",
    "targets",
    "timing",
    "uncertainty_weighting",
    "unions",
    "values",
}
NEED_EXTRAS = {
    "captions",
    "hydra",
    "aggregates",
    "config",
    "crash",
    "export",
    "deduplicate",
    "reader",
    "records",
    "report",
    "report_page",
    "check_targets",
}


class Verdict(NamedTuple):
    """What is said of one Python; whether it is good, None where nothing ran."""

    said: str
    good: bool | None


def main(wanted: list[str]) -> int:
    """Run them all; 1 where tests failed, where a Python that was asked for is missing, or where none is there."""
    verdicts = {}
    for version in wanted or VERSIONS:
        python = interpreter(version)
        if python is None:
            reason = f"skipped: python{version} is not on PATH nor of pyenv, or does not start"
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
    print(*(f"Python {version}: {verdict.said}" for version, verdict in verdicts.items()), sep="\n")
    found = {verdict.good for verdict in verdicts.values()}
    return int(False in found or True not in found)


def interpreter(version: str) -> Path | None:
    """The first Python of this version that starts and can make an environment."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    places = [Path(folder, f"python{version}") for folder in os.get_exec_path()]
    for path in [*places, *sorted(pyenv.glob(f"{version}.*/bin/python"))]:
        if not path.exists():
            continue
        probe = [path, "-c", "import ensurepip, sys; print('%d.%d' % sys.version_info[:2])"]
        started = subprocess.run(probe, capture_output=True, text=True, check=False)
        if started.stdout.strip() == version:
            return path
        said = (started.stderr or started.stdout or "nothing").strip()
        print(f"Python {version}: {path} is passed over, it says: {said.splitlines()[0]}")
    return None


def environment(python: Path, folder: Path) -> Path:
    """The Python of a new environment, with everything but torch."""
    subprocess.run([python, "-m", "venv", folder], check=True)
    inside = folder / "bin" / "python"
    pip = [inside, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = [text for text in project["dependencies"] if not re.match(r"torch\b", text)]
    subprocess.run([*pip, "--constraint", ROOT / "constraints.txt", *needed, *TOOLS], check=True)
    ours = [ROOT, *sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))]
    editable = [word for path in ours for word in ("--editable", str(path))]
    subprocess.run([*pip, "--no-deps", "--no-build-isolation", *editable], check=True)
    absent = "import importlib.util, sys; sys.exit(importlib.util.find_spec('torch') and 'torch was installed as well')"
    subprocess.run([inside, "-c", absent], check=True)
    return inside


def chosen() -> dict[str, list[Path]]:
    """The files that run, by name."""
    there: dict[str, list[Path]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        there.setdefault(path.stem.removeprefix("test_"), []).append(path)
    left_out = NEED_TORCH | NEED_EXTRAS
    if ghosts := left_out - there.keys():
        sys.exit(
            f"tests/pythons.py leaves out {', '.join(sorted(ghosts))}: there is no such file; take it off the list"
        )
    return {name: paths for name, paths in there.items() if name not in left_out}


def run_tests(python: Path, report: Path) -> Verdict:
    """Run what needs no torch with this Python."""
    files = chosen()
    options = ["-q", "-n", "2", "--dist", "worksteal", "-p", "no:cacheprovider", f"--junitxml={report}"]
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("LOSSREG", "PYTHON"))}
    done = subprocess.run(
        [python, "-m", "pytest", *options, *(path for paths in files.values() for path in paths)],
        cwd=ROOT,
        env=environ | {"OMP_NUM_THREADS": "1"},
        check=False,
    )
    counts, passed = tally(report)
    said = ", ".join(f"{number} {outcome}" for outcome, number in counts.items())
    # A file that skips itself for want of torch would go unnoticed.
    if silent := [name for name in files if not passed[name]]:
        said += f"; nothing passed in {', '.join(silent)}: if it all needs torch, put it on the list NEED_TORCH"
    return Verdict(said, done.returncode == 0 and not silent)


def tally(report: Path) -> tuple[Counter[str], Counter[str]]:
    """Tests by outcome, and those that passed by the name of their file."""
    outcomes, passed = Counter(passed=0), Counter[str]()
    for case in ElementTree.parse(report).iter("testcase"):
        outcome = next((child.tag for child in case if child.tag in ("skipped", "failure", "error")), "passed")
        outcomes[outcome] += 1
        if outcome == "passed":
            module = next(part for part in case.get("classname", "").split(".") if part.startswith("test_"))
            passed[module.removeprefix("test_")] += 1
    return outcomes, passed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
