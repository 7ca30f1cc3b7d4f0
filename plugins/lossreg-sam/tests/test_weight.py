"""A weight for each pixel of the losses on SAM steps."""

import pytest
import torch

import lossreg

from .oracles import step
from .oracles_alignment import pairs
from .oracles_sam2 import MASKS, leaves, video

pytestmark = pytest.mark.usefixtures("on_reference")
STEPS = ("sam", "iou_prediction", "spatial_relevance")


def test_embeddings_have_no_pixels_to_weigh():
    """None, which a training loop gives to every loss, is no weight."""
    loss, given = lossreg.build("text_region_contrast"), pairs(2, dtype=torch.float64)
    assert torch.equal(loss(*given, weight=None), loss(*given))
    with pytest.raises(lossreg.InputError, match="weight= has no meaning there, because it compares embeddings"):
        loss(*given, weight=torch.ones(2, 1))


def inputs_of(name):
    x, t, iou = step(2, dtype=torch.float64)
    more = pairs(2, dtype=torch.float64) if name == "spatial_relevance" else ()
    return x.requires_grad_(name != "iou_prediction"), t, iou.requires_grad_(), *more


def results(loss, inputs, **options):
    output = loss.evaluate(*inputs, **options)
    grads = torch.autograd.grad(output.total, [x for x in inputs[:3] if x.requires_grad])
    return output.total, output.components, output.per_example, grads


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("channels", [0, 1, 3], ids=["shared", "one channel", "per mask"])
def test_pixels_of_weight_zero_are_ignored(name, channels):
    """As by ignore_index, in value and gradient; the weights have the shape of the target or of the masks."""
    x, t, *others = inputs_of(name)
    kept = torch.rand(t.reshape(2, *x.shape[2:]).shape, generator=torch.Generator().manual_seed(1)) > 0.3
    marked = t.clone()
    marked.view(kept.shape)[~kept] = 7
    weight = kept if channels == 0 else kept.unsqueeze(1).expand(-1, channels, -1, -1).double()
    expected = results(lossreg.build({"name": name, "params": {"ignore_index": 7}}), (x, marked, *others))
    torch.testing.assert_close(results(lossreg.build(name), (x, t, *others), weight=weight), expected)


def test_weights_that_add_up_to_little_give_the_same_iou():
    """The union of the weights is far below 1 here: 3 of 4 pixels are right at any unit."""
    x, t = torch.tensor([[[[3.0, 3.0, 3.0, 3.0]]]]), torch.tensor([[[1, 1, 1, 0]]])
    for unit in (1.0, 1e-3):
        loss = lossreg.build("iou_prediction")(x, t, torch.zeros(1, 1), weight=torch.full((1, 1, 4), unit))
        assert loss.item() == pytest.approx(0.75**2, rel=1e-6)


def test_a_mask_without_weight_counts_nowhere():
    """Of two examples, the one of weight 0 has a loss of 0 and no gradient."""
    inputs = inputs_of("sam")
    weight = torch.ones(2, *inputs[0].shape[2:], dtype=torch.float64)
    weight[1] = 0
    _, _, per_example, (grad, _) = results(lossreg.build("sam"), inputs, weight=weight)
    assert per_example[1] == 0
    assert per_example[0] > 0
    assert grad[1].eq(0).all()
    assert grad[0].ne(0).any()


def test_sam2_reads_only_pixels_that_weigh():
    """A video whose right half weighs 0 has the loss of its left half."""
    outs, targets = video(size=(4, 6))
    weight = torch.ones(targets.shape)
    weight[..., 3:] = 0
    left = [frame | {MASKS: [x[..., :3] for x in frame[MASKS]]} for frame in outs]
    loss = lossreg.build("sam2")
    output, expected = loss.evaluate(outs, targets, weight=weight), loss.evaluate(left, targets[..., :3])
    torch.testing.assert_close(output.components, expected.components)
    torch.testing.assert_close(output.per_example, expected.per_example)
    found, wanted = (torch.autograd.grad(each.total, leaves(outs)) for each in (output, expected))
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize(
    "weight, error, message",
    [
        (1.0, lossreg.DTypeError, "weight must be a tensor, got float; use torch.as_tensor"),
        (torch.ones(3, 4, 5), lossreg.ShapeError, r"\(2, 3, 4, 5\), so weight too, got \(3, 4, 5\); use weight.expand"),
    ],
)
def test_weights_of_a_video_have_the_shape_of_its_targets(weight, error, message):
    outs, targets = video()
    with pytest.raises(error, match=message):
        lossreg.build("sam2")(outs, targets, weight=weight)


@pytest.mark.parametrize("name", STEPS)
def test_weights_of_a_step_have_the_shape_of_its_masks(name):
    inputs = inputs_of(name)
    with pytest.raises(lossreg.ShapeError, match="so weight must have shape"):
        lossreg.build(name)(*inputs, weight=torch.ones(2, 1, 1, 1))
