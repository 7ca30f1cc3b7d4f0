"""Losses under torch's transforms, modes and tracers, and for tensors that are not plain: right, or refused by name."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing
from torch._subclasses import FakeTensorMode
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from lossreg.errors import DTypeError, ImplementationError, InputError
from lossreg_segmentation.statistics import chosen, implementation, mask_statistics

from .cases import build, hard_target, logits, value_and_gradient

CASES = [("bce_dice_focal", "binary"), ("cross_entropy", "multiclass")]

# torch's own, where it traces or differentiates forward.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")


@pytest.fixture(params=CASES, ids=lambda case: case[0])
def case(request):
    """Return a loss of one tensor of logits, the logits, and their value and gradient in float64."""
    name, task = request.param
    loss, t, x = build(name, task), hard_target(task), logits(task, dtype=torch.float32)
    with implementation("reference"):
        value, gradient = value_and_gradient(loss, x.double(), t)
    return partial(loss, target=t), x, value.float(), gradient.float()


def assert_close(found, expected):
    torch.testing.assert_close(found.detach().float(), expected, rtol=1e-5, atol=1e-7)


def along_ones(f, x):
    """Return the value and its derivative along a vector of ones, by dual numbers."""
    with forward_ad.dual_level():
        return forward_ad.unpack_dual(f(forward_ad.make_dual(x, torch.ones_like(x))))


def grad_and_value(f, x):
    return torch.func.grad_and_value(f)(x)[::-1]


def pulled_back(f, x):
    value, pull = torch.func.vjp(f, x)
    return value, pull(torch.ones(()))[0]


def of_a_parameter(f, x):
    """The logits are the parameter of a module that is called as a function of it."""

    class Logits(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.numbers = torch.nn.Parameter(torch.zeros_like(x))

        def forward(self):
            return f(self.numbers)

    module = Logits()
    return grad_and_value(lambda numbers: torch.func.functional_call(module, {"numbers": numbers}, ()), x)


def traced(mode):
    def run(f, x):
        loss, t = f.func, f.keywords["target"]
        program = make_fx(lambda *inputs: value_and_gradient(loss, *inputs), tracing_mode=mode)
        return program(torch.zeros_like(x), torch.zeros_like(t))(x, t)

    return run


def backward(f, x):
    leaf = x.clone().requires_grad_()
    value = f(leaf)
    value.backward()
    return value, leaf.grad


def counted(f, x):
    with FlopCounterMode(display=False):
        return backward(f, x)


def batched(f, x):
    leaf = x.clone().requires_grad_()
    value = f(leaf)
    (gradients,) = torch.autograd.grad(value, leaf, torch.tensor([1.0, 3.0]), is_grads_batched=True)
    torch.testing.assert_close(gradients[1], 3 * gradients[0])
    return value, gradients[0]


def mapped(f, x):
    """As the rows of a Jacobian are found."""
    leaf = x.clone().requires_grad_()
    value = f(leaf)
    gradients = torch.vmap(lambda g: torch.autograd.grad(value, leaf, g)[0])(torch.tensor([1.0, 3.0]))
    torch.testing.assert_close(gradients[1], 3 * gradients[0])
    return value, gradients[0]


def counted_backward(f, x):
    leaf = x.clone().requires_grad_()
    value = f(leaf)
    with FlopCounterMode(display=False):
        value.backward()
    return value, leaf.grad


def on_meta_by_default(f, x):
    with torch.device("meta"):
        return value_and_gradient(f, x)


@pytest.mark.parametrize(
    "way",
    [
        grad_and_value,
        pulled_back,
        of_a_parameter,
        lambda f, x: (f(x), torch.func.jacrev(f)(x)),
        lambda f, x: (f(x), torch.func.jacfwd(f)(x)),
        lambda f, x: (f(x), torch.autograd.functional.jacobian(f, x, vectorize=True)),
        lambda f, x: backward(lambda y: checkpoint(f, y, use_reentrant=False), x),
        lambda f, x: value_and_gradient(f, torch.nn.Parameter(x)),
        lambda f, x: value_and_gradient(f, torch._neg_view(-x)),
        traced("real"),
        traced("fake"),
        traced("symbolic"),
        counted,
        batched,
        mapped,
        counted_backward,
        on_meta_by_default,
    ],
    ids=[
        "grad",
        "vjp",
        "functional_call",
        "jacrev",
        "jacfwd",
        "jacobian",
        "checkpoint",
        "parameter",
        "negated",
        "real",
        "fake",
        "symbolic",
        "counted",
        "batched",
        "mapped",
        "counted_backward",
        "device",
    ],
)
def test_a_transform_gives_the_value_and_the_gradient(case, way):
    """Those of the reference in float64, from a loss that would else be computed by kernels."""
    f, x, value, gradient = case
    found = way(f, x)
    assert_close(found[0], value)
    assert_close(found[1], gradient)


@pytest.mark.parametrize("way", [along_ones, lambda f, x: torch.func.jvp(f, (x,), (torch.ones_like(x),))])
def test_forward_mode_gives_the_derivative_along_a_vector(case, way):
    """Where a function with a backward pass alone would give none, without a word."""
    f, x, value, gradient = case
    primal, tangent = way(f, x)
    assert_close(primal, value)
    assert_close(tangent, gradient.sum())


@pytest.mark.parametrize("name, task", CASES)
def test_vmap_gives_each_examples_own_loss_and_gradient(name, task):
    """As those of one example after the other."""
    x, t, loss = logits(task, dtype=torch.float32), hard_target(task), build(name, task)

    def one(y, mask):
        return loss(y[None], mask[None])

    each = [value_and_gradient(loss, x[i : i + 1], t[i : i + 1]) for i in range(len(x))]
    assert_close(torch.vmap(one)(x, t), torch.stack([value for value, _ in each]))
    assert_close(torch.vmap(torch.func.grad(one))(x, t), torch.cat([gradient for _, gradient in each]))


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("name", ["numba", "tiled"])
@pytest.mark.parametrize(
    "way, reason",
    [
        (grad_and_value, "a transform of torch.func or torch.vmap is active"),
        (along_ones, "forward-mode differentiation is active"),
        (traced("real"), "a TorchDispatchMode is active, as in make_fx and under FakeTensorMode"),
        (
            lambda f, x: f(FakeTensorMode().from_tensor(x)),
            "FakeTensor is a subclass of torch.Tensor with operators of its own",
        ),
    ],
    ids=["grad", "forward", "make_fx", "fake"],
)
def test_an_explicit_choice_is_refused_with_the_reason(name, way, reason):
    """Whose advice is then followed."""
    x, t, loss = logits("binary", dtype=torch.float32), hard_target("binary"), build("dice")
    with implementation(name), pytest.raises(ImplementationError) as caught:
        way(partial(loss, target=t), x)
    assert str(caught.value) == (
        f"implementation {name!r} cannot compute this: {reason}; use 'auto' for the first that can"
    )
    if "fake" not in reason.lower() or "make_fx" in reason:
        with implementation("auto"):
            way(partial(loss, target=t), x)


@pytest.mark.parametrize("name, task", CASES)
@pytest.mark.parametrize("device", ["meta", "fake"])
def test_without_values_a_loss_has_a_shape(name, task, device):
    """As an estimate of memory needs it."""
    mode = FakeTensorMode()
    move = mode.from_tensor if device == "fake" else lambda x: x.to("meta")
    x, t = logits(task, dtype=torch.float32), hard_target(task)
    with mode if device == "fake" else torch.device("cpu"):
        leaf = move(x).requires_grad_()
        value = build(name, task)(leaf, move(t))
        value.backward()
    assert value.shape == ()
    assert leaf.grad.shape == x.shape


class Own(torch.Tensor):
    """A subclass that may do as it likes in each operator."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        return super().__torch_function__(function, types, args, kwargs or {})


