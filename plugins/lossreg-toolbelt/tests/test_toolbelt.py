"""Configs of pytorch-toolbelt's losses, compared with that library."""

import inspect
import json
import math
import subprocess
import sys
from importlib import resources

import pytest
import torch

from lossreg import InvalidConfigError, build, validate

MANIFEST = json.loads((resources.files("lossreg_toolbelt") / "lossreg.json").read_text())["losses"]
WITH_MODE = ["dice", "jaccard"]
LEFT_OUT = {"soft_f1": {"ignore_index"}}
INPUTS = {
    "binary": (torch.linspace(-2, 2, 8).view(2, 1, 2, 2), torch.tensor([[[0, 1], [0, 1]], [[1, 1], [0, 1]]])[:, None]),
    "multilabel": (
        torch.linspace(-2, 2, 16).view(2, 2, 2, 2),
        torch.tensor([[[[0, 1], [0, 1]], [[1, 1], [0, 1]]], [[[1, 0], [0, 0]], [[0, 0], [1, 1]]]]),
    ),
    "multiclass": (torch.linspace(-2, 2, 24).view(2, 3, 2, 2), torch.tensor([[[0, 1], [2, 1]], [[1, 1], [0, 2]]])),
    "labels": (torch.tensor([[2.0, -1.0, 0.5], [0.1, 0.2, 0.3], [-2.0, 1.0, 0.0]]), torch.tensor([0, 1, 2])),
}


def of(name, **params):
    return build({"name": f"toolbelt/{name}", "params": params})


def refusal(name, **params):
    with pytest.raises(InvalidConfigError) as caught:
        validate({"name": f"toolbelt/{name}", "params": params})
    return str(caught.value)


def class_of(name, toolbelt):
    return getattr(toolbelt, MANIFEST[name]["target"].partition(":")[2])


def test_every_loss_of_the_library_is_there(toolbelt):
    """Each module of pytorch_toolbelt.losses; FocalLoss, a function, is an old name of CrossEntropyFocalLoss."""
    classes = [value for value in vars(toolbelt).values() if inspect.isclass(value)]
    own = {value for value in classes if value.__module__.startswith("pytorch_toolbelt.losses.")}
    assert own == {class_of(name, toolbelt) for name in MANIFEST}
    assert len(own) == 17
    assert inspect.isfunction(toolbelt.FocalLoss)


@pytest.mark.parametrize("name", MANIFEST)
def test_it_builds_the_class_of_the_library(name, toolbelt):
    """By its name, and by the name of the class."""
    params = MANIFEST[name].get("example", {})
    assert type(of(name, **params)) is class_of(name, toolbelt)
    assert validate({"name": f"toolbelt/{class_of(name, toolbelt).__name__}", "params": params}).name == name


@pytest.mark.parametrize("name", MANIFEST)
def test_every_parameter_is_there_with_its_default(name, toolbelt):
    """Those without a default are required; one without effect is left out."""
    schema = MANIFEST[name]["parameters"]
    signature = inspect.signature(class_of(name, toolbelt)).parameters
    assert schema["properties"].keys() == signature.keys() - LEFT_OUT.get(name, set())
    for parameter, described in schema["properties"].items():
        default = signature[parameter].default
        if parameter in schema.get("required", []):
            assert default is inspect.Parameter.empty
        else:
            assert described["default"] == default


@pytest.mark.parametrize("mode", ["binary", "multilabel", "multiclass"])
@pytest.mark.parametrize("name", WITH_MODE)
def test_every_mode_runs(name, mode, toolbelt):
    """With the value of the library's own class."""
    value = of(name, mode=mode)(*INPUTS[mode])
    assert value.item() > 0
    torch.testing.assert_close(value, class_of(name, toolbelt)(mode)(*INPUTS[mode]))


@pytest.mark.parametrize("name", WITH_MODE)
def test_a_loss_with_modes_asks_for_one(name, toolbelt):
    """Left out or misspelt, the message names it; the library raises for the same."""
    assert "params.mode" in refusal(name)
    message = refusal(name, mode="multi_class")
    assert "params.mode" in message
    assert "'multiclass'" in message
    with pytest.raises(AssertionError):
        class_of(name, toolbelt)("multi_class")


