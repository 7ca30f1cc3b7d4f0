"""A loss as one function equals the same loss by its terms: in value, gradient, components and values per example."""

from __future__ import annotations

import os

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lossreg
from lossreg_segmentation.statistics import implementation

pytestmark = pytest.mark.usefixtures("compiled")

MORE = int(os.environ.get("LOSSREG_EXAMPLES", "0"))  # for a longer search, at random
LONG = os.environ.get("LOSSREG_SEARCH") == "long"  # make test-long
OVERLAP = ("dice", "jaccard", "tversky", "squared_dice")
BINARY = (*OVERLAP, "bce", "bce_dice_focal", "focal", "cross_entropy", "poly1")
CLASSES = (*OVERLAP, "focal", "cross_entropy", "poly1")
OPTIONS = {
    "dice": {"smooth": [0.0, 0.5, 1.0]},
    "jaccard": {"smooth": [0.0, 1.0]},
    "squared_dice": {"smooth": [0.0, 2.0]},
    "tversky": {"alpha": [0.0, 0.3, 2.0], "beta": [0.0, 0.7, 1.0], "smooth": [0.0, 1.0]},
    "bce": {"pos_weight": [None, 3.0]},
    "focal": {"gamma": [2.0], "alpha": [None, 0.25]},
    "cross_entropy": {"label_smoothing": [0.0]},
    "poly1": {"epsilon": [-1.0, 0.0, 2.0]},
    "bce_dice_focal": {
        "bce_weight": [0.0, 0.4],
        "dice_weight": [0.0, 1.0],
        "focal_weight": [0.0, 0.2],
        "smooth": [0.0, 1.0],
    },
}


@st.composite
def configs(draw, names, task, depth=2):
    """Draw a loss, or a sum of losses."""
    if depth and draw(st.booleans()):
        parts = draw(st.lists(configs(names, task, depth - 1), min_size=1, max_size=3))
        weights = [draw(st.sampled_from([1.0, 0.0, 0.3, -2.0])) for _ in parts]
        terms = [{**part, "weight": weight} for part, weight in zip(parts, weights, strict=True)]
        return {"name": "weighted_sum", "params": {"terms": terms}}
    name = draw(st.sampled_from(names))
    params = {key: draw(st.sampled_from(values)) for key, values in OPTIONS[name].items()}
    if task == "multiclass" and name == "focal":
        params["alpha"] = draw(st.sampled_from([None, [1.0, 2.0, 0.0]]))
    if task == "multilabel" and name == "bce":
        params["pos_weight"] = draw(st.sampled_from([None, [0.5, 2.0, 4.0]]))
    if task == "multiclass" and name == "cross_entropy":
        params["label_smoothing"] = draw(st.sampled_from([0.0, 0.1]))
    params |= {"task": task, "ignore_index": draw(st.sampled_from([None, 255]))}
    if task != "binary" and draw(st.booleans()):
        params["class_weight"] = draw(st.sampled_from([[1.0, 2.0, 0.5], [0.0, 1.0, 3.0]]))
    mean_over_pixels = task == "multiclass" and name not in OVERLAP
    if not mean_over_pixels:
        params["absent"] = draw(st.sampled_from(["score", "ignore", "zero", "false_positives"]))
    if name not in (*OVERLAP, "poly1"):
        params["mean_over"] = draw(st.sampled_from(["weights", "pixels"]))
    params["batch"] = draw(st.sampled_from([False, False, True]))
    return {"name": name, "params": params}


@st.composite
def cases(draw):
    """Draw a config with logits, a target and weights.

    Masks are empty, ignored or soft, logits up to infinity, weights 0 at some pixels, a whole example or all.
    """
    task = draw(st.sampled_from(["binary", "multilabel", "multiclass"]))
    config = draw(configs(CLASSES if task == "multiclass" else BINARY, task))
    classes, examples = 1 if task == "binary" else 3, draw(st.integers(1, 3))
    size = draw(st.sampled_from([(4,), (3, 5), (64, 40)]))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    dtype = draw(st.sampled_from([torch.float32, torch.bfloat16, torch.float64]))
    x = torch.randn(examples, classes, *size, generator=generator) * draw(st.sampled_from([0.5, 3.0, 40.0]))
    for value in draw(st.lists(st.sampled_from([1e4, -1e4, torch.inf, -torch.inf, torch.nan]), max_size=1)):
        x = torch.where(torch.rand(x.shape, generator=generator) < 0.05, torch.tensor(value), x)
    if task == "multiclass":
        t = torch.randint(0, classes, (examples, *size), generator=generator)
    elif draw(st.sampled_from([True, True, False])):
        t = (torch.rand(x.shape, generator=generator) < 0.3).to(torch.uint8)
        t[0, 0] = 0
    else:
        t = torch.rand(x.shape, generator=generator)
    if not t.is_floating_point() and "255" in repr(config):
        t = t.masked_fill(torch.rand(t.shape, generator=generator) < draw(st.sampled_from([0.0, 0.3, 1.0])), 255)
        t = t.masked_fill(t == 255, 0) if "None" in repr(_ignored(config)) else t
    return config, x.to(dtype), t, draw(weights(x, task, generator))


