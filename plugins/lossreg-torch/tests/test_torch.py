"""Configs of torch.nn's losses, compared with torch.nn."""

import inspect
import json
import math
import subprocess
import sys
from importlib import resources

import pytest
import torch
from torch import nn

from lossreg import InvalidConfigError, build, validate

MANIFEST = json.loads((resources.files("lossreg_torch") / "lossreg.json").read_text())["losses"]
CLASSES = {name: getattr(nn, entry["target"].partition(":")[2], None) for name, entry in MANIFEST.items()}
CLASSES["adaptive_log_softmax"] = nn.AdaptiveLogSoftmaxWithLoss
REFUSED = [
    ("smooth_l1", {"beta": -0.5}, (torch.ones(2), torch.zeros(2))),
    ("huber", {"delta": 0.0}, (torch.ones(2), torch.zeros(2))),
    ("multi_margin", {"p": 3}, (torch.ones(2, 3), torch.zeros(2).long())),
    ("triplet_margin", {"margin": 0.0}, torch.eye(3)),
    ("triplet_margin_with_distance", {"margin": -1.0}, torch.eye(3)),
    ("cross_entropy", {"label_smoothing": 1.5}, (torch.ones(2, 3), torch.zeros(2).long())),
    ("linear_cross_entropy", {"in_features": 2, "num_classes": 3, "label_smoothing": -0.1}, ()),
    ("adaptive_log_softmax", {"in_features": 2, "n_classes": 3, "cutoffs": []}, ()),
    ("adaptive_log_softmax", {"in_features": 2, "n_classes": 3, "cutoffs": [0]}, ()),
    ("l1", {"reduction": "batchmean"}, (torch.ones(2), torch.zeros(2))),
]


def of(name, **params):
    return build({"name": f"torch/{name}", "params": params})


def refusal(name, **params):
    with pytest.raises(InvalidConfigError) as caught:
        validate({"name": f"torch/{name}", "params": params})
    return str(caught.value)


def test_every_loss_of_torch_is_there():
    """Each class of torch.nn with "Loss" in its name, except an old name."""
    named = {name for name in dir(nn) if name.endswith("Loss")} - {"NLLLoss2d"}
    assert named == {cls.__name__ for cls in CLASSES.values()}


@pytest.mark.parametrize("name", MANIFEST)
def test_it_builds_the_class_of_torch(name):
    """A built loss is of torch's own class, or of one derived from it."""
    assert isinstance(of(name, **MANIFEST[name].get("example", {})), CLASSES[name])


@pytest.mark.parametrize("name", MANIFEST)
def test_the_name_of_the_class_is_an_alias(name):
    """Users of torch.nn find the loss by its name there."""
    assert (
        validate({"name": f"torch/{CLASSES[name].__name__}", "params": MANIFEST[name].get("example", {})}).name == name
    )


@pytest.mark.parametrize("name", MANIFEST)
def test_defaults_are_those_of_torch(name):
    """For every parameter; those without a default are required."""
    schema = MANIFEST[name]["parameters"]
    signature = inspect.signature(CLASSES[name]).parameters
    for parameter, described in schema["properties"].items():
        default = signature[parameter].default
        if parameter in schema["required"]:
            assert default is inspect.Parameter.empty
        else:
            assert described["default"] == (list(default) if isinstance(default, tuple) else default)


@pytest.mark.parametrize("name", MANIFEST)
def test_every_choice_is_taken_by_torch(name):
    """Each value of each enum builds."""
    entry = MANIFEST[name]
    for parameter, schema in entry["parameters"]["properties"].items():
        for value in schema.get("enum", ()):
            built = of(name, **entry.get("example", {}) | {parameter: value})
            assert getattr(built, parameter) == value


@pytest.mark.parametrize(("name", "params", "inputs"), REFUSED)
def test_invalid_values_fail_in_torch_too(name, params, inputs):
    """A range or a choice is no narrower than torch's own."""
    parameter = list(params)[-1]
    assert f"params.{parameter}" in refusal(name, **params)
    with pytest.raises((ValueError, RuntimeError)):
        CLASSES[name](**params)(*inputs)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("smooth_l1", {"beta": 0.0}),
        ("triplet_margin", {"eps": 0.0}),
        ("cross_entropy", {"label_smoothing": 1.0}),
        ("kl_div", {"reduction": "batchmean"}),
        ("multi_margin", {"margin": -1.0}),
        ("ctc", {"blank": 4}),
        ("linear_cross_entropy", {"in_features": 3, "num_classes": 2, "out_features": [4, 5]}),
    ],
)
def test_the_ends_of_a_range_are_allowed(name, params):
    """torch accepts them, and so does validation; the constructor receives them."""
    built = of(name, **params)
    assert all(getattr(built, key, value) == value for key, value in params.items())


def test_a_typo_is_reported_with_its_path():
    """With a similar parameter's name."""
    message = refusal("cross_entropy", label_smothing=0.1)
    assert "params.label_smothing" in message
    assert "label_smoothing" in message


@pytest.mark.parametrize("left_out", ["size_average", "reduce", "device", "dtype"])
def test_deprecated_parameters_and_devices_are_left_out(left_out):
    """Of every loss."""
    assert not [name for name, entry in MANIFEST.items() if left_out in entry["parameters"]["properties"]]


