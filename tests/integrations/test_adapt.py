"""Adapters of what trainers pass, and the advice in a refusal."""

import re
from ast import literal_eval
from collections import OrderedDict
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

from lossreg import InputError, LossregError
from lossreg.integrations import Adapt, Tracked

from ..trainers.data import mix

X = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
Y = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(1)) > 0.5
DICE = mix(X, Y)["loss_dice"].mean().item()


class Named(torch.Tensor):
    """A subclass as fastai's: operations with another subclass are refused."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        if not all(issubclass(cls, each) for each in types):
            return NotImplemented
        return super().__torch_function__(function, types, args, kwargs or {})


class Image(Named):
    pass


class Mask(Named):
    pass


OUTPUTS = {
    "a dict": ({"logits": X, "features": X}, "logits"),
    "an output of Transformers": (OrderedDict(loss=None, logits=X), "logits"),
    "an object": (SimpleNamespace(logits=X), "logits"),
    "a list": ([X, X + 1], 0),
    "a tuple, from its end": ((X + 1, X), -1),
}


@pytest.mark.parametrize("kind", OUTPUTS)
def test_the_logits_are_taken_from_an_output(kind):
    """By the key, index or attribute that is named."""
    output, key = OUTPUTS[kind]
    assert Tracked("dice", adapt=Adapt(key=key))(output, Y).item() == pytest.approx(DICE)
    with pytest.raises(InputError, match=r"key='other' is not in the output of the model, a \w+"):
        Tracked("dice", adapt={"key": "other"})(output, Y)


def test_subclasses_of_tensor_become_plain():
    """Without an adapter: these two do not mix, and the loss is that of the plain tensors, with its gradient."""
    image, mask = X.clone().as_subclass(Image).requires_grad_(), Y.float().as_subclass(Mask)
    with pytest.raises(TypeError):
        torch.nn.functional.binary_cross_entropy_with_logits(image, mask)
    total = Tracked("dice")(image, mask)
    assert type(total) is torch.Tensor
    assert total.item() == pytest.approx(DICE)
    total.backward()
    assert image.grad.abs().sum() > 0


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "bilinear", "bicubic", "area"])
def test_logits_are_resized_to_the_target(mode):
    """By the named mode of interpolate, to class indices and to masks, which stay as they are."""
    small = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(2)).requires_grad_()
    classes = torch.randint(0, 3, (2, 8, 8), generator=torch.Generator().manual_seed(3))
    expected = F.cross_entropy(F.interpolate(small, size=(8, 8), mode=mode), classes)
    found = Tracked("cross_entropy", adapt={"resize": mode})(small, classes)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    dice = mix(F.interpolate(X, size=(16, 16), mode=mode), Y.repeat(1, 1, 2, 2))["loss_dice"].mean().item()
    assert Tracked("dice", adapt={"resize": mode})(X, Y.repeat(1, 1, 2, 2)).item() == pytest.approx(dice, rel=1e-5)
    (gradient,) = torch.autograd.grad(found, small)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, small)[0])


def test_volumes_and_equal_sizes():
    """Volumes take trilinear; logits of the target's size stay the same tensor."""
    volume, mask = torch.randn(1, 1, 2, 2, 2), torch.ones(1, 1, 4, 4, 4)
    found = Adapt(resize="trilinear")(volume, mask)[0]
    torch.testing.assert_close(found, F.interpolate(volume, size=(4, 4, 4), mode="trilinear"))
    assert Adapt(resize="bilinear")(X, Y)[0] is X


def test_half_logits_are_resized_in_float32():
    """Under autocast, too: interpolating in bfloat16 would round the logits once more."""
    small = X[:, :, ::2, ::2].to(torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = Adapt(resize="bilinear")(small, Y)[0]
    torch.testing.assert_close(found, F.interpolate(small.float(), size=(8, 8), mode="bilinear"), rtol=0, atol=0)


def test_channels_last():
    """Masks (N, H, W, C) and class indices, (N, H, W) or (N, H, W, 1), beside logits (N, H, W, C)."""
    logits = torch.randn(2, 8, 8, 3, generator=torch.Generator().manual_seed(2))
    classes = torch.randint(0, 3, (2, 8, 8), generator=torch.Generator().manual_seed(3))
    expected = F.cross_entropy(logits.permute(0, 3, 1, 2), classes).item()
    for target in (classes, classes[..., None]):
        assert Tracked("cross_entropy", adapt={"channels_last": True})(logits, target).item() == pytest.approx(expected)
    last = Tracked("dice", adapt={"channels_last": True})(X.permute(0, 2, 3, 1), Y.permute(0, 2, 3, 1))
    assert last.item() == pytest.approx(DICE)


def test_the_target_first():
    """Keras calls (y_true, y_pred)."""
    assert Tracked("dice", adapt={"target_first": True})(Y.float(), X).item() == pytest.approx(DICE)


def test_probabilities_become_logits():
    """Those of a sigmoid and of a softmax give the loss of the logits; 0 and 1 stay finite, in value and gradient."""
    assert Tracked("dice", adapt={"activation": "sigmoid"})(X.sigmoid(), Y).item() == pytest.approx(DICE, rel=1e-5)
    logits = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(2))
    classes = torch.randint(0, 3, (2, 4, 4), generator=torch.Generator().manual_seed(3))
    softmax = Tracked("cross_entropy", adapt={"activation": "softmax"})(logits.softmax(1), classes)
    assert softmax.item() == pytest.approx(F.cross_entropy(logits, classes).item(), rel=1e-5)
    for activation in ("sigmoid", "softmax"):
        hard = torch.tensor([0.0, 1.0, 1.0, 0.0]).reshape(1, 1, 2, 2).requires_grad_()
        loss = Tracked("bce", adapt={"activation": activation})(hard, torch.ones(1, 1, 2, 2))
        loss.backward()
        assert loss.isfinite()
        assert hard.grad.isfinite().all()


