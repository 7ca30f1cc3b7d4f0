"""torch.compile of a whole loss: one graph, and the same value and gradient."""

from __future__ import annotations

import pytest
import torch

import lossreg

from .cases import CASES, build, hard_target, logits, own, value_and_gradient


@pytest.fixture(autouse=True)
def no_graphs_of_other_tests():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def assert_compiled_agrees(loss, x, t, backend):
    value, gradient = value_and_gradient(torch.compile(loss, fullgraph=True, backend=backend), x, t)
    expected, wanted = value_and_gradient(loss, x, t)
    torch.testing.assert_close(value, expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(gradient, wanted, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("name, task", [case for case in CASES if case[1] != "multilabel"])
def test_each_loss_compiles_to_one_graph(name, task):
    """fullgraph=True: nothing in it falls back to Python, the checks and the debug switch included."""
    x, t = logits(task, dtype=torch.float32), hard_target(task)
    t[0, ..., 0, :] = 9
    loss = build(name, task, ignore_index=9, **own(name, task))
    with lossreg.debug_checks():
        assert_compiled_agrees(loss, x, t, "aot_eager")


@pytest.mark.parametrize(
    "options",
    [{"batch": True}, {"absent": "false_positives", "class_weight": [0.5, 2.0, 1.0]}, {"reduction": "sum"}],
    ids=lambda options: next(iter(options)),
)
def test_options_compile_to_one_graph(options):
    x, t = logits("multiclass", dtype=torch.float32), hard_target("multiclass")
    assert_compiled_agrees(build("dice", **options), x, t, "aot_eager")


@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.*:DeprecationWarning")  # torch's own, on its first use
def test_the_default_backend_agrees_with_eager():
    """Inductor generates code for the forward and the backward pass: one loss, since each takes seconds."""
    x, t = logits("binary", dtype=torch.float32), hard_target("binary")
    assert_compiled_agrees(build("bce_dice_focal"), x, t, "inductor")
