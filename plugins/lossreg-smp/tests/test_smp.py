"""Configs of segmentation-models-pytorch's losses, compared with that library."""

import inspect
import json
import math
import subprocess
import sys
from importlib import resources

import pytest
import torch

from lossreg import InvalidConfigError, build, validate

MANIFEST = json.loads((resources.files("lossreg_smp") / "lossreg.json").read_text())["losses"]
WITH_MODE = ["dice", "focal", "jaccard", "lovasz", "tversky"]
INPUTS = {
    "binary": (torch.linspace(-2, 2, 8).view(2, 1, 2, 2), torch.tensor([[[0, 1], [0, 1]], [[1, 1], [0, 1]]])),
    "multilabel": (
        torch.linspace(-2, 2, 16).view(2, 2, 2, 2),
        torch.tensor([[[[0, 1], [0, 1]], [[1, 1], [0, 1]]], [[[1, 0], [0, 0]], [[0, 0], [1, 1]]]]),
    ),
    "multiclass": (torch.linspace(-2, 2, 24).view(2, 3, 2, 2), torch.tensor([[[0, 1], [2, 1]], [[1, 1], [0, 2]]])),
}


def of(name, **params):
    return build({"name": f"smp/{name}", "params": params})


def refusal(name, **params):
    with pytest.raises(InvalidConfigError) as caught:
        validate({"name": f"smp/{name}", "params": params})
    return str(caught.value)


def class_of(name, smp):
    return getattr(smp, MANIFEST[name]["target"].partition(":")[2])


def test_every_loss_of_the_library_is_there(smp):
    """Each class of segmentation_models_pytorch.losses."""
    classes = [value for value in vars(smp).values() if inspect.isclass(value)]
    assert {*classes} == {class_of(name, smp) for name in MANIFEST}


@pytest.mark.parametrize("name", MANIFEST)
def test_it_builds_the_class_of_the_library(name, smp):
    """By its name, and by the name of the class."""
    params = MANIFEST[name].get("example", {})
    assert type(of(name, **params)) is class_of(name, smp)
    assert validate({"name": f"smp/{class_of(name, smp).__name__}", "params": params}).name == name


@pytest.mark.parametrize("name", MANIFEST)
def test_every_parameter_is_there_with_its_default(name, smp):
    """Those without a default are required."""
    schema = MANIFEST[name]["parameters"]
    signature = inspect.signature(class_of(name, smp)).parameters
    assert schema["properties"].keys() == signature.keys()
    for parameter, described in schema["properties"].items():
        default = signature[parameter].default
        if parameter in schema["required"]:
            assert default is inspect.Parameter.empty
        else:
            assert described["default"] == default


@pytest.mark.parametrize("mode", INPUTS)
@pytest.mark.parametrize("name", WITH_MODE)
def test_every_mode_runs(name, mode, smp):
    """With the value of the library's own class."""
    logits, target = INPUTS[mode]
    value = of(name, mode=mode)(logits, target)
    assert value.item() > 0
    torch.testing.assert_close(value, class_of(name, smp)(mode)(logits, target))


@pytest.mark.parametrize("name", WITH_MODE)
def test_a_loss_with_modes_asks_for_one(name, smp):
    """Left out or misspelt, the message names it; the library raises for the same."""
    assert "params.mode" in refusal(name)
    message = refusal(name, mode="multi_class")
    assert "params.mode" in message
    assert "'multiclass'" in message
    with pytest.raises(AssertionError):
        class_of(name, smp)("multi_class")


