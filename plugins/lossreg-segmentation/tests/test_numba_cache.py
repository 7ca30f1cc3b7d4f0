"""Kernels on disk: read again by the next process, and compiled again after an edit, an upgrade or damage."""

from __future__ import annotations

import errno
import importlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

numba_cache = pytest.importorskip("lossreg_segmentation.statistics.numba_cache", reason="Numba is not installed")

PACKAGE = Path(numba_cache.__file__).parents[1]
PREDICTED = """
import torch
from lossreg_segmentation.statistics import implementation, mask_statistics
x, t = torch.zeros(1, 2, 3), torch.zeros(1, 2, 3, dtype=torch.bool)
with implementation("numba"):
    sums = mask_statistics(x, t, activation="sigmoid", needs=["predicted"])
print(sums.predicted.tolist())
"""


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    """Return a function that makes a small kernel, as another process would, in a module of its own."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    numba = importlib.import_module("numba")
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "module_of_a_kernel.py").write_text("def double(x):\n    return 2 * x\n")
    monkeypatch.syspath_prepend(tmp_path)

    def make():
        monkeypatch.delitem(sys.modules, "module_of_a_kernel", raising=False)
        module = importlib.import_module("module_of_a_kernel")
        return numba_cache.kept_on_disk(module.double, {"nogil": True})

    return make


def found_on_disk(kernel):
    """Call a kernel and return True if it was read from disk, and False if it was compiled."""
    assert kernel(3) == 6
    hits, misses = (sum(each.values()) for each in (kernel.stats.cache_hits, kernel.stats.cache_misses))
    assert hits + misses == 1
    return hits == 1


@pytest.mark.tools
def test_the_next_process_reads_the_kernel(kernel, tmp_path):
    """From the folder that NUMBA_CACHE_DIR names."""
    assert not found_on_disk(kernel())
    assert found_on_disk(kernel())
    assert Path(kernel().stats.cache_path).parent == tmp_path / "cache"


@pytest.mark.tools
@pytest.mark.parametrize("what", ["sources", "numba", "cpu"])
def test_an_upgrade_compiles_again(kernel, monkeypatch, what):
    """Of this package, of Numba, or of the machine; and those kernels are read again."""
    assert not found_on_disk(kernel())
    if what == "sources":
        monkeypatch.setattr(numba_cache, "digest", lambda: "another")
    elif what == "numba":
        monkeypatch.setattr(importlib.import_module("numba"), "__version__", "99.0")
    else:
        codegen = importlib.import_module("numba.core.codegen").CPUCodegen
        monkeypatch.setattr(codegen, "magic_tuple", lambda self: ("x86_64", "another", "+avx"))
    assert not found_on_disk(kernel())
    assert found_on_disk(kernel())


@pytest.mark.tools
@pytest.mark.parametrize("ending", [".nbi", ".nbc"])
def test_damaged_files_are_written_anew(kernel, tmp_path, ending):
    """As a crash of the machine leaves them."""
    assert not found_on_disk(kernel())
    for path in (tmp_path / "cache").rglob(f"*{ending}"):
        path.write_bytes(path.read_bytes()[:7])
    with pytest.warns(UserWarning, match="cannot be read .* so it is compiled again"):
        assert not found_on_disk(kernel())
    assert found_on_disk(kernel())


@pytest.mark.tools
def test_a_full_disk_stops_no_training(kernel, monkeypatch):
    """The kernel is compiled in each process."""

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(numba_cache.IndexDataCacheFile, "save", full)
    assert not found_on_disk(kernel())
    assert not found_on_disk(kernel())


@pytest.mark.tools
def test_without_a_writable_folder_kernels_are_compiled(kernel, monkeypatch):
    """As in a read-only installation without a home."""
    monkeypatch.setattr(numba_cache.FunctionCache._impl_class, "_locator_classes", [])
    assert kernel()(3) == 6


def test_every_file_of_the_kernels_is_in_the_key():
    """A file that a kernel imports, and that the key does not hold, would leave old kernels in use after an edit."""
    mine = "lossreg_segmentation.statistics."
    for path in sorted((PACKAGE / "statistics").glob("numba_*.py")):
        if path.stem in ("numba_driver", "numba_regions"):  # kernels use nothing of other files that callers import
            continue
        imported = [line.split()[1] for line in path.read_text().splitlines() if line.startswith(f"from {mine}")]
        for name in imported:
            assert numba_cache._is_source(f"{name.removeprefix(mine)}.py"), f"{path.name} imports {name}"


@pytest.mark.tools
def test_an_edit_of_a_function_that_a_kernel_calls_compiles_the_kernel_again(tmp_path):
    """In a copy of the package: another exponential gives other probabilities in the next process."""
    copy = tmp_path / "lossreg_segmentation"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))

    def predicted():
        run = subprocess.run([sys.executable, "-c", PREDICTED], cwd=tmp_path, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        return run.stdout.strip()

    assert predicted() == "[[1.5, 1.5]]"
    math = copy / "statistics" / "numba_math.py"
    text = math.read_text()
    exponential = "return (p * r + ONE) * float_of"
    assert exponential in text
    math.write_text(text.replace(exponential, exponential.replace("ONE", "HALF")))
    assert predicted() != "[[1.5, 1.5]]"
