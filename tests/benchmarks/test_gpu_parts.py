"""The parts of the kit that need no GPU: reports, and the gathered files."""

import re
from types import SimpleNamespace

import pytest

from .conftest import BENCHMARKS

ROOT = BENCHMARKS.parent

pytestmark = pytest.mark.usefixtures("benchmarks")


def test_kernels_are_found_and_described(monkeypatch):
    """All four, among them the two that the profiler selects by name; a compiled one with its registers."""
    pytest.importorskip("triton", reason="Triton is not installed")
    from gpu import kernels

    from lossreg_segmentation.statistics import (  # noqa: F401
        triton_kernels,
        triton_softmax_gradient,
        triton_softmax_sums,
    )

    names = {kernel.__name__ for kernel in kernels.kernels_of_ours()}
    assert names >= {"sigmoid_sums", "sigmoid_gradient", "softmax_sums", "softmax_gradient"}
    (profiled,) = re.findall(r"-k regex:(\w+)", (BENCHMARKS / "gpu" / "run.sh").read_text())
    assert {name for name in names if profiled in name} >= {"sigmoid_sums", "sigmoid_gradient"}
    variants = [
        SimpleNamespace(metadata=SimpleNamespace(num_warps=4, shared=1024), n_regs=54, n_spills=0),
        SimpleNamespace(metadata=SimpleNamespace(num_warps=8, shared=0)),
    ]
    kernel = SimpleNamespace(__name__="sums", device_caches={0: (dict(enumerate(variants)), "target", "binder")})
    monkeypatch.setattr(kernels, "kernels_of_ours", lambda: [kernel])
    assert [line.split() for line in kernels.registers()] == [
        ["sums", "warps", "4", "shared", "1024", "registers", "54", "spills", "0"],
        ["sums", "warps", "8", "shared", "0", "registers", "?", "spills", "?"],
    ]


def test_a_launch_counts_once():
    """The profiler lists a kernel's time for its operator, too; five steps are profiled."""
    pytest.importorskip("triton", reason="Triton is not installed")
    from gpu.launches import described
    from torch.profiler import DeviceType

    def event(key, device, time, count, annotation=False):
        return SimpleNamespace(
            key=key, device_type=device, self_device_time_total=time, count=count, is_user_annotation=annotation
        )

    events = [
        event("aten::sum", DeviceType.CPU, 50.0, 5),
        event("reduce_kernel", DeviceType.CUDA, 50.0, 5),
        event("sigmoid_sums", DeviceType.CUDA, 250.0, 10),
        event("step", DeviceType.CUDA, 300.0, 5, annotation=True),
    ]
    assert [line.split() for line in described("dice", events)] == [
        ["dice:", "60.0", "us", "on", "the", "device", "in", "3", "launches"],
        ["50.0", "us", "2x", "sigmoid_sums"],
        ["10.0", "us", "1x", "reduce_kernel"],
    ]


def test_a_check_that_breaks_is_a_finding_and_hides_no_other():
    """On a GPU, sync, graph and compiler are checked too."""
    pytest.importorskip("triton", reason="Triton is not installed")
    from gpu import smoke, steps
    from gpu.finding import Finding

    def broken():
        yield Finding("one", True)
        raise RuntimeError("no kernel image")

    assert list(map(str, smoke.findings_of(broken))) == [
        "ok    one",
        "WRONG broken raised RuntimeError: no kernel image",
    ]
    assert {steps.no_sync, steps.cuda_graph, steps.compiled} < set(smoke.CHECKS)


@pytest.mark.parametrize(
    "dry, interpreted, message",
    [
        (True, "0", "set TRITON_INTERPRET=1 as well"),
        (False, "1", "unset it, or set DRY=1 for a dry run on the CPU"),
        (False, "0", "torch finds no GPU here; DRY=1 TRITON_INTERPRET=1 runs the scripts on the CPU"),
    ],
)
def test_where_the_kernels_cannot_run_the_kit_names_the_remedy(monkeypatch, dry, interpreted, message):
    """Instead of timing an interpreter, or failing in the first kernel."""
    from gpu import device

    monkeypatch.setattr(device, "DRY", dry)
    monkeypatch.setattr(device.torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("TRITON_INTERPRET", interpreted)
    with pytest.raises(SystemExit, match=message):
        device.require()


def test_what_is_gathered(tmp_path, monkeypatch):
    """Our dependencies without torch and NumPy, pinned, for the Python of that machine; scripts at their paths."""
    from gpu import gather

    needs = " ".join(gather.needs())
    assert "pydantic" in needs
    assert "typer" in needs
    assert not re.search("torch|numpy|lossreg", needs)
    pinned = {line.partition("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines()}
    names = {name.replace("_", "-").lower() for name in pinned}
    assert {name.replace("_", "-") for name in (*gather.PEERS, *gather.TESTS_NEED)} <= names

    commands = []
    monkeypatch.setattr(gather.subprocess, "run", lambda command, check: commands.append(list(map(str, command))))
    gather.download(tmp_path / "wheels", "3.12", ["monai"], "--no-deps")
    (command,) = commands
    assert command[-2:] == ["--no-deps", "monai"]
    assert {"--python-version=3.12", "--platform=manylinux_2_28_x86_64", "--platform=manylinux2014_x86_64"} < {*command}
    assert str(ROOT / "constraints.txt") in command

    gather.copy(tmp_path)
    for name in ("benchmarks/gpu/run.sh", "benchmarks/losses.py", "plugins/lossreg-segmentation/tests/cases.py"):
        assert (tmp_path / name).read_bytes() == (ROOT / name).read_bytes()
    assert not list(tmp_path.rglob("__pycache__"))
