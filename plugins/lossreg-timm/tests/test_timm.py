"""Configs of timm's losses, compared with timm."""

import inspect
import json
import math
import subprocess
import sys
from importlib import resources

import pytest
import torch

from lossreg import InvalidConfigError, build, validate

MANIFEST = json.loads((resources.files("lossreg_timm") / "lossreg.json").read_text())["losses"]
REDUCED = [name for name, entry in MANIFEST.items() if "reduction" in entry["parameters"]["properties"]]
COUNTS = {"class_counts": [10, 40, 5], "num_samples": 100}
LABELS = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
CLASSES = torch.tensor([2, 0])
LOGITS = torch.tensor([[0.5, -1.0, 2.0], [0.25, 1.5, -0.5]])


def of(name, **params):
    return build({"name": f"timm/{name}", "params": params})


def refusal(name, **params):
    with pytest.raises(InvalidConfigError) as caught:
        validate({"name": f"timm/{name}", "params": params})
    return str(caught.value)


def class_of(name, timm):
    return getattr(timm, MANIFEST[name]["target"].partition(":")[2])


def test_every_loss_of_timm_is_there(timm):
    """Each module of timm.loss."""
    classes = [value for value in vars(timm).values() if inspect.isclass(value)]
    assert {*classes} == {class_of(name, timm) for name in MANIFEST}


@pytest.mark.parametrize("name", MANIFEST)
def test_it_builds_the_class_of_timm(name, timm):
    """By its name, and by the name of the class."""
    params = MANIFEST[name].get("example", {})
    assert type(of(name, **params)) is class_of(name, timm)
    assert validate({"name": f"timm/{class_of(name, timm).__name__}", "params": params}).name == name


@pytest.mark.parametrize("name", MANIFEST)
def test_every_parameter_is_there_with_its_default(name, timm):
    """Those without a default are required."""
    schema = MANIFEST[name]["parameters"]
    signature = inspect.signature(class_of(name, timm)).parameters
    assert schema["properties"].keys() == signature.keys() - {"args", "kwargs"}
    for parameter, described in schema["properties"].items():
        default = signature[parameter].default
        if parameter in schema["required"]:
            assert default is inspect.Parameter.empty
        else:
            assert described["default"] == default


@pytest.mark.parametrize("name", REDUCED)
def test_reductions_are_those_of_timm(name):
    """Each reduces the values of "none" as its name promises."""
    target = CLASSES if MANIFEST[name]["contract"]["tasks"] == ["multiclass"] else LABELS
    params = COUNTS if name == "distribution_balanced" else {}
    each = of(name, **params, reduction="none")(LOGITS, target)
    expected = {"none": each, "mean": each.mean(), "sum": each.sum(), "batchmean": each.sum() / 2}
    for reduction in MANIFEST[name]["parameters"]["properties"]["reduction"]["enum"]:
        value = of(name, **params, reduction=reduction)(LOGITS, target)
        torch.testing.assert_close(value, expected[reduction])


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("binary_cross_entropy", {"smoothing": 1.0}),
        ("label_smoothing_cross_entropy", {"smoothing": 1.0}),
        ("asymmetric_multi_label", {"smoothing": -0.1}),
        ("asymmetric_multi_label", {"reduction": "batch"}),
        ("poly_cross_entropy", {"reduction": "batchmean"}),
        ("poly_binary_cross_entropy", {"alpha": 1.5}),
        ("two_way", {"tp": 0.0}),
        ("two_way", {"tn": -1.0}),
        ("distribution_balanced", COUNTS | {"neg_scale": 0.0}),
        ("distribution_balanced", {"class_counts": [0], "num_samples": 1}),
        ("distribution_balanced", {"num_samples": 100, "class_counts": []}),
        ("distribution_balanced", {"num_samples": 100, "class_counts": [-1]}),
        ("jsd_cross_entropy", {"num_splits": 0}),
    ],
)
def test_invalid_values_fail_in_timm_too(name, params, timm):
    """A range or a choice is no narrower than timm's own."""
    assert f"params.{list(params)[-1]}" in refusal(name, **params)
    with pytest.raises((ValueError, AssertionError, ZeroDivisionError)):
        class_of(name, timm)(**params)(LOGITS, CLASSES)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("binary_cross_entropy", {"smoothing": 0.0, "target_threshold": 0.2, "sum_classes": True}),
        ("asymmetric_multi_label", {"clip": None, "gamma_neg": 0, "gamma_pos": 0}),
        ("asymmetric_single_label", {"eps": 0.0}),
        ("poly_binary_cross_entropy", {"alpha": 1.0, "epsilon": -1.0}),
        ("distribution_balanced", {"class_counts": [0, 2, 1], "num_samples": 2, "focal_gamma": 0.0, "init_bias": 0.0}),
        ("jsd_cross_entropy", {"num_splits": 1, "smoothing": None}),
    ],
)
def test_the_ends_of_a_range_are_allowed(name, params):
    """timm accepts them, and so does validation; the value is finite."""
    target = CLASSES if "multiclass" in MANIFEST[name]["contract"]["tasks"] else LABELS
    assert torch.isfinite(of(name, **params)(LOGITS, target)).all()