class Named(torch.Tensor):
    """A subclass without operators of its own."""


@pytest.mark.parametrize("kind, own", [(Own, True), (Named, False)])
@pytest.mark.parametrize("name, task", CASES)
def test_a_subclass_is_computed_by_its_own_operators_if_it_has_some(kind, own, name, task):
    """As logits and as target."""
    x, t, loss = logits(task, dtype=torch.float32), hard_target(task), build(name, task)
    value, gradient = value_and_gradient(loss, x, t)
    found = value_and_gradient(loss, x, t.as_subclass(kind))
    leaf = x.clone().requires_grad_()
    logits_too = loss(leaf.as_subclass(kind), t.as_subclass(kind))
    logits_too.backward()
    for one in (found, (logits_too, leaf.grad)):
        assert_close(one[0].as_subclass(torch.Tensor), value)
        assert_close(one[1].as_subclass(torch.Tensor), gradient)
    activation = "softmax" if task == "multiclass" else "sigmoid"
    expected = "reference" if own else chosen(x, t, activation)
    assert chosen(x.as_subclass(kind), t, activation) == chosen(x, t.as_subclass(kind), activation) == expected


def test_a_mask_of_torchvision_is_a_plain_target(torchvision_operators):
    """Its operators only carry its kind along."""
    from torchvision.tv_tensors import Mask

    x, t, loss = logits("binary", dtype=torch.float32), hard_target("binary"), build("dice")
    assert chosen(x, Mask(t), "sigmoid") == chosen(x, t, "sigmoid") != "reference"
    assert torch.equal(loss(x, Mask(t)), loss(x, t))


