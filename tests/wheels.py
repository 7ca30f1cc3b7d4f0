"""Tests of a plain installation: `python tests/wheels.py dist`, the folder of the built wheels.

lossreg, lossreg-segmentation and lossreg-sam are installed in an empty environment, without extras, like the install
line of the README. Every warning is an error there. Tested are the README's first screen, each command, a generated
plugin, and, with pytest added, the conformance kit over our own losses.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
WHEELS = ("lossreg", "lossreg_segmentation", "lossreg_sam")
ABSENT = ("numba", "scipy", "duckdb", "matplotlib", "triton")  # in the development environment, but not here
NEED_SCIPY = ("boundary", "hausdorff_dt", "matched")  # the extras boundary and matching of lossreg-segmentation
CONFIG = '{"name": "weighted_sum", "params": {"terms": [{"weight": 20, "name": "focal"}, {"name": "dice"}]}}'
DICE = """
import torch, lossreg
torch.manual_seed(0)
loss, x = lossreg.build("dice"), torch.randn(1, 1, 512, 512, requires_grad=True)
t = torch.rand(1, 1, 512, 512) > 0.5
print(f"{loss(x, t).item():.4f}")
for dtype in (torch.bfloat16, torch.float16):
    with torch.autocast("cpu", dtype):
        value = loss(x, t)
        (slope,) = torch.autograd.grad(value, x)
    assert torch.equal(value, loss(x, t)) and torch.equal(slope, torch.autograd.grad(loss(x, t), x)[0])