def test_timm_reports_counts_above_the_number_of_samples():
    """A value that no schema excludes is still an invalid config, with timm's message."""
    with pytest.raises(InvalidConfigError, match=r"(?s)params.*class_counts must be in"):
        of("distribution_balanced", class_counts=[10, 200], num_samples=100)


def test_a_typo_is_reported_with_its_path():
    """With a similar parameter's name."""
    message = refusal("asymmetric_multi_label", gamma_negative=4)
    assert "params.gamma_negative" in message
    assert "gamma_neg" in message


@pytest.mark.parametrize("name", ["binary_cross_entropy", "asymmetric_multi_label"])
@pytest.mark.parametrize("pos_weight", [3.0, [3.0, 1.0, 0.5]])
def test_numbers_become_the_tensors_that_timm_takes(name, pos_weight, timm):
    """A weight of all positives or of each class."""
    weight = [2.0, 1.0, 0.5]
    built = of(name, weight=weight, pos_weight=pos_weight)
    by_hand = class_of(name, timm)(weight=torch.tensor(weight), pos_weight=torch.tensor(pos_weight))
    torch.testing.assert_close(built(LOGITS, LABELS), by_hand(LOGITS, LABELS))
    assert not torch.allclose(built(LOGITS, LABELS), of(name)(LOGITS, LABELS))


@pytest.mark.parametrize(
    ("name", "params", "asked"),
    [
        ("label_smoothing_cross_entropy", {"smoothing": 0.2}, {"loss_type": "ce", "smoothing": 0.2}),
        ("soft_target_cross_entropy", {}, {"loss_type": "ce", "soft_targets": True}),
        ("binary_cross_entropy", {"smoothing": 0.0}, {"loss_type": "bce", "multi_label": True}),
        ("asymmetric_multi_label", {}, {"loss_type": "asl", "multi_label": True}),
        ("poly_binary_cross_entropy", {"gamma": 2.0}, {"loss_type": "poly", "multi_label": True, "poly_gamma": 2.0}),
        ("two_way", {"tp": 2.0}, {"loss_type": "twoway", "multi_label": True, "twoway_tp": 2.0}),
        ("zlpr", {}, {"loss_type": "zlpr", "multi_label": True}),
        ("distribution_balanced", COUNTS, {"loss_type": "db", "multi_label": True} | COUNTS),
    ],
)
def test_it_equals_what_timms_own_factory_makes(name, params, asked, timm):
    """create_classification_loss, which timm's training script calls."""
    target = CLASSES if name == "label_smoothing_cross_entropy" else LABELS
    expected = timm.create_classification_loss(**asked)(LOGITS, target)
    torch.testing.assert_close(of(name, **params)(LOGITS, target), expected)


@pytest.mark.parametrize(
    ("name", "target", "value"),
    [
        ("label_smoothing_cross_entropy", CLASSES, math.log(3)),
        ("soft_target_cross_entropy", torch.full((2, 3), 1 / 3), math.log(3)),
        ("poly_cross_entropy", CLASSES, math.log(3) + 2 * 2 / 3),
        ("poly_binary_cross_entropy", LABELS, math.log(2) + 2 / 2),
        ("binary_cross_entropy", LABELS, math.log(2)),
        ("zlpr", LABELS, math.log(1 + 2) + math.log(1 + 1)),  # two positives and a negative, or the other way round
    ],
)
def test_values_by_hand(name, target, value):
    """With the defaults, for logits of 0."""
    assert of(name)(torch.zeros(2, 3), target).item() == pytest.approx(value, rel=1e-6)


def test_equal_splits_diverge_by_nothing():
    """jsd_cross_entropy is then the cross-entropy of the first split."""
    value = of("jsd_cross_entropy", smoothing=0.2)(LOGITS.repeat(3, 1), CLASSES.repeat(3))
    expected = of("label_smoothing_cross_entropy", smoothing=0.2)(LOGITS, CLASSES)
    torch.testing.assert_close(value, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.tools
def test_listing_and_validating_imports_nothing_of_timm():
    """Nor of torch."""
    code = (
        "import sys, lossreg;"
        "lossreg.losses.list();"
        "lossreg.validate({'name': 'timm/asymmetric_multi_label', 'params': {'weight': [1, 2]}});"
        "print([name for name in ('timm', 'torch', 'torchvision', 'lossreg_timm.overlay') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