@st.composite
def weights(draw, x, task, generator):
    """Draw the options of a call: no weight, or one of each pixel, of each mask or shared by the masks."""
    if draw(st.booleans()):
        return {}
    own = task != "multiclass" and draw(st.booleans())
    weight = torch.rand(x.shape if own else (len(x), 1, *x.shape[2:]), generator=generator)
    share = draw(st.sampled_from([0.4, 0.4, 0.4, 0.0, 1.0]))
    weight = weight.masked_fill(torch.rand(weight.shape, generator=generator) < share, 0)
    weight[0] *= draw(st.sampled_from([1.0, 1.0, 0.0, 1e-3]))
    if own:
        weight[:, 0] *= draw(st.sampled_from([1.0, 0.0]))
    kind = draw(st.sampled_from([torch.float32, torch.float32, torch.float64, torch.bfloat16, torch.bool]))
    return {"weight": weight.to(kind) if own or draw(st.booleans()) else weight.to(kind)[:, 0]}


def _ignored(config):
    """Return the ignored values of all parts."""
    params = config["params"]
    if "terms" in params:
        return [each for part in params["terms"] for each in _ignored(part)]
    return [params["ignore_index"]]


def outcome(compute, x):
    """Return a value and its gradient to the logits, or the error."""
    leaf = x.detach().clone().requires_grad_()
    try:
        value = compute(leaf)
    except lossreg.InputError as error:
        return str(error), None
    slopes = torch.linspace(0.5, 2, value.numel(), dtype=value.dtype, device=value.device).view(value.shape)
    return value.detach(), torch.autograd.grad(value, leaf, slopes, allow_unused=True)[0]


def same(found, expected, dtype):
    """Check two outcomes, NaN and infinity in the same places."""
    if isinstance(expected[0], str):
        assert found[0] == expected[0]
        return
    rtol, atol = (1e-9, 1e-11) if dtype == torch.float64 else (2e-5, 2e-6)
    torch.testing.assert_close(found[0], expected[0], rtol=rtol, atol=atol, equal_nan=True)
    if found[1] is None or expected[1] is None:
        assert not any(gradient is not None and gradient.any() for gradient in (found[1], expected[1]))
        return
    gradient, slope = found[1].double(), expected[1].double()
    top = slope.nan_to_num(0, 0, 0).abs().max().item()
    rounding = 2**-7 if dtype == torch.bfloat16 else rtol
    torch.testing.assert_close(gradient, slope, rtol=rounding, atol=max(top, 1e-3) * rtol, equal_nan=True)


def hold(name, case):
    """Compare the one function with the terms."""
    config, x, t, options = case
    loss = lossreg.build(config)
    with implementation(name):
        for reduction in ("mean", "sum", "none"):
            loss.reduction = reduction
            by_terms = outcome(lambda leaf, r=reduction: loss._by_terms(r, (leaf, t), options), x)
            same(outcome(lambda leaf: loss(leaf, t, **options), x), by_terms, x.dtype)
        loss.reduction = "mean"
        output = loss.evaluate(x, t, **options)
        loss.plan = lambda *_, **__: None
        expected = loss.evaluate(x, t, **options)
    assert list(output.components) == list(expected.components)
    assert list(output.per_example_components) == list(expected.per_example_components)
    assert (output.per_example is None) == (expected.per_example is None)
    for key, value in expected.components.items():
        same((output.components[key], None), (value, None), x.dtype)
    for key, value in expected.per_example_components.items():
        same((output.per_example_components[key], None), (value, None), x.dtype)
    if expected.per_example is not None:
        same((output.per_example, None), (expected.per_example, None), x.dtype)


def search(name, examples):
    """Check an implementation on random cases."""

    @settings(max_examples=examples, deadline=None, derandomize=not MORE, suppress_health_check=list(HealthCheck))
    @given(cases())
    def holds(case):
        hold(name, case)

    holds()


@pytest.mark.parametrize("name", ["tiled", pytest.param("numba", marks=pytest.mark.tools)])
def test_one_function_equals_the_terms(name):
    """Any losses and sums of them, any options, any reduction; NaN and infinity where the terms have them."""
    search(name, MORE or (150 if name == "tiled" else 100 if LONG else 40))


def test_a_denominator_at_its_bound_has_no_gradient():
    """A soft target of nearly nothing, where p + t of the whole mask is less than 1e-7."""
    x, t = torch.full((1, 1, 4), -25.0), torch.full((1, 1, 4), 1e-9)
    hold("tiled", ({"name": "dice", "params": {"smooth": 0.0}}, x, t, {}))