def test_the_steps_of_an_adapter_go_together():
    """The target first, logits of an output at half the size, channels last, as probabilities."""
    adapt = Adapt(target_first=True, key="p", channels_last=True, activation="sigmoid", resize="nearest")
    small = X[:, :, ::2, ::2]
    found = Tracked("dice", adapt=adapt)(Y.float().movedim(1, -1), {"p": small.sigmoid().movedim(1, -1)})
    expected = mix(F.interpolate(small, size=(8, 8)), Y)["loss_dice"].mean().item()
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_any_function_is_an_adapter():
    """It returns what the loss takes; further inputs of a loss pass through an Adapt."""
    assert Tracked("dice", adapt=lambda batch: (batch["x"], batch["y"]))({"x": X, "y": Y}).item() == pytest.approx(DICE)
    assert Adapt(target_first=True)(1, 2, 3) == (2, 1, 3)


CLASSES = torch.randint(0, 3, (2, 8, 8))
REFUSED = {
    "a dict": ({"logits": X}, Y, {"key": "logits"}),
    "an output with another name": ({"masks": X}, Y, {"key": "masks"}),
    "a list": ([X], Y, {"key": 0}),
    "an object": (SimpleNamespace(logits=X), Y, {"key": "logits"}),
    "smaller logits": (X[:, :, ::2, ::2], Y, {"resize": "bilinear"}),
    "a smaller volume": (torch.randn(1, 1, 2, 2, 2), torch.ones(1, 1, 4, 4, 4), {"resize": "trilinear"}),
    "the target first": (Y, X, {"target_first": True}),
    "a float target first": (Y.float(), X, {"target_first": True}),
    "channels last": (X.movedim(1, -1), Y.movedim(1, -1), {"channels_last": True}),
    "logits that are None": ({"logits": None, "masks": X}, Y, {"key": "masks"}),
    "a loss before the logits": ((torch.tensor(1.0), X), Y, {"key": 1}),
    "features before the logits": ({"features": torch.randn(2, 9, 4, 4), "masks": X}, Y, {"key": "masks"}),
    "an object with another name": (SimpleNamespace(logits=None, masks=X), Y, {"key": "masks"}),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_refusal_names_the_adapter(kind):
    """And the adapter, taken from the message, gives a finite loss."""
    output, target, adapt = REFUSED[kind]
    written = f"adapt={adapt!r}"
    with pytest.raises(LossregError) as refused:
        Tracked("dice")(output, target)
    assert f"write Tracked(..., {written})" in str(refused.value)
    assert Tracked("dice", adapt=adapt)(output, target).isfinite()


STEPS = {
    "the target first, smaller logits": ("dice", (Y, X[:, :, ::2, ::2]), {"target_first": True, "resize": "bilinear"}),
    "channels last, smaller logits": (
        "cross_entropy",
        (torch.randn(2, 4, 4, 3), torch.ones(2, 8, 8).long()),
        {"channels_last": True, "resize": "bilinear"},
    ),
    "masks and smaller logits, channels last": (
        "dice",
        (X[:, :, ::2, ::2].movedim(1, -1), Y.movedim(1, -1)),
        {"channels_last": True, "resize": "bilinear"},
    ),
    "an output with smaller logits": ("dice", ({"p": X[:, :, ::2, ::2]}, Y), {"key": "p", "resize": "bilinear"}),
}


@pytest.mark.parametrize("kind", STEPS)
def test_advice_goes_on_from_the_adapter(kind):
    """The second refusal repeats what the first one advised: each can be copied as it is."""
    loss, inputs, expected = STEPS[kind]
    adapt = None
    for _ in expected:
        with pytest.raises(LossregError) as refused:
            Tracked(loss, adapt=adapt)(*inputs)
        adapt = literal_eval(re.search(r"adapt=(\{.*?\})\)", str(refused.value))[1])
    assert adapt == expected
    assert Tracked(loss, adapt=adapt)(*inputs).isfinite()


NO_ADVICE = {
    "masks (N, H, W, 1)": ((X, Y.movedim(1, -1)), None),
    "other channels and sizes": ((torch.randn(2, 2, 4, 4), torch.ones(2, 3, 8, 8)), None),
    "an output per example": (([X[0], X[1]], Y), None),
    "an output without tensors": (({"logits": None}, Y), None),
    "what a function returned": ((X[:, :, ::2, ::2], Y), lambda x, y: (x, y)),
}


@pytest.mark.parametrize("kind", NO_ADVICE)
def test_no_adapter_is_advised_that_would_not_help(kind):
    """The refusal of the loss stays as it is."""
    inputs, adapt = NO_ADVICE[kind]
    with pytest.raises(LossregError) as refused:
        Tracked("dice", adapt=adapt)(*inputs)
    assert "adapt=" not in str(refused.value)


@pytest.mark.parametrize("loss", [torch.nn.CrossEntropyLoss(), "torch/cross_entropy"])
def test_refusals_of_other_libraries_name_the_adapter(loss):
    """torch raises a RuntimeError for sizes, a TypeError for a dict; the original error is the cause."""
    logits, classes = torch.randn(2, 3, 4, 4), torch.randint(0, 3, (2, 8, 8))
    with pytest.raises(InputError, match=r"write Tracked.*'resize': 'bilinear'") as refused:
        Tracked(loss)(logits, classes)
    assert type(refused.value.__cause__) is RuntimeError
    assert Tracked(loss, adapt={"resize": "bilinear"})(logits, classes).isfinite()
    with pytest.raises(InputError, match="'key': 'logits'"):
        Tracked(loss)({"logits": logits}, classes)


@pytest.mark.parametrize("returned", [None, X, {"input": X, "target": Y}], ids=["nothing", "a tensor", "a dict"])
def test_a_function_returns_all_inputs(returned):
    """A tensor alone would be taken apart into its examples."""
    with pytest.raises(InputError, match=r"adapt must return the inputs of the loss, such as \(input, target\), got"):
        Tracked(torch.nn.MSELoss(), adapt=lambda x, y: returned)(X, Y)


def test_an_adapter_that_is_a_module_adds_no_parameters():
    """The loss keeps its own state_dict, strictly."""

    class Projection(torch.nn.Linear):
        def forward(self, input, target):
            return super().forward(input), target

    tracked = Tracked("dice", adapt=Projection(8, 8))
    assert tracked(X, Y).isfinite()
    assert tracked.state_dict() == {}


def test_classes_refused_name_the_adapter():
    """Class indices beside channels last."""
    logits = torch.randn(2, 8, 8, 3)
    with pytest.raises(LossregError, match="'channels_last': True"):
        Tracked("cross_entropy")(logits, CLASSES)


def test_a_refusal_that_no_adapter_cures_stays_as_it_is():
    """No advice is better than wrong advice."""
    with pytest.raises(LossregError) as refused:
        Tracked("dice")(X, torch.full((2, 1, 8, 8), 3.0))
    assert "adapt" not in str(refused.value)


WRONG = {
    "bilinera": ({"resize": "bilinera"}, "resize must be one of 'nearest'"),
    "tanh": ({"activation": "tanh"}, "activation must be one of 'sigmoid', 'softmax'"),
    "an unknown field": ({"resized": "bilinear"}, "did you mean 'resize'"),
    "a field unlike all": ({"q": 1}, "allowed are target_first, key, channels_last, activation, resize"),
    "a number": (3, "adapt must be an Adapt, a mapping of its fields or a function"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_adapters_are_refused_at_once(kind):
    """When the loss is made, and not in the first step."""
    given, message = WRONG[kind]
    with pytest.raises(InputError, match=message):
        Tracked("dice", adapt=given)


UNFIT = {
    "one argument": (Adapt(), (X,), "takes the input and the target of a loss, got 1 arguments by position"),
    "a volume": (Adapt(resize="bilinear"), (X[..., None], Y[..., None].repeat(1, 1, 1, 1, 2)), "write 'trilinear'"),
    "a picture": (Adapt(resize="trilinear"), (X, Y.repeat(1, 1, 2, 2)), "write 'bilinear'"),
    "a signal": (Adapt(resize="bilinear"), (X[..., 0], Y.flatten(2)), "write 'nearest'"),
    "no tensor": (
        Adapt(resize="bilinear"),
        ({"logits": X}, Y),
        "resize takes tensors, got a dict with the keys logits",
    ),
    "integers": (Adapt(activation="sigmoid"), (Y, Y), "inverts probabilities, got torch.bool"),
    "a short target": (Adapt(resize="bilinear"), (X, Y[:, 0, 0]), "a target with the same last axes"),
}


@pytest.mark.parametrize("kind", UNFIT)
def test_inputs_that_do_not_fit_an_adapter(kind):
    """Each message names the step that refused them."""
    adapt, inputs, message = UNFIT[kind]
    with pytest.raises(LossregError, match=message):
        adapt(*inputs)
