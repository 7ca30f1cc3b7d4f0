"""The choice of an implementation, the reason of each refusal, and the limits of the fast implementations."""

from __future__ import annotations

import re
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

import lossreg
from lossreg.errors import ImplementationError
from lossreg_segmentation.statistics import choice, chosen, implementation, mask_statistics

from .cases import build, hard_target, logits


def fields(x, t):
    return mask_statistics(x, t, activation="sigmoid", needs=["intersection", "focal_positive"])


@pytest.fixture
def installed(monkeypatch):
    """Pretend that only these packages are installed."""

    def pretend(**which):
        there = {"numba": False, "triton": False} | which
        monkeypatch.setattr(choice, "unusable", lambda name: "" if there[name] else choice._MISSING[name])

    return pretend


def test_the_first_that_can_is_taken(installed):
    """Compiled kernels where they are installed, otherwise tiles; plain torch for tensors that neither supports."""
    x, t = logits("binary", dtype=torch.float32), hard_target("binary")
    installed(numba=True)
    assert chosen(x, t, "sigmoid") == "numba"
    installed()
    assert chosen(x, t, "sigmoid") == "tiled"
    assert chosen(x.to("meta"), t.to("meta"), "sigmoid") == "reference"
    assert chosen(x.to(torch.float8_e4m3fn), t, "sigmoid") == "reference"


@pytest.mark.usefixtures("compiled")
def test_threads_do_not_see_each_others_choice():
    """Nor does a thread that is started inside of one. A gradient is computed by the implementation of its loss."""
    x, t = logits("binary").requires_grad_(), hard_target("binary")
    both, found = threading.Barrier(2), {}

    def choose(name):
        with implementation(name):
            both.wait()
            found[name] = chosen(x, t, "sigmoid")
            both.wait()

    with implementation("reference"), ThreadPoolExecutor(2) as threads:
        list(threads.map(choose, ["tiled", "numba"]))
        assert found == {"tiled": "tiled", "numba": "numba"}
        assert chosen(x, t, "sigmoid") == "reference"
        started = threads.submit(chosen, x, t, "sigmoid").result()
        assert started == "numba"
        (gradient,) = torch.autograd.grad(build("dice")(x, t), x, create_graph=True)
        threads.submit(lambda: gradient.square().sum().backward()).result()
    assert x.grad.abs().sum() > 0


def test_a_choice_holds_inside_and_is_undone_after_an_error():
    """Also when nested."""
    x, t = logits("binary"), hard_target("binary")
    before = chosen(x, t, "sigmoid")

    def fail():
        with implementation("reference"):
            assert chosen(x, t, "sigmoid") == "reference"
            raise ZeroDivisionError

    with implementation("tiled"):
        with pytest.raises(ZeroDivisionError):
            fail()
        assert chosen(x, t, "sigmoid") == "tiled"
    assert chosen(x, t, "sigmoid") == before


@pytest.mark.parametrize(
    "name, device, dtype, having, reason",
    [
        ("numba", "cpu", torch.float32, {}, "Numba is not installed: pip install 'lossreg-segmentation[cpu]'"),
        ("numba", "meta", torch.float32, {"numba": True}, "it is for CPU tensors, got meta"),
        ("tiled", "meta", torch.float32, {}, "it is for CPU tensors, got meta"),
        (
            "tiled",
            "cpu",
            torch.float8_e5m2,
            {},
            "it supports logits in float32, bfloat16, float16 and float64, got torch.float8_e5m2",
        ),
        ("triton", "cpu", torch.float32, {"triton": True}, "it is for CUDA tensors, got cpu"),
    ],
)
def test_an_explicit_choice_that_cannot_compute_says_why(monkeypatch, installed, name, device, dtype, having, reason):
    """With the remedy."""
    monkeypatch.setattr(choice, "_INTERPRETED", False)
    installed(**having)
    x, t = logits("binary").to(dtype).to(device), hard_target("binary").to(device)
    message = f"implementation {name!r} cannot compute this: {reason}; use 'auto' for the first that can"
    with implementation(name), pytest.raises(ImplementationError) as caught:
        fields(x, t)
    assert str(caught.value) == message
    assert caught.value.implementation == name


@pytest.fixture
def forgotten(compiled):
    """Clear the cache of usable kernels, before the test and after it."""
    choice._unusable.cache_clear()
    yield
    choice._unusable.cache_clear()


@pytest.mark.parametrize("name", ["numba", "triton"])
def test_a_folder_of_that_name_beside_a_script_is_no_package(forgotten, monkeypatch, tmp_path, name):
    """Python finds it as an empty package, from which nothing can be imported."""
    (tmp_path / name).mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, name, raising=False)
    assert choice.unusable(name) == choice._MISSING[name]


@pytest.mark.parametrize("name", ["numba", "triton"])
@pytest.mark.parametrize(
    "error",
    [ImportError("Numba needs NumPy 2.3 or less"), OSError("libcuda.so"), AttributeError("no attribute 'njit'")],
)
def test_kernels_that_cannot_be_imported_are_passed_over_with_one_warning(forgotten, monkeypatch, name, error):
    """A Numba that does not support the installed NumPy is common; the next implementation computes the same."""

    def fail(module):
        raise error

    monkeypatch.setattr(choice, "is_installed", lambda package: True)
    monkeypatch.setattr(choice, "import_module", fail)
    reason = f"{name} is installed and cannot be used: {type(error).__name__}: {error}"
    with pytest.warns(UserWarning, match=re.escape(reason) + "; other implementations, which are slower, compute"):
        assert choice.unusable(name) == reason
    assert choice.unusable(name) == reason
    if name == "numba":
        x, t = logits("binary", dtype=torch.float32), hard_target("binary")
        assert chosen(x, t, "sigmoid") == "tiled"
        with implementation("numba"), pytest.raises(ImplementationError, match=re.escape(reason)):
            fields(x, t)