def test_numbers_become_the_tensor_that_torch_takes():
    """The weights of classes and of positives, and the value that they give."""
    logits, target = torch.tensor([[1.0, -2.0], [0.5, 3.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    weighted = of("bce_with_logits", weight=[2.0, 1.0], pos_weight=[3.0, 0.5])
    by_hand = nn.BCEWithLogitsLoss(weight=torch.tensor([2.0, 1.0]), pos_weight=torch.tensor([3.0, 0.5]))
    torch.testing.assert_close(weighted(logits, target), by_hand(logits, target))
    torch.testing.assert_close(of("nll", weight=[1, 4]).weight, torch.tensor([1.0, 4.0]))


@pytest.mark.parametrize(
    ("distance", "value"),
    [
        (None, math.sqrt(2) - math.sqrt(5) + 3),
        ("euclidean", math.sqrt(2) - math.sqrt(5) + 3),
        ("squared_euclidean", 2 - 5 + 3),
        ("manhattan", 2 - 3 + 3),
        ("chebyshev", 1 - 2 + 3),
        ("cosine", (1 - 1 / math.sqrt(2)) - (1 + 1 / math.sqrt(2)) + 3),
    ],
)
def test_a_distance_has_a_name(distance, value):
    """d(anchor, positive) - d(anchor, negative) + margin, by hand, in the plane; Euclidean without a name."""
    anchor, positive, negative = torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0, 1.0]]), torch.tensor([[0.0, 2.0]])
    if distance == "cosine":
        positive, negative = torch.tensor([[1.0, 1.0]]), torch.tensor([[-1.0, 1.0]])
    loss = of("triplet_margin_with_distance", distance_function=distance, margin=3.0)
    assert loss(anchor, positive, negative).item() == pytest.approx(value, abs=1e-5)


def test_an_unknown_distance_names_the_known_ones():
    """A config gives a name, never a path to import."""
    message = refusal("triplet_margin_with_distance", distance_function="os:system")
    assert "params.distance_function" in message
    assert "'cosine'" in message


def test_adaptive_log_softmax_returns_the_loss_of_torch():
    """One tensor, from the same parameters; log_prob and predict stay."""
    params = {"in_features": 8, "n_classes": 20, "cutoffs": [5, 10], "div_value": 2.0, "head_bias": True}
    own, theirs = of("adaptive_log_softmax", **params), nn.AdaptiveLogSoftmaxWithLoss(**params)
    theirs.load_state_dict(own.state_dict())
    x, target = torch.randn(6, 8), torch.arange(6) * 3
    torch.testing.assert_close(own(x, target), theirs(x, target).loss)
    torch.testing.assert_close(own.predict(x), theirs.predict(x))


def test_torch_reports_cutoffs_out_of_order():
    """A value that no schema excludes is still an invalid config, with torch's message."""
    with pytest.raises(InvalidConfigError, match=r"(?s)params.*cutoffs should be a sequence"):
        of("adaptive_log_softmax", in_features=8, n_classes=20, cutoffs=[10, 5])


@pytest.mark.parametrize(
    ("name", "inputs", "value"),
    [
        ("mse", (torch.tensor([1.0, 3.0]), torch.tensor([0.0, 1.0])), 2.5),
        ("huber", (torch.tensor([3.0]), torch.tensor([0.0])), 2.5),
        ("cross_entropy", (torch.zeros(1, 4), torch.tensor([2])), math.log(4)),
        ("bce", (torch.tensor([0.25]), torch.tensor([1.0])), math.log(4)),
        ("poisson_nll", (torch.tensor([0.0]), torch.tensor([3.0])), 1.0),
        ("multi_label_margin", (torch.tensor([[0.5, 0.0]]), torch.tensor([[0, -1]])), 0.25),
    ],
)
def test_values_by_hand(name, inputs, value):
    """With the defaults."""
    assert of(name)(*inputs).item() == pytest.approx(value, rel=1e-6)


def test_ctc_sums_over_alignments():
    """Two steps of probabilities 1/2 and one label: the alignments aa, a- and -a spell it."""
    steps = torch.full((2, 1, 2), math.log(0.5))
    value = of("ctc", reduction="sum")(steps, torch.tensor([[1]]), torch.tensor([2]), torch.tensor([1]))
    assert value.item() == pytest.approx(-math.log(3 / 4), rel=1e-6)


def test_learned_parameters_are_declared():
    """The contract has has_parameters if and only if the loss has parameters."""
    for name, entry in MANIFEST.items():
        learns = any(True for _ in of(name, **entry.get("example", {})).parameters())
        assert entry["contract"]["has_parameters"] == learns, name


@pytest.mark.tools
def test_listing_and_validating_imports_no_torch():
    """A config of torch's losses is checked without the seconds that torch takes to import."""
    code = (
        "import sys, lossreg;"
        "lossreg.losses.list();"
        "lossreg.validate({'name': 'torch/cross_entropy', 'params': {'weight': [1, 2]}});"
        "lossreg.validate({'name': 'torch/triplet_margin_with_distance', 'params': {'distance_function': 'cosine'}});"
        "print([name for name in ('torch', 'lossreg_torch.overlay') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
