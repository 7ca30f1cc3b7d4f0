"""Search for inputs that lossreg does not expect: `python -m tests.fuzz [TARGET ...] --minutes 2`, or `make fuzz`.

Each input must end in success or a LossregError, within a second and 300 MiB. Each target runs in a process of its own.
The engine is atheris where it is installed, which is guided by coverage, and changes at random elsewhere. Inputs that
break a rule are kept, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any

NAMES = ["yaml", "toml", "json", "tags", "manifest", "manifest-structure", "metadata", "schema", "round-trip"]
NAMES += ["mask-png", "mask-tiff", "mask-gif", "mask-bmp", "mask-jpeg"]
NAMES += ["mask-array", "mask-archive", "mask-volume", "mask-annotations"]
ENGINES = ["atheris", "mutation"]
INSTRUMENTED = ["lossreg", "yaml", "tomllib"]


def main(arguments: list[str] | None = None) -> int:
    """Run the targets one after another, and print a table. Return 1 if there is a violation."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"all by default: {', '.join(NAMES)}")
    parser.add_argument("--minutes", type=float, default=1.0, help="for each target")
    parser.add_argument("--engine", choices=ENGINES, default=ENGINES[0] if find_spec("atheris") else ENGINES[1])
    parser.add_argument("--folder", type=Path, default=Path("runs/fuzz"), help="for inputs that break a rule")
    parser.add_argument("--replay", type=Path, help="run one target on this file, and show what it raises")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if unknown := {*options.targets} - {*NAMES}:
        parser.error(f"no target is called {', '.join(sorted(unknown))}; they are {', '.join(NAMES)}")
    if options.replay:
        return _replay(options.targets, options.replay)
    if options.child:
        return _child(options)
    options.folder.mkdir(parents=True, exist_ok=True)
    return table([_in_a_process(name, options) for name in options.targets or NAMES])


def table(results: list[dict[str, Any]]) -> int:
    """Print the results, and return 1 if there is a violation."""
    print(f"{'target':20} {'engine':10} {'seconds':>8} {'inputs':>9} {'violations':>11}")
    for found in results:
        print("{target:20} {engine:10} {seconds:8.0f} {inputs:9,}".format(**found), f"{len(found['violations']):11}")
    for found in results:
        for what, path in found["violations"]:
            print(f"{found['target']}: {what}\n  python -m tests.fuzz {found['target']} --replay {path}")
    return int(any(found["violations"] for found in results))


def _in_a_process(name: str, options: argparse.Namespace) -> dict[str, Any]:
    given = ["--minutes", str(options.minutes), "--engine", options.engine, "--folder", str(options.folder)]
    command = [sys.executable, "-m", "tests.fuzz", name, "--child", *given]
    done = subprocess.run(command, capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith('{"target"')]
    if lines:
        return dict(json.loads(lines[-1]))
    return {
        "target": name,
        "engine": options.engine,
        "seconds": 0,
        "inputs": 0,
        "violations": [(f"the process ended with {done.returncode}: {done.stderr[-2000:]}", "")],
    }


def _child(options: argparse.Namespace) -> int:
    instrumented: Any = nullcontext()
    if options.engine == "atheris":
        import atheris

        instrumented = atheris.instrument_imports(include=INSTRUMENTED)
    with instrumented:
        from tests.fuzz import search, targets

    (name,) = options.targets
    with tempfile.TemporaryDirectory(prefix="lossreg-fuzz-") as folder:
        with instrumented:
            target = targets.TARGETS[name](Path(folder))
            found = search.Search(name, target, options.folder, 60 * options.minutes)

        def done() -> None:
            seconds = time.monotonic() - found.began
            violations = [(what, str(path)) for what, path in found.violations.values()]
            result = {"target": name, "engine": options.engine, "seconds": seconds, "inputs": found.inputs}
            print(json.dumps(result | {"violations": violations}))

        if options.engine == "atheris":
            search.by_coverage(found, done)
        search.by_mutation(found)
        done()
    return 0


def _replay(names: list[str], path: Path) -> int:
    from tests.fuzz import targets

    with tempfile.TemporaryDirectory(prefix="lossreg-fuzz-") as folder:
        targets.TARGETS[names[0]](Path(folder)).run(path.read_bytes())
    return 0


if __name__ == "__main__":
    sys.exit(main())