def test_the_library_reports_classes_of_a_binary_mask():
    """No schema excludes them; the library's own error passes."""
    with pytest.raises(AssertionError, match="Masking classes is not supported with mode=binary"):
        of("dice", mode="binary", classes=[1])


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("dice", {"mode": "multiclass", "smooth": -1.0}),
        ("jaccard", {"mode": "multiclass", "classes": "all"}),
        ("binary_focal", {"gamma": -1.0}),
        ("binary_focal", {"alpha": 1.5}),
        ("binary_focal", {"reduced_threshold": 1.0}),
        ("binary_focal", {"activation": "tanh"}),
        ("cross_entropy_focal", {"ignore_index": None}),
        ("cross_entropy_focal", {"reduced_threshold": 0.0}),
        ("quality_focal", {"beta": -1}),
        ("soft_bce_with_logits", {"smooth_factor": 1.5}),
        ("soft_cross_entropy", {"smooth_factor": None}),
        ("soft_cross_entropy", {"dim": 1.5}),
        ("bi_tempered_logistic", {"t2": 1.2, "t1": 2.0}),
        ("bi_tempered_logistic", {"t1": 0.8, "t2": 0.0}),
        ("bi_tempered_logistic", {"t1": 0.8, "t2": 1.2, "smoothing": 1.0}),
        ("bi_tempered_logistic", {"t1": 0.8, "t2": 1.2, "ignore_index": -100}),
        ("soft_f1", {"eps": 0.6}),
        ("soft_f1", {"ignore_index": 0}),
        ("wing", {"width": 0}),
    ],
)
def test_values_without_a_meaning_are_invalid(name, params):
    """The library checks none of these; it computes something else or fails in the call."""
    assert f"params.{list(params)[-1]}" in refusal(name, **params)


@pytest.mark.parametrize(
    ("name", "params", "inputs"),
    [
        ("dice", {"mode": "multiclass", "log_loss": True, "ignore_index": 1, "eps": 0.01}, "multiclass"),
        ("jaccard", {"mode": "multilabel", "log_loss": True, "smooth": 1}, "multilabel"),
        ("binary_focal", {"alpha": 0.25, "gamma": 0, "reduced_threshold": 0.5, "normalized": True}, "binary"),
        ("binary_focal", {"activation": "softmax", "softmax_dim": 1, "reduction": "batchwise_mean"}, "multiclass"),
        ("cross_entropy_focal", {"gamma": 1.5, "reduced_threshold": 0.5, "ignore_index": 1}, "multiclass"),
        ("quality_focal", {"beta": 1.5, "reduction": "normalized"}, "multilabel"),
        ("balanced_bce_with_logits", {"gamma": 0.5, "ignore_index": 255, "reduction": "sum"}, "binary"),
        ("soft_cross_entropy", {"smooth_factor": 0.1, "ignore_index": 2, "dim": 1}, "multiclass"),
        ("binary_lovasz", {"per_image": True, "ignore_index": 255}, "binary"),
        ("lovasz", {"per_image": True, "ignore": 2}, "multiclass"),
        ("binary_soft_f1", {"ignore_index": 255, "eps": 0.01}, "binary"),
        ("bi_tempered_logistic", {"t1": 1, "t2": 1, "smoothing": 0.1, "ignore_index": 2}, "labels"),
        ("bi_tempered_logistic", {"t1": 0, "t2": 0.5}, "labels"),
        ("binary_bi_tempered_logistic", {"t1": 0.5, "t2": 2, "ignore_index": 255}, "binary"),
        ("focal_cosine", {"alpha": 0.5, "gamma": 1, "xent": 0.2, "reduction": "none"}, "labels"),
    ],
)
def test_parameters_arrive(name, params, inputs, toolbelt):
    """The value is that of the library's own class with the same arguments, and has a finite gradient."""
    logits, target = INPUTS[inputs]
    logits = logits.clone().requires_grad_()
    value = of(name, **params)(logits, target)
    value.sum().backward()
    assert torch.isfinite(value).all()
    assert torch.isfinite(logits.grad).all()
    torch.testing.assert_close(value, class_of(name, toolbelt)(**params)(logits, target))


@pytest.mark.parametrize(
    ("name", "inputs", "reductions"),
    [
        ("binary_focal", "binary", {"none": (2, 1, 2, 2), "mean": (), "sum": (), "batchwise_mean": (1, 2, 2)}),
        ("cross_entropy_focal", "multiclass", {"none": (2, 2, 2), "mean": (), "sum": (), "batchwise_mean": (2, 2)}),
        ("quality_focal", "binary", {"none": (2, 1, 2, 2), "mean": (), "sum": (), "normalized": ()}),
        ("focal_cosine", "labels", {"none": (3,), "mean": ()}),
        ("wing", "binary", {"none": (2, 1, 2, 2), "mean": (), "sum": ()}),
    ],
)
def test_every_reduction_has_its_shape(name, inputs, reductions):
    """Each allowed reduction has its own shape or one number; no other is allowed."""
    assert [*MANIFEST[name]["parameters"]["properties"]["reduction"]["enum"]] == [*reductions]
    for reduction, shape in reductions.items():
        assert of(name, reduction=reduction)(*INPUTS[inputs]).shape == shape


