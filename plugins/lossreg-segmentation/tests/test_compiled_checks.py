"""Checks of values under torch.compile: the errors of eager on the CPU, and those of the debug switch."""

from __future__ import annotations

import pytest
import torch

import lossreg
from lossreg_segmentation.statistics import implementation

from .cases import DENSE, build, hard_target, logits, tasks_of, value_and_gradient

pytestmark = pytest.mark.tools

SHORT = {"cldice": {"iterations": 1}, "hausdorff_er": {"erosions": 1}}


@pytest.fixture(autouse=True)
def no_graphs_of_other_tests():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def compiled(loss):
    return torch.compile(loss, fullgraph=True, backend="aot_eager")


def error_of(loss, *inputs, **options):
    with pytest.raises(lossreg.InputError) as caught:
        loss(*inputs, **options)
    return str(caught.value)


@pytest.mark.parametrize("name", [*DENSE, "cross_entropy"])
def test_a_compiled_loss_raises_the_error_of_eager(name):
    """A wrong class or mask value, also where the graph was compiled for a right one; NaN logits under the switch."""
    task = tasks_of(name)[-1]
    x, t, loss = logits(task, dtype=torch.float32), hard_target(task), build(name, task, **SHORT.get(name, {}))
    graph = compiled(loss)
    torch.testing.assert_close(value_and_gradient(graph, x, t), value_and_gradient(loss, x, t))
    wrong = t.clone()
    wrong.view(-1)[5] = 7
    message = error_of(loss, x, wrong)
    assert "target contains" in message
    assert error_of(graph, x, wrong) == message
    nan = x.clone()
    nan.view(-1)[3] = torch.nan
    assert graph(nan, t).isnan()
    with lossreg.debug_checks():
        message = error_of(loss, nan, t)
        assert "input contains 1 NaN" in message
        assert error_of(graph, nan, t) == message
    assert graph(nan, t).isnan()


def test_the_reference_checks_in_a_graph_as_well():
    """It is chosen by name."""
    x, t = logits("multiclass", dtype=torch.float32), hard_target("multiclass")
    with implementation("reference"):
        assert error_of(compiled(build("dice")), x, t + 1) == error_of(build("dice"), x, t + 1)


@pytest.mark.parametrize("name", ["topk", "cross_entropy"])
def test_weights_are_checked_in_a_graph(name):
    """Negative ones, and under the switch NaN logits where there is weight alone."""
    x, t, loss = logits("multiclass", dtype=torch.float32), hard_target("multiclass"), build(name, "multiclass")
    weight = torch.ones(t.shape)
    graph = compiled(loss)
    expected = value_and_gradient(lambda y: loss(y, t, weight=weight), x)
    torch.testing.assert_close(value_and_gradient(lambda y: graph(y, t, weight=weight), x), expected)
    assert error_of(graph, x, t, weight=-weight) == error_of(loss, x, t, weight=-weight)
    x[0, :, 0, 0], weight[0, 0, 0] = torch.nan, 0
    with lossreg.debug_checks():
        assert graph(x, t, weight=weight).isfinite()
        assert "NaN" in error_of(graph, x, t, weight=torch.ones(t.shape))


@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.*:DeprecationWarning")  # torch's own, on its first use
def test_the_default_backend_keeps_the_check():
    """Inductor leaves out operators whose results nobody reads."""
    x, t, loss = logits("multiclass", dtype=torch.float32), hard_target("multiclass"), build("topk")
    graph = torch.compile(loss, fullgraph=True)
    torch.testing.assert_close(graph(x, t), loss(x, t))
    assert error_of(graph, x, t + 1) == error_of(loss, x, t + 1)
