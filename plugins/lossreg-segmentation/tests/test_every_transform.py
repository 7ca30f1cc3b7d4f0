"""Every loss of the catalogue under torch's transforms: the value and the gradient that it has without them."""

from __future__ import annotations

import pytest
import torch
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx

import lossreg
from lossreg_segmentation.distance import signed_distance
from lossreg_segmentation.skeleton import extremum, extremum_in_steps

from .cases import DENSE, NAMES, build, hard_target, logits, tasks_of, value_and_gradient

SHORT = {"cldice": {"iterations": 2}, "hausdorff_er": {"erosions": 2}}
SMALL = {"batch": 2, "size": (4, 5)}

# torch's own, where it traces.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")

every_loss = pytest.mark.parametrize("name", (*NAMES, *DENSE))


def case(name):
    """Return a loss, logits in float64 and a target of its last task, and the value and the gradient."""
    task = tasks_of(name)[-1]
    loss, x, t = build(name, task, **SHORT.get(name, {})), logits(task, **SMALL), hard_target(task, **SMALL)
    return loss, x, t, *value_and_gradient(loss, x, t)


@every_loss
def test_reverse_mode_gives_the_gradient(name):
    """torch.func.grad."""
    loss, x, t, value, gradient = case(name)
    found, again = torch.func.grad_and_value(lambda y: loss(y, t))(x)
    torch.testing.assert_close((again, found), (value, gradient))


@every_loss
def test_forward_mode_gives_the_gradient_along_a_vector(name):
    """torch.func.jvp, along a direction in which no two parts of a wrong rule cancel."""
    loss, x, t, value, gradient = case(name)
    direction = logits(tasks_of(name)[-1], seed=7, **SMALL)
    found, slope = torch.func.jvp(lambda y: loss(y, t), (x,), (direction,))
    torch.testing.assert_close((found, slope), (value, (gradient * direction).sum()))


@pytest.mark.parametrize("name", ["dice", "topk"])
def test_forward_mode_gives_no_derivative_of_target_and_weight(name):
    """It is refused as in reverse mode; a tangent of 0 would be wrong in silence."""
    x, t, w = (torch.rand(2, 1, 4, 5, dtype=torch.float64) for _ in range(3))
    loss, ones = build(name, "binary"), torch.ones_like(x)
    with pytest.raises(lossreg.InputError, match=r"target requires a gradient, .* use target.detach\(\)"):
        torch.func.jvp(lambda y: loss(x, y), (t,), (ones,))
    with pytest.raises(lossreg.InputError, match=r"weight requires a gradient, .* use weight.detach\(\)"):
        torch.func.jvp(lambda y: loss(x, t, weight=y), (w,), (ones,))
    found = torch.func.jvp(lambda y: loss(y, y.sigmoid().detach()), (x,), (ones,))
    torch.testing.assert_close(found, torch.func.jvp(lambda y: loss(y, x.sigmoid()), (x,), (ones,)))


@every_loss
@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")  # torch's own, for a scatter
def test_vmap_gives_the_gradient_of_each_example(name):
    """torch.vmap of torch.func.grad: gradients per example, of a loss that is the mean over examples."""
    loss, x, t, _, gradient = case(name)
    each = torch.vmap(torch.func.grad(lambda y, mask: loss(y[None], mask[None])))(x, t)
    torch.testing.assert_close(each / len(x), gradient)


@every_loss
@pytest.mark.parametrize("kind", ["meta", "fake"])
def test_without_values_there_are_shapes(name, kind):
    """Also of the gradient."""
    task = tasks_of(name)[-1]
    loss, mode = build(name, task, **SHORT.get(name, {})), FakeTensorMode()
    with mode if kind == "fake" else torch.device("meta"):
        leaf = torch.empty(logits(task, **SMALL).shape, requires_grad=True)
        value = loss(leaf, torch.zeros(hard_target(task, **SMALL).shape, dtype=torch.long))
        value.backward()
    assert value.shape == ()
    assert leaf.grad.shape == leaf.shape


@every_loss
@pytest.mark.tools  # seconds of tracing in all
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")  # of our checks of sizes
def test_a_traced_program_is_right_for_other_inputs(name):
    """make_fx, with numbers and with symbols for the sizes, and torch.jit.trace: no number of the trace is left."""
    loss, x, t, value, gradient = case(name)
    zeros = torch.zeros_like(x), torch.zeros_like(t)
    for mode in ("real", "symbolic"):
        program = make_fx(lambda *inputs: value_and_gradient(loss, *inputs), tracing_mode=mode)(*zeros)
        torch.testing.assert_close(program(x, t), (value, gradient))
    traced = torch.jit.trace(lambda *inputs: loss(*inputs), zeros, check_trace=False)
    torch.testing.assert_close(value_and_gradient(traced, x, t), (value, gradient))


@pytest.mark.parametrize("largest", [False, True])
def test_an_extremum_in_steps_has_the_value_and_the_gradient_of_the_operator(largest):
    """With ties, for which the order of the neighbours decides."""
    x = logits("binary", size=(6, 7)).round()
    expected = value_and_gradient(lambda y: (extremum(y, [2, 3], largest) ** 2).sum(), x)
    found = value_and_gradient(lambda y: (extremum_in_steps(y, [2, 3], largest) ** 2).sum(), x)
    torch.testing.assert_close(found, expected)


def test_vmap_over_masks_gives_the_distances_of_each():
    """Also along a later axis than the first, and not one call of SciPy after another."""
    masks = hard_target("multilabel", size=(5, 6)).bool()
    expected = signed_distance(masks)
    assert torch.equal(torch.vmap(lambda m: signed_distance(m[None])[0])(masks), expected)
    swapped = torch.vmap(lambda m: signed_distance(m[None])[0], in_dims=2, out_dims=2)(masks.movedim(0, 2))
    assert torch.equal(swapped.movedim(2, 0), expected)
