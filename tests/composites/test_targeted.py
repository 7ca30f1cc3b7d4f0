"""targeted: a term against another target, such as skeleton recall."""

import pytest
import torch
import torch.nn.functional as F

from lossreg import InputError, InvalidConfigError, build, config_of, evaluate
from lossreg.composites.targeted import Targeted
from lossreg_segmentation import Dice, LovaszHinge
from tests.composite_cases import on_tiles

RECALL = {"name": "tversky", "params": {"alpha": 0, "beta": 1, "task": "multilabel"}}
SKELETON = {"name": "targeted", "params": {"target": "skeleton", "loss": RECALL}}


@pytest.fixture(autouse=True)
def tiles():
    with on_tiles():
        yield


def tensors(batch=2, channels=3, size=(8, 12)):
    generator = torch.Generator().manual_seed(1)
    input = torch.randn(batch, channels, *size, generator=generator, dtype=torch.float64)
    target, skeleton = (torch.rand(batch, channels, *size, generator=generator) > share for share in (0.5, 0.9))
    return input, target, skeleton


def soft_skeleton_recall(input, skeleton, *, batch, smooth=1.0):
    """Compute the recall of nnU-Net's SoftSkeletonRecallLoss: softmax, without the first class; they return -recall."""
    p, axes = input.softmax(1)[:, 1:], [0, 2, 3] if batch else [2, 3]
    s = F.one_hot(skeleton, input.shape[1]).movedim(-1, 1)[:, 1:].double()
    return ((p * s).sum(axes) + smooth) / (s.sum(axes) + smooth)


def test_the_option_is_the_target():
    """The target of the call is for the other terms. By position or by name, a component and values per example."""
    x, t, s = tensors()
    loss, inner = build(SKELETON), build(RECALL)
    output = loss.evaluate(x, t, skeleton=s)
    assert output.total == inner(x, s) == loss(input=x, target=t, skeleton=s)
    assert list(output.components) == ["skeleton"]
    assert torch.equal(output.per_example, inner.evaluate(x, s).per_example)
    assert not torch.equal(loss(x, t, skeleton=t), inner(x, s))


@pytest.mark.parametrize("batch", [False, True])
def test_skeleton_recall(batch):
    """Tversky of alpha 0 and beta 1 on the skeleton, without the background, is 1 + nnU-Net's loss."""
    x, *_ = tensors()
    t, s = (torch.randint(0, 3, (2, 8, 12), generator=torch.Generator().manual_seed(seed)) for seed in (1, 2))
    params = {"alpha": 0, "beta": 1, "background": False, "batch": batch}
    loss = build({"name": "targeted", "params": {"target": "skeleton", "loss": {"name": "tversky", "params": params}}})
    expected = 1 - soft_skeleton_recall(x, s, batch=batch).mean()
    assert loss(x, t, skeleton=s).item() == pytest.approx(expected.item(), rel=1e-14)
    empty = torch.zeros_like(s)
    assert loss(x, t, skeleton=empty).item() == 0  # (0 + smooth) / (0 + smooth)


def test_in_a_sum():
    """Terms of several targets: each gets its own, and the components are named."""
    x, t, s = tensors()
    auxiliary = {"name": "targeted", "params": {"target": "edge", "loss": "bce"}}
    terms = [{"name": "dice", "params": {"task": "multilabel"}}, SKELETON, {"weight": 2, **auxiliary}]
    loss = build({"name": "weighted_sum", "params": {"terms": terms}})
    output = evaluate(loss, x, t, skeleton=s, edge=~s)
    dice, recall = build(terms[0])(x, t), build(RECALL)(x, s)
    bce = F.binary_cross_entropy_with_logits(x, (~s).double())
    assert output.total.item() == pytest.approx((dice + recall + 2 * bce).item(), rel=1e-12)
    assert list(output.components) == ["dice", "targeted", "targeted_2"]
    assert output.per_example.mean().item() == pytest.approx(output.total.item())


def test_several_terms_and_a_weight():
    """A loss of several terms has their names; a weight per pixel goes to the loss."""
    x, t, s = tensors()
    inner = {"name": "weighted_sum", "params": {"terms": [RECALL, "bce"]}}
    loss = build({"name": "targeted", "params": {"target": "skeleton", "loss": inner}})
    weight = (torch.rand(2, 1, 8, 12, generator=torch.Generator().manual_seed(4)) > 0.5).double()
    output = loss.evaluate(x, t, skeleton=s, weight=weight)
    assert list(output.components) == ["skeleton.tversky", "skeleton.bce"]
    assert output.total == build(inner)(x, s, weight=weight)


