"""torch.compile of a whole loss: one graph, and the same value and gradient."""

from __future__ import annotations

import pytest
import torch

import lossreg

from .cases import build, hard_target, logits, value_and_gradient

pytestmark = pytest.mark.tools


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


@pytest.mark.parametrize(
    "name, task, options",
    [
        ("dice", "multiclass", {"batch": True}),
        ("dice", "multilabel", {"absent": "false_positives", "class_weight": [0.5, 2.0, 1.0]}),
        ("cross_entropy", "multilabel", {"label_smoothing": 0.2}),
        ("unified_focal", "binary", {"reduction": "sum"}),
        ("lovasz_hinge", "binary", {"batch": True, "absent": "false_positives"}),
        ("lovasz_softmax", "multiclass", {"absent": "ignore"}),
        ("topk", "multilabel", {"absent": "zero"}),
        ("ohem_cross_entropy", "multiclass", {"class_weight": [0.5, 2.0, 1.0]}),
        ("wasserstein_dice", "multiclass", {"weighting": "default"}),
        ("boundary", "multiclass", {"absent": "zero"}),
        ("hausdorff_dt", "binary", {}),
        ("hausdorff_er", "multiclass", {"erosions": 2}),
        ("cldice", "binary", {"iterations": 2}),
    ],
)
def test_ignored_pixels_options_and_the_debug_switch_compile_to_one_graph(name, task, options):
    """fullgraph=True: nothing falls back to Python. The conformance kit compiles every loss without options."""
    x, t = logits(task, dtype=torch.float32), hard_target(task)
    t[0, ..., 0, :] = 9
    with lossreg.debug_checks():
        assert_compiled_agrees(build(name, task, ignore_index=9, **options), x, t, "aot_eager")


@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.*:DeprecationWarning")  # torch's own, on its first use
def test_the_default_backend_agrees_with_eager():
    """Inductor generates code for the forward and the backward pass: one loss, since each takes seconds."""
    x, t = logits("binary", dtype=torch.float32), hard_target("binary")
    assert_compiled_agrees(build("bce_dice_focal"), x, t, "inductor")