"""


class Plain:
    """An environment with only the wheels and their dependencies, and an empty folder to work in."""

    def __init__(self, folder: Path, wheels: list[Path]) -> None:
        subprocess.run([sys._base_executable, "-m", "venv", folder / "venv"], check=True)
        self.bin = folder / "venv" / "bin"
        self.work = folder / "work"
        self.work.mkdir()
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "LOSSREG"))}
        self.environment = kept | {"PYTHONWARNINGS": "error", "OMP_NUM_THREADS": "1"}
        self.install(*wheels)

    def install(self, *what: str | Path) -> None:
        """Install with the pinned versions."""
        pip = [self.bin / "python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        environment = self.environment | {"PYTHONWARNINGS": ""}  # pip's own warnings are allowed
        subprocess.run([*pip, "--constraint", ROOT / "constraints.txt", *what], check=True, env=environment)

    def run(self, *command: str | Path, status: int = 0, prints: str = "", quiet: bool = False) -> None:
        """Run a program; fail if it exits with another status, warns, or does not print the expected text."""
        start = time.monotonic()
        program, *arguments = command
        done = subprocess.run(
            [self.bin / program, *arguments], cwd=self.work, env=self.environment, capture_output=True, text=True
        )
        shown = " ".join(str(part).strip().splitlines()[0] for part in command)
        print(f"$ {shown}    ({time.monotonic() - start:.1f} s)", flush=True)
        output = done.stdout + done.stderr
        if not quiet:
            print(*(f"    {line}" for line in output.splitlines()[-14:]), sep="\n")
        if done.returncode != status or prints not in output or "Traceback" in output or "Warning" in output:
            sys.exit(f"{shown}: exit code {done.returncode}, expected {status} and {prints!r}\n{output}")

    def python(self, code: str, **expected: str) -> None:
        """Run Python code."""
        self.run("python", "-c", code, **expected)


def main(dist: Path) -> None:
    """Install the wheels and run all tests."""
    wheels = [next(iter(dist.glob(f"{name}-[0-9]*.whl"))) for name in WHEELS]
    with tempfile.TemporaryDirectory() as folder:
        plain = Plain(Path(folder), wheels)
        imports(plain)
        commands(plain)
        shadows(plain)
        plugin(plain)
        conformance(plain)
    print("the installed wheels work")


def imports(plain: Plain) -> None:
    """Check that only the wheels' dependencies are there, that the README's start runs and autocast is ignored."""
    there = "import importlib.util as u; print([n for n in {} if u.find_spec(n)])"
    plain.python(there.format(ABSENT), prints="[]")
    plain.python("import lossreg, sys; print(len(lossreg.losses.list()), 'torch' in sys.modules)", prints="42 False")
    screen = (ROOT / "README.md").read_text().partition("\n## ")[0]
    (config,) = re.findall(r"```yaml\n(.*?)```", screen, re.DOTALL)
    (plain.work / "train.yaml").write_text(config)
    (plain.work / "typo.yaml").write_text(config.replace("ignore_index", "ignore_indx"))
    blocks = re.findall(r"```python\n(.*?)```", screen, re.DOTALL)
    plain.python("\n".join([*blocks, "print(loss)"]), prints="100 {'bce': ")
    plain.python(DICE)


def commands(plain: Plain) -> None:
    """Check that every command works, or names the extra that it needs."""
    plain.run(
        "lossreg", "doctor", prints="tiled; numba is several times faster: pip install 'lossreg-segmentation[cpu]'"
    )
    plain.run("lossreg", "list", prints="42 losses")
    plain.run("lossreg", "list", "--tag", "sam & !mixture")
    plain.run("lossreg", "show", "dice", prints="smooth")
    plain.run("lossreg", "why", "dice", prints="segmentation")
    (plain.work / "config.json").write_text(CONFIG)
    plain.run("lossreg", "validate", "config.json", prints="gamma")
    plain.run("lossreg", "validate", "train.yaml", "--at", "loss", prints="ignore_index")
    plain.run("lossreg", "validate", "typo.yaml", "--at", "loss", status=1, prints="did you mean 'ignore_index'?")
    plain.run("lossreg", "schema", "dice", quiet=True)
    plain.run("lossreg", "stubs", quiet=True)
    plain.run("lossreg", "manifest", "check", *WHEELS, prints="lossreg_sam: up to date")
    plain.run("lossreg", "plot", "dice", status=1, prints="pip install 'lossreg[plot]'")
    plain.run("lossreg", "check-targets", ".", status=1, prints="pip install 'lossreg[targets]'")
    plain.run("lossreg", "records", "summary", ".", status=1, prints="pip install 'lossreg[records]'")


def shadows(plain: Plain) -> None:
    """Check that a folder with the name of a missing package is not taken for the package."""
    for name in ABSENT:
        (plain.work / name).mkdir()
    (plain.work / "train.py").write_text(DICE)
    plain.run("python", "train.py")
    for name in ABSENT:
        (plain.work / name).rmdir()


def plugin(plain: Plain) -> None:
    """Check that a generated package can be installed, is found, and passes its own tests."""
    plain.run("lossreg", "new-plugin", "acme-losses", quiet=True)
    plain.install("pytest", "pytest-xdist", plain.work / "acme-losses")
    plain.run("lossreg", "show", "charbonnier", prints="acme")
    plain.run("python", "-m", "pytest", "-q", "acme-losses", prints="passed")


def conformance(plain: Plain) -> None:
    """Check our own losses on a plain installation, as docs/howto/test_with_the_kit.md describes."""
    page = (ROOT / "docs" / "howto" / "test_with_the_kit.md").read_text()
    plain.python("\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL)), prints="True")
    names = "import lossreg; print(*(e.full_name for e in lossreg.losses.entries() if e.provider != 'acme-losses'))"
    found = subprocess.run([plain.bin / "python", "-c", names], capture_output=True, text=True, check=True)
    checked = [name for name in found.stdout.split() if not name.endswith(NEED_SCIPY)]
    print(f"not checked, because they need SciPy: {', '.join(NEED_SCIPY)}")
    for tests in ("tests", "plugins/lossreg-segmentation/tests", "plugins/lossreg-sam/tests"):
        shutil.copytree(ROOT / tests, plain.work / "kit" / tests, ignore=shutil.ignore_patterns("test_*.py"))
    (plain.work / "kit" / "pytest.ini").write_text(
        f"[pytest]\naddopts = --import-mode=importlib\nlossreg_losses = {' '.join(checked)}\nmarkers = tools\n"
        "testpaths = tests plugins\nfilterwarnings = error\n"
    )
    options = "-q -n 2 -p no:cacheprovider --rootdir kit -c kit/pytest.ini --lossreg kit"
    plain.run("python", "-m", "pytest", *options.split(), prints=" passed")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