def test_numbers_become_the_tensors_that_the_library_takes(toolbelt):
    """Weights of pixels, of positives and of classes."""
    built = of("soft_bce_with_logits", weight=[[1.0, 2.0]], pos_weight=3.0)
    by_hand = toolbelt.SoftBCEWithLogitsLoss(weight=torch.tensor([[1.0, 2.0]]), pos_weight=torch.tensor(3.0))
    torch.testing.assert_close(built(*INPUTS["binary"]), by_hand(*INPUTS["binary"]))
    for name in ("binary_focal", "cross_entropy_focal"):
        by_hand = class_of(name, toolbelt)(class_weights=torch.tensor([1.0, 2.0, 0.0]))
        built = of(name, class_weights=[1.0, 2.0, 0.0])
        torch.testing.assert_close(built(*INPUTS["multiclass"]), by_hand(*INPUTS["multiclass"]))


@pytest.mark.parametrize("name", WITH_MODE)
def test_classes_are_those_that_the_config_names(name, toolbelt):
    """The library allocates an array of a list's shape and never fills it, so it must receive a tensor."""
    built = of(name, mode="multiclass", classes=[0, 2])
    assert built.classes.tolist() == [0, 2]
    assert class_of(name, toolbelt)("multiclass", classes=[0, 2]).classes.shape == (0, 2)
    each = [of(name, mode="multiclass", classes=[index])(*INPUTS["multiclass"]) for index in (0, 2)]
    torch.testing.assert_close(built(*INPUTS["multiclass"]), torch.stack(each).mean())


def test_soft_f1_ignores_no_label(toolbelt):
    """The reason for leaving out its ignore_index: the library compares it with one-hot labels of 0 and 1."""
    ignoring = [toolbelt.SoftF1Loss(ignore_index=index)(*INPUTS["labels"]) for index in (2, 7)]
    torch.testing.assert_close(*ignoring)


def test_a_typo_is_reported_with_its_path():
    """With a similar parameter's name."""
    message = refusal("dice", mode="binary", from_logit=True)
    assert "params.from_logit" in message
    assert "from_logits" in message


HALVES = torch.full((1, 1, 2, 2), 0.5), torch.tensor([[[[1.0, 1.0], [0.0, 0.0]]]])
ZEROS = torch.zeros(1, 1, 2, 2), HALVES[1]


@pytest.mark.parametrize(
    ("name", "params", "inputs", "value"),
    [
        ("dice", {"mode": "binary", "from_logits": False}, HALVES, 1 - 2 * 1 / (2 + 2)),
        ("jaccard", {"mode": "binary", "from_logits": False}, HALVES, 1 - 1 / (2 + 2 - 1)),
        ("binary_focal", {}, ZEROS, math.log(2) / 4),
        ("quality_focal", {}, ZEROS, math.log(2) / 4),
        ("balanced_bce_with_logits", {}, ZEROS, math.log(2) / 2),
        ("binary_soft_f1", {}, ZEROS, 1 - 2 * 1 / (2 * 1 + 1 + 1)),
        ("binary_lovasz", {}, ZEROS, 1.0),
        ("log_cosh", {}, (torch.tensor([1.0]), torch.tensor([0.0])), math.log(math.cosh(1))),
        ("wing", {}, (torch.tensor([7.0]), torch.tensor([0.0])), 7 - (5 - 5 * math.log(1 + 5 / 0.5))),
        ("wing", {"width": 10}, (torch.tensor([7.0]), torch.tensor([0.0])), 10 * math.log(1 + 7 / 0.5)),
    ],
)
def test_values_by_hand(name, params, inputs, value):
    """Probabilities of 1/2 at four pixels, two of them in the mask; and single differences."""
    assert of(name, **params)(*inputs).item() == pytest.approx(value, rel=1e-4)


def test_temperatures_of_one_are_cross_entropy():
    """Both logarithms are then the natural one, and the softmax the usual one."""
    value = of("bi_tempered_logistic", t1=1.0, t2=1.0)(*INPUTS["labels"])
    torch.testing.assert_close(value, torch.nn.functional.cross_entropy(*INPUTS["labels"]))


@pytest.mark.tools
def test_listing_and_validating_imports_nothing_of_the_library():
    """Nor of torch."""
    code = (
        "import sys, lossreg;"
        "lossreg.losses.list();"
        "lossreg.validate({'name': 'toolbelt/dice', 'params': {'mode': 'multiclass', 'classes': [1]}});"
        "names = ('pytorch_toolbelt', 'torch', 'torchvision', 'cv2', 'lossreg_toolbelt.overlay');"
        "print([name for name in names if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
