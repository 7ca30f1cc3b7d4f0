"""torch.compile of a whole loss: one graph, and the same value and gradient."""

from __future__ import annotations

import pytest
import torch

import lossreg
from lossreg.errors import ImplementationError
from lossreg_segmentation.statistics import implementation

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


class Objective(torch.nn.Module):
    """A loss as a program to export."""

    def __init__(self, loss):
        super().__init__()
        self.loss = loss

    def forward(self, x, t):
        return self.loss(x, t)


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("name, task", [("bce_dice_focal", "binary"), ("cross_entropy", "multiclass")])
def test_an_exported_loss_is_a_program_of_torch_alone(strict, name, task):
    """It names no operator and no implementation of this package, so that it runs where there are none."""
    x, t, loss = logits(task, dtype=torch.float32), hard_target(task), build(name, task)
    program = torch.export.export(Objective(loss), (torch.zeros_like(x), torch.zeros_like(t)), strict=strict)
    assert "lossreg" not in program.graph_module.code
    assert not any(word in program.graph_module.code for word in ("numba", "tiled", "triton"))
    value, gradient = value_and_gradient(program.module(), x, t)
    expected, wanted = value_and_gradient(loss, x, t)
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=0)
    torch.testing.assert_close(gradient, wanted, rtol=1e-5, atol=1e-8)
    with implementation("tiled"), pytest.raises(ImplementationError, match=r"torch\.export is active, and its program"):
        torch.export.export(Objective(loss), (x, t), strict=False)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # torch's own, on its first use
@pytest.mark.parametrize("name, task", [("bce_dice_focal", "binary"), ("cross_entropy", "multiclass")])
@pytest.mark.parametrize(
    "transform",
    [
        lambda f, x: (f(x), torch.func.grad(f)(x)),
        lambda f, x: torch.func.jvp(f, (x,), (torch.ones_like(x),)),
        lambda f, x: torch.vmap(f)(torch.stack([x, x + 1])),
    ],
    ids=["grad", "jvp", "vmap"],
)
def test_a_transform_inside_a_compiled_function(name, task, transform):
    """The same numbers as outside of it."""
    x, t, loss = logits(task, dtype=torch.float32), hard_target(task), build(name, task)

    def run(y):
        return transform(lambda z: loss(z, t), y)

    torch.testing.assert_close(torch.compile(run, fullgraph=True, backend="aot_eager")(x), run(x), check_dtype=False)


@pytest.mark.usefixtures("compiled")
@pytest.mark.filterwarnings(  # torch's own, while it compiles
    "ignore:The .grad attribute of a Tensor:UserWarning", "ignore:.*torch.jit.script_method.*:DeprecationWarning"
)
def test_a_tensor_with_notes_in_a_compiled_loss():
    """As MONAI's and torchvision's; the notes are no part of the loss."""
    x, t, loss = logits("binary", dtype=torch.float32), hard_target("binary"), build("dice")
    expected = value_and_gradient(loss, x, t)

    class Noted(torch.Tensor):
        pass

    for backend in ("aot_eager", "inductor"):
        torch.compiler.reset()
        found = value_and_gradient(torch.compile(loss, backend=backend), x, t.as_subclass(Noted))
        torch.testing.assert_close([y.as_subclass(torch.Tensor) for y in found], list(expected))