def test_the_limits_of_triton(monkeypatch, installed):
    """Unsigned targets wider than a byte; any number of classes. Checked without a device."""
    monkeypatch.setattr(choice, "_INTERPRETED", True)
    installed(triton=True)
    x, t = torch.zeros(1, 300, 4), torch.zeros(1, 4, dtype=torch.int64)
    reason = "it supports targets in bool, uint8, signed integers and floats, got torch.uint16"
    assert choice.refusal("triton", x, t.to(torch.uint16), "softmax") == reason
    assert choice.refusal("triton", x, t, "softmax") == ""


def test_an_unknown_implementation_is_refused_by_name():
    """With the known names."""
    message = "implementation must be one of auto, triton, numba, tiled, reference, got 'cuda'"
    with pytest.raises(ImplementationError, match=message), implementation("cuda"):
        pass


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("name", ["numba", "tiled"])
def test_a_second_derivative_names_the_implementation_that_has_one(name):
    """The first one, kept for a second, is computed."""
    x, t = logits("binary").requires_grad_(), hard_target("binary")
    loss = build("bce_dice_focal")
    with implementation(name):
        (gradient,) = torch.autograd.grad(loss(x, t), x, create_graph=True)
        with pytest.raises(ImplementationError) as caught:
            gradient.square().sum().backward()
    assert str(caught.value) == (
        f"implementation {name!r} has no second derivative;"
        ' compute the loss inside lossreg_segmentation.statistics.implementation("reference")'
    )
    with implementation("reference"):
        (again,) = torch.autograd.grad(loss(x, t), x, create_graph=True)
        again.square().sum().backward()
    torch.testing.assert_close(gradient.detach(), again.detach())
    assert x.grad.isfinite().all()


@pytest.mark.tools
@pytest.mark.usefixtures("compiled")
def test_a_compiled_loss_follows_the_choice_of_its_thread():
    """It is compiled again for another choice, and equals the loss that is not compiled, in value and gradient."""
    x, t = logits("binary", dtype=torch.float32).requires_grad_(), hard_target("binary")
    loss, graphs = build("bce_dice_focal"), []
    compiled = torch.compile(loss, fullgraph=True, backend=lambda graph, inputs: graphs.append(graph.code) or graph)
    names = ("numba", "tiled", "reference", "numba")
    for name in names:
        with implementation(name):
            expected, value = loss(x, t), compiled(x, t)
        gradients = [torch.autograd.grad(each, x)[0] for each in (value, expected)]
        torch.testing.assert_close([value, gradients[0]], [expected, gradients[1]], rtol=1e-6, atol=1e-8)
    with implementation("tiled"), ThreadPoolExecutor(1) as threads:
        threads.submit(compiled, x, t).result()  # whose choice is "auto"
    assert [name for code in graphs for name in names[:2] if f"'{name}'" in code] == ["numba", "tiled", "numba"]
    assert len(graphs) == 4
    torch._dynamo.reset()


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("name", ["numba", "tiled"])
@pytest.mark.parametrize(
    "target, activation, message",
    [
        (
            torch.tensor([[[0, 1, 255]]], dtype=torch.uint8),
            "sigmoid",
            "target contains 255, masks must have values from 0 to 1",
        ),
        (
            torch.tensor([[[0.5, 1.5, 0.0]]]),
            "sigmoid",
            r"target contains 1.5, masks must have values from 0 to 1; scale it, or are input and target swapped\?$",
        ),
        (torch.tensor([[[0.5, torch.nan, 0.0]]]), "sigmoid", "target contains nan"),
        (torch.tensor([[0, 1, 2]]), "softmax", "target contains class index 2, input has 2 classes"),
        (torch.tensor([[0, -1, 1]]), "softmax", "target contains class index -1, input has 2 classes"),
    ],
)
def test_wrong_target_values_are_seen_in_passing(name, target, activation, message):
    """The same errors as in the reference, without another pass over the target."""
    x = torch.zeros(1, 2, 3) if activation == "softmax" else torch.zeros_like(target, dtype=torch.float32)
    for way in (name, "reference"):
        with implementation(way), pytest.raises(lossreg.InputError, match=message):
            mask_statistics(x, target, activation=activation, needs=["actual"])


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("name", ["numba", "tiled", "reference"])
@pytest.mark.parametrize("learns", [False, True])
def test_a_target_that_requires_a_gradient_is_refused(name, learns):
    """Only the input gets a gradient. Where none is recorded, nothing is lost."""
    x = torch.zeros(1, 1, 3, requires_grad=learns)
    t = torch.full((1, 1, 3), 0.25, requires_grad=True)
    with implementation(name):
        with pytest.raises(lossreg.InputError, match=r"use target\.detach\(\)"):
            fields(x, t)
        assert fields(x, t.detach()).intersection.requires_grad == learns
        with torch.no_grad():
            assert torch.equal(fields(x, t).intersection, fields(x, t.detach()).intersection)