def test_tensors_of_inference_mode_are_targets_of_a_training():
    """As the labels that a teacher draws."""
    x, t, loss = logits("binary", dtype=torch.float32), hard_target("binary"), build("dice")
    with torch.inference_mode():
        labels, without = t.clone(), loss(x.clone(), t.clone())
    value, gradient = value_and_gradient(loss, x, t)
    found, slope = value_and_gradient(loss, x, labels)
    assert_close(found, value)
    assert_close(slope, gradient)
    assert_close(without.clone(), value)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda x, t: (x.to_sparse(), t), "input has the layout torch.sparse_coo; use input.to_dense()"),
        (lambda x, t: (x, t.to_sparse()), "target has the layout torch.sparse_coo; use target.to_dense()"),
        (
            lambda x, t: (torch.nested.nested_tensor(list(x), layout=torch.jagged), t),
            "input is a nested tensor; pad it with .to_padded_tensor(...) and set ignore_index",
        ),
        (
            lambda x, t: (x, torch.quantize_per_tensor(t.float(), 1.0, 0, torch.quint8)),
            "target must be bool, integer or float, got torch.quint8; use target.dequantize()",
        ),
    ],
    ids=["logits", "target", "nested", "quantised"],
)
@pytest.mark.filterwarnings("ignore:.*quantiz.*", "ignore:.*nested.*")
def test_layouts_without_a_formula_name_the_conversion(change, message):
    """Where torch names an operator that it lacks."""
    x, t = change(logits("binary", dtype=torch.float32), hard_target("binary"))
    with pytest.raises((InputError, DTypeError)) as caught:
        build("dice")(x, t)
    assert str(caught.value) == message


@pytest.mark.parametrize("transform", [torch.func.grad, lambda f: f])
def test_values_are_checked_wherever_they_can_be_read(transform):
    """A class that does not exist is an error under torch.func.grad, too, and not a pixel of no class."""
    t = torch.tensor([[0, 3]])

    def f(x):
        return mask_statistics(x, t, activation="softmax", needs=["predicted"]).predicted.sum()

    with pytest.raises(InputError, match="target contains class index 3, input has 2 classes"):
        transform(f)(torch.zeros(1, 2, 2))


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("name, task", CASES)
def test_a_traced_loss_is_right_for_other_inputs(name, task):
    """Nothing of the inputs of the trace is left in it."""
    x, t, loss = logits(task, dtype=torch.float32), hard_target(task), build(name, task)
    other = torch.zeros_like(x), torch.zeros_like(t)
    program = torch.jit.trace(lambda *inputs: loss(*inputs), other, check_trace=False)
    value, gradient = value_and_gradient(loss, x, t)
    found, slope = value_and_gradient(program, x, t)
    assert_close(found, value)
    assert_close(slope, gradient)


def rank_main(rank, folder):
    """Compute losses of logits that two processes share, and of a model that they share."""
    from torch.distributed import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import Shard, distribute_tensor

    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    mesh = init_device_mesh("cpu", (2,))
    for dimension in (0, 2):  # of examples, of rows
        for name, task in CASES:
            x, t, loss = logits(task, dtype=torch.float32), hard_target(task), build(name, task)
            x, t = x[..., :2, :].contiguous(), t[..., :2, :].contiguous()  # torch shares rows evenly
            value, gradient = value_and_gradient(loss, x, t)
            leaf = distribute_tensor(x, mesh, [Shard(dimension)]).requires_grad_()
            rows = min(dimension, t.ndim - 2) if t.ndim < x.ndim else dimension
            target = distribute_tensor(t, mesh, [Shard(rows)])
            assert chosen(leaf, target, "sigmoid") == "reference"
            found = loss(leaf, target)
            found.backward()
            assert_close(found.full_tensor(), value)
            assert_close(leaf.grad.full_tensor(), gradient)
    torch.manual_seed(0)
    model, images, masks = (
        torch.nn.Conv2d(3, 3, 1),
        logits("multilabel", dtype=torch.float32),
        hard_target("multilabel"),
    )
    expected = build("dice", "multilabel")(model(images), masks)
    expected.backward()
    slope = model.weight.grad.clone()
    model.zero_grad()
    fully_shard(model, mesh=mesh)
    output = model(images)
    assert chosen(output, masks, "sigmoid") != "reference"
    found = build("dice", "multilabel")(output, masks)
    found.backward()
    assert_close(found, expected.detach())
    assert_close(model.weight.grad.full_tensor(), slope)
    dist.barrier()  # neither process leaves while the other still needs it
    dist.destroy_process_group()


@pytest.mark.tools  # processes that import torch
def test_tensors_that_processes_share(tmp_path):
    """DTensors are computed by their own operators; the outputs of a model under FSDP2 are plain tensors."""
    multiprocessing.spawn(rank_main, (tmp_path,), nprocs=2)
