"""The kit for a run on a GPU fits the code: it is used rarely, and then there is no time to repair it."""

import os
import re
import subprocess
import sys

import pytest

from .conftest import BENCHMARKS

ROOT = BENCHMARKS.parent
SCRIPT = BENCHMARKS / "gpu" / "run.sh"
CASES = ("sam bf16", "sam f32", "dice f32", "dice bf16 large", "sam bf16 odd")
CASES = (*CASES, "classes 21 f32", "classes 21 bf16 large", "classes 150 bf16")
STEPS = ("dice", "bce_dice_focal", "sam", "dice + cross_entropy")

pytestmark = [
    pytest.mark.skipif(not SCRIPT.exists(), reason="the benchmarks lie in the checkout, and only the tests are here"),
    pytest.mark.usefixtures("benchmarks"),
]


def run(out, python=sys.executable):
    """Run the whole script dry; return the process and the page that it writes."""
    environment = os.environ | {"DRY": "1", "PYTHON": str(python), "OUT": str(out), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(["bash", str(SCRIPT)], env=environment, capture_output=True, text=True, check=False)
    return done, (out / "gpu.md").read_text()


def section(page, title):
    """Return the text under a heading of the page."""
    return page.split(f"# {title}\n", 1)[1].split("\n# ", 1)[0]


@pytest.fixture(scope="module")  # over 10 s: Triton's interpreter computes every pass
def dry(tmp_path_factory):
    done, page = run(tmp_path_factory.mktemp("dry"))
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-3000:]
    return page


@pytest.mark.tools
def test_a_dry_run_checks_everything_that_needs_no_gpu(dry):
    """Each case with and without ignored pixels; bits and autocast of each loss; the peak of memory."""
    smoke = section(dry, "Smoke")
    for case in CASES:
        assert re.search(rf"^ok    {case} +is computed by triton$", smoke, re.MULTILINE)
        for ignored in ("None", "255"):
            assert re.search(rf"^ok    {case} +ignore {ignored}: sums \S+ gradient \S+$", smoke, re.MULTILINE)
    for step in STEPS:
        assert f"ok    same bits on a second run: {step}\n" in smoke
        assert f"ok    the same bits under autocast to bfloat16: {step}\n" in smoke
        assert f"ok    the same bits under autocast to float16: {step}\n" in smoke
    assert re.search(r"^ok    peak of sam bfloat16 \S+: \S+ MB extra \(at most 16\)$", smoke, re.MULTILINE)
    assert "not in a dry run: no_sync, cuda_graph, compiled\n37 checks, 0 WRONG" in smoke


@pytest.mark.tools
def test_a_dry_run_times_each_pass(dry):
    """Forward and backward of each case, checked before; then registers, and the launches of three losses."""
    passes = section(dry, "Passes apart")
    for case in CASES:
        times = r"\d+\.\d us  floor +\d+\.\d us  share of a copy +\d+%\n"
        pattern = rf"ok    {case} +sums .*\n +{case} +forward +{times} +{case} +backward +{times}"
        assert re.search(pattern, passes)
    assert "registers and spills: not in a dry run" in passes
    for loss in ("dice 2x1x", "bce_dice_focal 2x1x", "sam 2x3x"):
        assert re.search(rf"^{loss}\S+: \S+ us on the device in \d+ launches$", passes, re.MULTILINE)


@pytest.mark.tools
def test_a_dry_run_collects_the_tests_and_prints_the_losses(dry):
    """The tests that need a GPU are among them; the benchmark takes its options."""
    tests = section(dry, "Tests")
    assert "test_implementations.py::test_an_implementation_equals_the_reference[triton]\n" in tests
    assert "::test_the_map_of_a_target_on_a_gpu_is_there\n" in tests
    assert "::test_nothing_blocks_on_cuda\n" in tests
    assert "All contestants of a row get the same tensors" in section(dry, "Losses, forward and backward")


BROKEN = """
import sys
import gpu.smoke
from gpu.__main__ import main
from lossreg_segmentation.statistics import triton_driver

forward = triton_driver.forward
triton_driver.forward = lambda *arguments: forward(*arguments) * 1.0001
gpu.smoke.CASES = gpu.smoke.CASES[2:3]
gpu.smoke.CHECKS = (gpu.smoke.sums_and_gradients,)
sys.argv = ["gpu", "smoke"]
main()
"""


@pytest.mark.tools
def test_smoke_fails_where_a_sum_is_wrong():
    """An error of a ten-thousandth is reported as WRONG, with exit code 1."""
    environment = os.environ | {"DRY": "1", "TRITON_INTERPRET": "1", "PYTHONPATH": str(BENCHMARKS)}
    done = subprocess.run([sys.executable, "-c", BROKEN], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert re.search(r"^WRONG dice f32 +ignore 255: sums 1\.0e-04 gradient", done.stdout, re.MULTILINE)
    assert "2 checks, 2 WRONG" in done.stdout


@pytest.mark.tools
@pytest.mark.parametrize(
    "failing, status, last", [("smoke", 2, "Smoke"), ("pytest", 1, "Losses"), ("benchmarks/losses.py", 1, "Losses")]
)
def test_the_script_fails_where_a_step_does(tmp_path, failing, status, last):
    """A failed smoke test ends it at once, another failed step does not. Python is replaced by a failing script."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho "$@"\ncase "$*" in *{failing}*) exit 9;; esac\n')
    python.chmod(0o755)
    done, page = run(tmp_path / "out", python)
    assert done.returncode == status
    assert re.findall(r"^=== (\w+).*, after", done.stdout, re.MULTILINE)[-1] == last
    assert page.count("exit status 9") == 1
    assert page.count("```") % 2 == 0


@pytest.mark.tools
def test_the_script_is_bash():
    """Every line parses, also those that need a GPU."""
    subprocess.run(["bash", "-n", str(SCRIPT)], check=True)


def test_the_files_and_options_that_the_script_names_are_there():
    """Tests, scripts, the parts of the kit, and the rows that it selects."""
    import rows
    from gpu.__main__ import COMMANDS

    script = SCRIPT.read_text().replace("$segmentation", "plugins/lossreg-segmentation/tests")
    files = re.findall(r"[\w/-]+/\w+\.(?:py|sh)", script)
    assert len(set(files)) >= 6
    assert [file for file in files if not (ROOT / file).exists()] == []
    named = re.findall(r"([\w/-]+\.py)::(test_\w+)", script)
    assert len(named) >= 4
    assert [name for file, name in named if f"def {name}(" not in (ROOT / file).read_text()] == []
    assert set(re.findall(r"-m gpu (\w+)", script)) == set(COMMANDS)
    options = re.findall(r" (--\w+)", "\n".join(line for line in script.splitlines() if "losses" in line))
    assert set(options) == {"--device", "--only", "--quick", "--wall"}
    known = (BENCHMARKS / "losses.py").read_text()
    assert [option for option in options if f'"{option}"' not in known] == []
    assert any("small" in row.name for row in rows.rows())