@pytest.mark.parametrize("name", ["dice", "jaccard", "tversky", "focal"])
def test_the_library_reports_class_weights_of_a_binary_mask(name):
    """A value that no schema excludes is still an invalid config, with the library's message."""
    with pytest.raises(InvalidConfigError, match=r"(?s)params.*class_weights are not supported with mode=binary"):
        of(name, mode="binary", class_weights=[1.0, 2.0])


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("dice", {"mode": "multiclass", "smooth": -1.0}),
        ("jaccard", {"mode": "multiclass", "classes": [-1]}),
        ("tversky", {"mode": "binary", "alpha": -0.5}),
        ("focal", {"mode": "binary", "gamma": None}),
        ("focal", {"mode": "binary", "alpha": 1.5}),
        ("focal", {"mode": "binary", "reduced_threshold": 0.0}),
        ("focal", {"mode": "binary", "reduction": "batchmean"}),
        ("lovasz", {"mode": "binary", "from_logits": False}),
        ("mcc", {"eps": -1e-5}),
        ("soft_bce_with_logits", {"smooth_factor": 1.5}),
        ("soft_cross_entropy", {"dim": 1.5}),
        ("soft_cross_entropy", {"reduction": "avg"}),
    ],
)
def test_values_without_a_meaning_are_invalid(name, params):
    """The library checks none of these; it computes something else or fails in the call."""
    assert f"params.{list(params)[-1]}" in refusal(name, **params)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("dice", {"mode": "multiclass", "classes": [0, 2], "class_weights": [1, 2, 3], "log_loss": True}),
        ("tversky", {"mode": "multilabel", "alpha": 0.0, "beta": 1, "gamma": 0.75, "ignore_index": 255}),
        ("focal", {"mode": "binary", "alpha": 1.0, "gamma": 0, "reduction": "sum", "normalized": True}),
        ("focal", {"mode": "multiclass", "reduced_threshold": 0.5, "class_weights": [1, 2, 0]}),
        ("lovasz", {"mode": "multiclass", "per_image": True, "ignore_index": 2, "from_logits": True}),
    ],
)
def test_parameters_arrive(name, params, smp):
    """The value is that of the library's own class with the same arguments."""
    logits, target = INPUTS[params["mode"]]
    value = of(name, **params)(logits, target)
    assert math.isfinite(value.item())
    torch.testing.assert_close(value, class_of(name, smp)(**params)(logits, target))


@pytest.mark.parametrize("reduction", ["none", "mean", "sum", "batchwise_mean", None])
def test_reductions_of_focal(reduction):
    """None keeps every pixel, as "none" does; "batchwise_mean" is the sum over one row of pixels."""
    logits, target = INPUTS["binary"]
    each = of("focal", mode="binary", reduction="none")(logits, target)
    expected = {"mean": each.mean(), "sum": each.sum(), "batchwise_mean": each.sum()}.get(reduction, each)
    assert each.shape == (8,)
    torch.testing.assert_close(of("focal", mode="binary", reduction=reduction)(logits, target), expected)


def test_numbers_become_the_tensors_that_the_library_takes(smp):
    """Weights of pixels and of positives."""
    logits, target = INPUTS["binary"][0], INPUTS["binary"][1][:, None].float()
    built = of("soft_bce_with_logits", weight=[[1.0, 2.0]], pos_weight=3.0)
    by_hand = smp.SoftBCEWithLogitsLoss(weight=torch.tensor([[1.0, 2.0]]), pos_weight=torch.tensor(3.0))
    torch.testing.assert_close(built(logits, target), by_hand(logits, target))


def test_soft_cross_entropy_needs_its_smooth_factor():
    """The library's default fails in the call, and the summary warns of it; with a value the loss is cross-entropy."""
    logits, target = INPUTS["multiclass"]
    with pytest.raises(TypeError):
        of("soft_cross_entropy")(logits, target)
    assert "smooth_factor must be given" in MANIFEST["soft_cross_entropy"]["summary"]
    value = of("soft_cross_entropy", smooth_factor=0.3)(logits, target)
    expected = torch.nn.functional.cross_entropy(logits, target, label_smoothing=0.3)
    torch.testing.assert_close(value, expected)


def test_a_typo_is_reported_with_its_path():
    """With a similar parameter's name."""
    message = refusal("dice", mode="binary", from_logit=True)
    assert "params.from_logit" in message
    assert "from_logits" in message


@pytest.mark.parametrize(
    ("name", "params", "value"),
    [
        ("dice", {"mode": "binary", "from_logits": False}, 1 - 2 * 1 / (2 + 2)),
        ("jaccard", {"mode": "binary", "from_logits": False}, 1 - 1 / (2 + 2 - 1)),
        ("tversky", {"mode": "binary", "from_logits": False, "alpha": 1.0, "beta": 2.0}, 1 - 1 / (1 + 1 + 2)),
        ("focal", {"mode": "binary", "from_logits": False}, math.log(2) / 4),
        ("mcc", {}, 1.0),
    ],
)
def test_values_by_hand(name, params, value):
    """Probabilities of 1/2 at four pixels, two of them in the mask."""
    probabilities, mask = torch.full((1, 1, 2, 2), 0.5), torch.tensor([[[[1.0, 1.0], [0.0, 0.0]]]])
    assert of(name, **params)(probabilities, mask).item() == pytest.approx(value, rel=1e-5)


@pytest.mark.tools
def test_listing_and_validating_imports_nothing_of_the_library():
    """Nor of torch."""
    code = (
        "import sys, lossreg;"
        "lossreg.losses.list();"
        "lossreg.validate({'name': 'smp/dice', 'params': {'mode': 'multiclass', 'classes': [1]}});"
        "names = ('segmentation_models_pytorch', 'torch', 'torchvision', 'timm', 'lossreg_smp.overlay');"
        "print([name for name in names if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