def test_a_missing_target_is_named():
    """Alone and in a sum; the call of the message works."""
    x, t, s = tensors()
    loss = build({"name": "weighted_sum", "params": {"terms": [SKELETON]}})
    for each in (build(SKELETON), loss):
        for call in (each, each.evaluate):
            with pytest.raises(
                InputError, match=r"targeted needs skeleton=, the target of its tversky: call it as loss\("
            ):
                call(x, t)
        assert each(x, t, skeleton=s).isfinite()
        with pytest.raises(InputError, match="has the option skeletn="):
            each(x, t, skeletn=s)
    with pytest.raises(InputError, match=r"needs target"):
        build(SKELETON)(x, skeleton=s)


def test_under_deep_supervision():
    """A skeleton keeps its lines; class indices are resized by nearest-exact where the config has it."""
    x, t, _ = tensors()
    line = torch.zeros_like(t)
    line[:, :, 4, :] = True
    levels = [x, x[..., ::2, ::2]]
    loss = build({"name": "deep_supervision", "params": {"loss": SKELETON, "weights": "same"}})
    coarse = F.adaptive_max_pool2d(line.double(), (4, 6)) > 0
    expected = build(RECALL)(levels[0], line) + build(RECALL)(levels[1], coarse)
    assert loss(levels, t, skeleton=line).item() == pytest.approx(expected.item(), rel=1e-12)
    nearest = {"name": "targeted", "params": {"target": "label", "resize": "nearest", "loss": "cross_entropy"}}
    loss = build({"name": "deep_supervision", "params": {"loss": nearest, "weights": "same"}})
    label = torch.randint(0, 3, (2, 8, 12), generator=torch.Generator().manual_seed(1))
    expected = F.cross_entropy(levels[0], label) + F.cross_entropy(levels[1], label[:, 1::2, 1::2])
    assert loss(levels, t, label=label).item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("name", ["input", "target", "a b", "", "weight", "class", "self", 3])
def test_a_name_that_cannot_be_an_option(name):
    """A weight is that of other terms, also where the loss itself has none."""
    for loss in (Dice(), LovaszHinge()):
        with pytest.raises(InputError, match="target must be a name of Python that is no input or option of losses"):
            Targeted(target=name, loss=loss)


def test_messages_show_the_further_target():
    """Also in a sum."""
    x, t, s = tensors()
    loss = build(SKELETON)
    with pytest.raises(InputError, match=r"got 3 inputs; call it as loss\(input, target, skeleton=..., weight=...\)"):
        loss(x, t, s)
    for each in (loss, build({"name": "weighted_sum", "params": {"terms": [SKELETON]}})):
        with pytest.raises(InputError, match="has the option skelton=; their options: skeleton, weight"):
            each(x, t, skelton=s)


def test_configs():
    """Round trip, and errors."""
    x, t, s = tensors()
    loss = build(SKELETON)
    assert config_of(loss)["params"]["resize"] == "maximum"
    assert build(config_of(loss))(x, t, skeleton=s) == loss(x, t, skeleton=s)
    with pytest.raises(InvalidConfigError, match="resize: expected one of"):
        build({"name": "targeted", "params": {"target": "a", "loss": "dice", "resize": "linear"}})
    with pytest.raises(InputError, match="resize is 'maximum' or 'nearest', got 'linear'"):
        Targeted(target="a", loss=Dice(), resize="linear")
    with pytest.raises(InvalidConfigError, match="Dice has reduction='sum' inside a composite"):
        build({"name": "targeted", "params": {"target": "a", "loss": {"name": "dice", "params": {"reduction": "sum"}}}})


def test_gradients():
    """Of the input, and of nothing else."""
    x, t, s = tensors(size=(3, 4))
    loss = build(SKELETON)
    assert torch.autograd.gradcheck(lambda x: loss(x, t, skeleton=s), (x.requires_grad_(),))


@pytest.mark.tools
def test_it_compiles_to_one_graph():
    torch.compiler.reset()
    x, t, s = tensors()
    loss = build(
        {"name": "weighted_sum", "params": {"terms": [{"name": "dice", "params": {"task": "multilabel"}}, SKELETON]}}
    )
    value = torch.compile(loss, fullgraph=True, backend="aot_eager")(x, t, skeleton=s)
    torch.testing.assert_close(value, loss(x, t, skeleton=s))
