"""One forward and one backward pass over the pixels; only input and target are saved between them."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import pytest
import torch

import lossreg
from lossreg_segmentation.statistics import mask_statistics, op
from lossreg_segmentation.statistics.numba_variant import variant_of
from lossreg_segmentation.statistics.request import FIELDS, Request

from .cases import NAMES, build, hard_target, logits

MULTILABEL = {"task": "multilabel"}
SUM = {
    "name": "weighted_sum",
    "params": {
        "terms": [
            {"weight": 2.0, "name": "dice", "params": MULTILABEL},
            {"weight": 0.5, "name": "bce", "params": {"task": "multilabel", "pos_weight": 3.0}},
            {
                "name": "weighted_sum",
                "params": {
                    "terms": [
                        {"name": "focal", "params": {"task": "multilabel", "gamma": 3.0}},
                        {"name": "tversky", "params": {"task": "multilabel", "batch": True}},
                    ]
                },
            },
        ]
    },
}


class Counting:
    """An implementation that counts its calls."""

    def __init__(self, module, calls):
        self.module, self.calls = module, calls

    def forward(self, *arguments):
        self.calls["forward"] += 1
        return self.module.forward(*arguments)

    def backward(self, *arguments):
        self.calls["backward"] += 1
        return self.module.backward(*arguments)

    def launch_for(self, *arguments):
        return CountingLaunch(self.module.launch_for(*arguments), self.calls)


class CountingLaunch:
    """Both passes over tensors of one kind, counted."""

    def __init__(self, launch, calls):
        self.launch, self.calls = launch, calls

    def __getattr__(self, name):
        if name in ("sums", "parts"):
            self.calls["forward"] += 1
        if name in ("gradient", "gradient_by"):
            self.calls["backward"] += 1
        return getattr(self.launch, name)


@pytest.fixture
def calls(monkeypatch):
    """Count the calls of all implementations."""
    found, original = Counter(), op._module
    monkeypatch.setattr(op, "_module", lambda name: Counting(original(name), found))
    return found


def parts(config, weight=1.0):
    """Return the losses of nested sums, each with the product of its weights."""
    if config["name"] != "weighted_sum":
        yield weight, {"name": config["name"], "params": config["params"]}
        return
    for term in config["params"]["terms"]:
        yield from parts(term, weight * term.get("weight", 1.0))


def test_a_sum_takes_one_pass_however_many_terms_it_has(calls):
    """Nested sums, options that differ after the pass, terms of the whole batch; the value is that of its parts."""
    x, t = logits("multilabel").requires_grad_(), hard_target("multilabel")
    total = lossreg.build(SUM)(x, t)
    (gradient,) = torch.autograd.grad(total, x)
    assert calls == {"forward": 1, "backward": 1}
    y = x.detach().clone().requires_grad_()
    apart = sum(weight * lossreg.build(config)(y, t) for weight, config in parts(SUM))
    (expected,) = torch.autograd.grad(apart, y)
    assert calls == {"forward": 5, "backward": 5}
    torch.testing.assert_close(total.detach(), apart.detach(), rtol=1e-12, atol=0)
    torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-12)


def test_a_weighted_sum_takes_one_pass(calls):
    """The weights are read with the logits, once forward and once backward."""
    x, t = logits("multilabel"), hard_target("multilabel")
    weight = torch.rand(len(x), 1, *x.shape[2:])
    lossreg.build(SUM)(x.requires_grad_(), t, weight=weight).backward()
    assert calls == {"forward": 1, "backward": 1}


def test_a_sum_evaluates_in_one_pass(calls):
    """Components and per-example values come from the same sums."""
    x, t = logits("multilabel"), hard_target("multilabel")
    output = lossreg.build(SUM).evaluate(x, t)
    assert calls == {"forward": 1}
    assert len(output.components) == 4


@pytest.mark.parametrize(
    "params, passes",
    [
        ({}, 1),
        ({"ignore_index": 255}, 2),
        ({"gamma": 1.0}, 2),
    ],
    ids=["the same", "another ignored value", "another gamma"],
)
def test_terms_that_read_otherwise_take_a_pass_of_their_own(calls, params, passes):
    """The ignored pixels and the exponent belong to the pass."""
    terms = [{"name": "focal", "params": MULTILABEL}, {"name": "focal", "params": MULTILABEL | params}]
    lossreg.build({"name": "weighted_sum", "params": {"terms": terms}})(logits("multilabel"), hard_target("multilabel"))
    assert calls == {"forward": passes}


def test_a_loss_without_focal_shares_the_pass_of_one_with_any_gamma(calls):
    """In either order."""
    x, t = logits("multilabel"), hard_target("multilabel")
    for names in (("dice", "focal"), ("focal", "dice")):
        terms = [{"name": n, "params": MULTILABEL | ({"gamma": 3.0} if n == "focal" else {})} for n in names]
        value = lossreg.build({"name": "weighted_sum", "params": {"terms": terms}})(x, t)
        alone = sum(build(n, "multilabel", **({"gamma": 3.0} if n == "focal" else {}))(x, t) for n in names)
        torch.testing.assert_close(value, alone, rtol=1e-12, atol=0)
    assert calls == {"forward": 6}


@pytest.mark.tools
def test_a_sum_is_one_operator_to_a_compiler():
    """In the traced graph, forward and backward."""
    graphs = []

    def backend(graph, inputs):
        graphs.append(Counter(str(node.target) for node in graph.graph.nodes))
        return graph.forward

    x, t = logits("multilabel", dtype=torch.float32).requires_grad_(), hard_target("multilabel")
    compiled = torch.compile(lossreg.build(SUM), backend=backend, fullgraph=True)
    assert torch.isfinite(compiled(x, t))
    assert len(graphs) == 1
    assert graphs[0]["lossreg.mask_sums"] == 1


@pytest.mark.parametrize("name", NAMES)
def test_nothing_but_input_and_target_is_kept_for_backward(name):
    """5 bytes per float32 logit with a target of bytes, and a few numbers per mask."""
    x = torch.randn(2, 1, 96, 96, requires_grad=True)
    t = torch.randint(0, 2, (2, 1, 96, 96), dtype=torch.uint8)
    storages = {}

    def keep(tensor):
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        build(name)(x, t)
    assert sum(storages.values()) <= 5.01 * x.numel()


def test_needs_is_exact():
    """A kernel is compiled for the needed sums: dice computes no logarithm, a gradient no count."""

    def variant(*needs, gradient=False):
        request = Request("sigmoid", tuple(f for f in FIELDS if f in needs), 2.0, None, 0.0)
        return variant_of(request, soft=False, index=False, gradient=gradient, weighted=False)

    dice = variant("intersection", "predicted", "actual")
    assert (dice.overlap, dice.cross_entropy, dice.focal, dice.hard, dice.power) == (True, False, False, False, 0)
    assert (dice.squared, dice.uniform) == (False, False)
    focal = variant("focal_positive", "valid", "hard_union")
    assert (focal.overlap, focal.cross_entropy, focal.focal, focal.hard, focal.power) == (False, False, True, True, 2)
    assert not variant("focal_positive", "hard_union", gradient=True).hard
    assert variant("predicted_squared").squared
    assert variant("actual_squared").squared
    assert variant("predicted_squared", gradient=True).squared
    assert not variant("predicted", "actual_squared", gradient=True).squared
    assert variant("cross_entropy_uniform").uniform


def test_a_mask_that_nothing_is_asked_of_is_not_read_in_backward():
    """Its gradient is 0 even if its logits have become NaN."""
    x = torch.randn(2, 3, 8, 8)
    leaf = x.clone().requires_grad_()
    t = torch.randint(0, 2, (2, 1, 8, 8), dtype=torch.uint8)
    found = mask_statistics(leaf, t, activation="sigmoid", needs=["predicted"])
    with torch.no_grad():
        leaf.data[0, 1] = torch.nan
    (gradient,) = torch.autograd.grad(found.predicted[:, 0].sum(), leaf)
    assert gradient[:, 0].abs().min() > 0
    assert not gradient[:, 1:].any()


@pytest.mark.tools
def test_importing_the_losses_imports_no_kernels():
    """Numba and Triton take a second each, so they are imported on first use."""
    code = "import sys, lossreg_segmentation; print([m for m in ('numba', 'triton', 'llvmlite') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.tools
def test_kernels_compile_where_nothing_can_be_written():
    """A read-only installation without a home: kernels are compiled in each process."""
    code = """
from numba.core import dispatcher

class Nowhere:
    def __init__(self, function):
        raise RuntimeError("cannot cache function: no locator available")

dispatcher.FunctionCache = Nowhere
import torch, lossreg
from lossreg_segmentation.statistics import implementation
with implementation("numba"):
    print(lossreg.build("dice")(torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 8, 8, dtype=torch.bool)).item())
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(run.stdout) == pytest.approx(1 - (2 * 32 + 1) / (32 + 64 + 1))
