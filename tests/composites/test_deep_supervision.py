"""deep_supervision: the weights of the levels, and the target resized to each."""

import copy
import math
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lossreg import (
    DTypeError,
    InputError,
    InvalidConfigError,
    Loss,
    ShapeError,
    Term,
    build,
    config_of,
    json_schema,
    losses,
)
from lossreg.composites.deep_supervision import DeepSupervision
from lossreg.composites.resizing import resized

SIZES = [(8, 12), (4, 6), (2, 3), (1, 2), (1, 1), (1, 1)]
ALL_WEIGHTS = {
    "same": [1.0] * 6,
    "two": [1.0, 0.5, 0.5, 0.5, 0.5, 0.5],
    "exp": [1.0, 0.5, 0.25, 0.125, 0.0625, 0.0625],
}
IGNORING = {"ignore_index": 255}
DICE = {
    "name": "deep_supervision",
    "params": {"loss": {"name": "dice", "params": {"task": "multilabel"}}, "weights": [1, 0, 2, 3]},
}


class Squared(Loss):
    """The mean square of each example, plus `step`."""

    def terms(self, input, target, step=0):
        return {"squared": Term((input - target).square().flatten(1).mean(1) + step, "example")}


class Two(Loss):
    def terms(self, input, target):
        difference = (input - target).flatten(2).mean(2)
        return {"low": Term(difference), "logged": Term(difference, weight=0.0)}


@pytest.fixture(autouse=True)
def scope():
    with losses.scope() as registry:
        registry.register("squared")(Squared)
        registry.register("two_terms")(Two)
        registry.register("l1")(nn.L1Loss)
        yield registry


def levels(*sizes, batch=2, channels=3, dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    sizes = sizes or SIZES[:4]
    return [torch.randn(batch, channels, *size, generator=generator, dtype=dtype) for size in sizes]


def masks(size=SIZES[0], batch=2, channels=3):
    return torch.randint(0, 2, (batch, channels, *size), generator=torch.Generator().manual_seed(2))


def nearest_exact(values, size):
    """Resize by the definition, floor((i + 1/2) in / out) in each dimension, with exact fractions."""
    for dimension, wanted in zip(range(-len(size), 0), size, strict=True):
        given = values.shape[dimension]
        picked = [values.select(dimension, math.floor((2 * i + 1) * given / (2 * wanted))) for i in range(wanted)]
        values = torch.stack(picked, dimension)
    return values


@pytest.mark.parametrize("weights", ALL_WEIGHTS)
@pytest.mark.parametrize("normalize", [False, True])
def test_the_named_weights(weights, normalize):
    """Sum of weight times the loss of each level, against the target of that size."""
    input, target = levels(*SIZES), masks()
    loss = DeepSupervision(loss=Squared(), weights=weights, normalize_weights=normalize)
    each = [(x - nearest_exact(target, x.shape[2:])).square().mean().item() for x in input]
    expected = sum(w * value for w, value in zip(ALL_WEIGHTS[weights], each, strict=True))
    divisor = sum(ALL_WEIGHTS[weights]) if normalize else 1
    output = loss.evaluate(input, target)
    assert output.total.item() == pytest.approx(expected / divisor, rel=1e-12)
    assert [part.item() for part in output.components.values()] == pytest.approx(each, rel=1e-12)
    assert list(output.components) == [f"{level}.Squared" for level in range(6)]


def test_a_list_of_weights():
    """One per level; 0 only logs, and magnitudes normalise."""
    input, target = levels(*SIZES[:3]), masks()
    each = [(x - nearest_exact(target, x.shape[2:])).square().mean().item() for x in input]
    for normalize, divisor in ((False, 1), (True, 4)):
        loss = DeepSupervision(loss=Squared(), weights=[3, 0, -1.0], normalize_weights=normalize)
        output = loss.evaluate(input, target)
        assert output.total.item() == pytest.approx((3 * each[0] - each[2]) / divisor, rel=1e-12)
        assert output.components["1.Squared"].item() == pytest.approx(each[1], rel=1e-12)


def test_reductions_are_over_examples():
    """Each example sums its levels; the mean of them is the total."""
    input, target = levels(), masks()
    each = [
        sum(0.5**i * (x[b] - nearest_exact(target, x.shape[2:])[b]).square().mean().item() for i, x in enumerate(input))
        for b in range(2)
    ]
    assert DeepSupervision(loss=Squared(), reduction="none")(input, target).tolist() == pytest.approx(each)
    assert DeepSupervision(loss=Squared(), reduction="sum")(input, target).item() == pytest.approx(sum(each))
    assert DeepSupervision(loss=Squared()).evaluate(input, target).per_example.tolist() == pytest.approx(each)


def test_a_tensor_is_the_finest_level_alone():
    """Under the first weight, also of a list that has more."""
    (x, *_), target = levels(), masks()
    single = Squared()(x, target).item()
    assert DeepSupervision(loss=Squared())(x, target).item() == pytest.approx(single)
    assert DeepSupervision(loss=Squared())([x], target).item() == pytest.approx(single)
    loss = DeepSupervision(loss=Squared(), weights=[0.5, 0.25])
    assert loss(x, target).item() == pytest.approx(0.5 * single)
    assert list(loss.evaluate(x, target).components) == ["0.Squared"]


def test_names_of_components():
    """Level and name; level, name and term if the loss has several terms. A weight of 0 stays 0."""
    input, target = levels(*SIZES[:2]), masks()
    output = build({"name": "deep_supervision", "params": {"loss": "two_terms"}}).evaluate(input, target)
    assert list(output.components) == [
        "0.two_terms.low",
        "0.two_terms.logged",
        "1.two_terms.low",
        "1.two_terms.logged",
    ]
    low = [output.components[f"{level}.two_terms.low"].item() for level in range(2)]
    assert output.total.item() == pytest.approx(low[0] + 0.5 * low[1])


def test_a_plain_module_does_not_split_over_examples():
    """It has a mean, and no values per example."""
    input, target = levels(*SIZES[:2]), masks().double()
    output = build({"name": "deep_supervision", "params": {"loss": "l1"}}).evaluate(input, target)
    expected = sum(0.5**i * (x - nearest_exact(target, x.shape[2:])).abs().mean().item() for i, x in enumerate(input))
    assert output.total.item() == pytest.approx(expected)
    assert output.per_example is None


def test_further_inputs_go_to_every_level():
    """Options of the loss, such as the step of a schedule, and further inputs."""
    input, target = levels(*SIZES[:2]), masks()
    loss = DeepSupervision(loss=Squared(), weights="same")
    assert loss(input, target, step=2).item() == pytest.approx(loss(input, target).item() + 4)
    assert loss(input, target, 2).item() == pytest.approx(loss(input, target).item() + 4)


@pytest.mark.parametrize("given", [1, 2, 3, 5, 6, 7, 12, 20, 33])
@pytest.mark.parametrize("wanted", [1, 2, 3, 4, 7, 10, 14, 16])
def test_targets_are_resized_by_nearest_exact(given, wanted):
    """Of every kind and number of dimensions, down and up."""
    generator = torch.Generator().manual_seed(0)
    for dimensions in (1, 2, 3):
        size = [given, 4, 3][:dimensions]
        level = torch.zeros(2, 3, *[wanted, 2, 5][:dimensions])
        index = torch.randint(0, 3, (2, *size), generator=generator)
        for target in (index, index.unsqueeze(1).repeat(1, 3, *[1] * dimensions) > 0):
            found = resized(target, level)
            assert torch.equal(found, nearest_exact(target, level.shape[2:]))
            assert found.dtype == target.dtype


@pytest.mark.parametrize("given, wanted", [(64, 32), (64, 8), (33, 16), (50, 7), (17, 34), (21, 13)])
def test_nearest_exact_is_that_of_torch(given, wanted):
    """Except where float32 rounds a whole number down to the pixel before."""
    target = torch.rand(2, 3, given, 9, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(target, size=(wanted, 4), mode="nearest-exact")
    assert torch.equal(resized(target, torch.zeros(2, 3, wanted, 4)), expected)


@pytest.mark.parametrize(
    "values, dtype",
    [
        ([255, -1, 2**53 + 1], torch.int64),
        ([255, 0, 254], torch.uint8),
        ([-1, 127, 3], torch.int8),
        ([0.1, 255.0, -1.0], torch.float16),
        ([True, False, True], torch.bool),
    ],
)
def test_resizing_keeps_the_values_of_a_target(values, dtype):
    """Nothing is interpolated, and no integer is converted to a float."""
    target = torch.tensor([values], dtype=dtype).repeat_interleave(2, 1)
    found = resized(target, torch.zeros(1, 4, 3))
    assert found.dtype == dtype
    assert found.tolist() == torch.tensor([values], dtype=dtype).tolist()


def test_a_target_of_the_levels_size_is_not_copied():
    """Nor is one without spatial dimensions."""
    target = masks()
    assert resized(target, levels()[0]) is target
    classes = torch.tensor([0, 2])
    assert resized(classes, torch.zeros(2, 3)) is classes


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_class_indices_with_ignored_pixels(dtype):
    """Cross-entropy of each level on indices of its size, 255 left out; and the gradient reaches every level."""
    loss = build({"name": "deep_supervision", "params": {"loss": {"name": "cross_entropy", "params": IGNORING}}})
    input = [x.to(dtype).requires_grad_() for x in levels(dtype=torch.float32)]
    target = torch.randint(0, 3, (2, *SIZES[0]), generator=torch.Generator().manual_seed(2))
    target[:, :3] = 255
    value = loss(input, target)
    value.backward()
    expected = 0.0
    for number, x in enumerate(input):
        index = nearest_exact(target, x.shape[2:])
        each = [F.cross_entropy(x[b : b + 1].float(), index[b : b + 1], ignore_index=255).item() for b in range(2)]
        each = [0.0 if math.isnan(one) else one for one in each]  # all ignored
        expected += 0.5**number * sum(each) / 2
        assert x.grad.isfinite().all()
        assert x.grad.any()
    assert value.item() == pytest.approx(expected, rel=1e-5)


def test_all_ignored_is_zero_and_connected():
    """The value of the loss at each level."""
    loss = DeepSupervision(loss=build({"name": "dice", "params": IGNORING | {"task": "multiclass"}}))
    input = [x.requires_grad_() for x in levels()]
    value = loss(input, torch.full((2, *SIZES[0]), 255))
    value.backward()
    assert value.item() == 0
    assert not any(x.grad.any() for x in input)


@pytest.mark.parametrize("weights", ALL_WEIGHTS)
def test_it_is_monais(weights):
    """DeepSupervisionLoss around its Dice, of the same weights."""
    monai = pytest.importorskip("monai.losses")
    input, target = levels(dtype=torch.float32), masks().float()
    peer = monai.DeepSupervisionLoss(monai.DiceLoss(sigmoid=True, smooth_nr=1.0, smooth_dr=1.0), weight_mode=weights)
    ours = DeepSupervision(loss=build({"name": "dice", "params": {"task": "multilabel"}}), weights=weights)
    assert ours(input, target).item() == pytest.approx(peer(input, target).item(), rel=1e-6)


@pytest.mark.parametrize(
    "input, error, message",
    [
        ([], InputError, "input has no level; give at least one tensor"),
        (None, DTypeError, "input must be a tensor or a sequence of tensors, finest first, got NoneType"),
        ({"out": torch.zeros(1)}, DTypeError, "finest first, got dict"),
        ([torch.zeros(2, 3, 8, 8), None], DTypeError, "sequence of tensors, finest first, got list"),
        (
            [torch.zeros(2, 3, 4, 6), torch.zeros(2, 3, 8, 12)],
            ShapeError,
            r"finest first, got shapes \(2, 3, 4, 6\), \(2, 3, 8, 12\); reverse them",
        ),
        (
            [torch.zeros(2, 3, 8)],
            ShapeError,
            r"must be \(N, \*\) or \(N, C, \*\) with 1 spatial dimensions, got \(2, 3,",
        ),
    ],
)
def test_what_is_no_input(input, error, message):
    with pytest.raises(error, match=message):
        DeepSupervision(loss=Squared())(input, masks())


def test_what_is_no_target():
    for target, error, message in [
        (None, DTypeError, "target must be a tensor, got NoneType"),
        (torch.zeros(8), ShapeError, r"2 spatial dimensions, got \(8,\)"),
    ]:
        with pytest.raises(error, match=message):
            DeepSupervision(loss=Squared())(levels(), target)


def test_weights_that_do_not_fit():
    """The message about a list has both numbers. Unknown names and sums of 0 raise in the constructor."""
    with pytest.raises(ShapeError, match="2 weights for 4 levels of input; give one weight per level"):
        DeepSupervision(loss=Squared(), weights=[1.0, 0.5])(levels(), masks())
    with pytest.raises(InputError, match="weights must be 'same', 'two', 'exp' or a list of numbers, got 'linear'"):
        DeepSupervision(loss=Squared(), weights="linear")
    with pytest.raises(InputError, match="normalize_weights=True cannot divide by weights that are all 0"):
        DeepSupervision(loss=Squared(), weights=[0.0, 0.0], normalize_weights=True)
    with pytest.raises(InputError, match="Squared has reduction='sum' inside a composite"):
        DeepSupervision(loss=Squared(reduction="sum"))


def test_configs():
    """Round trip, schema and invalid configs."""
    for weights in ("two", [1, 0.5, 0.25]):
        config = {"name": "deep_supervision", "params": {"loss": {"name": "squared"}, "weights": weights}}
        loss = build(config)
        input, target = levels(*SIZES[:3]), masks()
        assert build(config_of(loss))(input, target) == loss(input, target)
        assert config_of(loss)["params"]["normalize_weights"] is False
    for weights in ("linear", [], ["1"], 2):
        with pytest.raises(InvalidConfigError, match=r"params.weights(\[0\])?: expected (one of|a number)"):
            build({"name": "deep_supervision", "params": {"loss": "squared", "weights": weights}})
    with pytest.raises(InvalidConfigError, match=r"params.loss: missing; expected a loss"):
        build("deep_supervision")
    assert "deep_supervision" in str(json_schema(["deep_supervision"]))


def test_pickle_and_deepcopy_give_the_same_loss():
    loss = build(DICE)
    input, target = levels(), masks()
    for twin in (pickle.loads(pickle.dumps(loss)), copy.deepcopy(loss)):
        assert torch.equal(twin(input, target), loss(input, target))
        assert config_of(twin) == config_of(loss)
    assert loss.state_dict() == {}


@pytest.mark.tools
def test_it_compiles_to_one_graph():
    torch.compiler.reset()
    loss = build(DICE)
    input, target = [x.float().requires_grad_() for x in levels()], masks()
    value = torch.compile(loss, fullgraph=True, backend="aot_eager")(input, target)
    gradients = torch.autograd.grad(value, [input[0], input[2]])
    expected = loss(input, target)
    torch.testing.assert_close(value, expected, rtol=1e-6, atol=0)
    for found, wanted in zip(gradients, torch.autograd.grad(expected, [input[0], input[2]]), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-9)


def test_a_sum_of_deep_supervisions():
    """A composite inside another, which passes the list of levels to every part."""
    input, target = levels(), masks()
    parts = [{"name": "deep_supervision", "params": {"loss": name}} for name in ("squared", "two_terms")]
    whole = build({"name": "weighted_sum", "params": {"terms": parts}})
    expected = sum(build(part)(input, target).item() for part in parts)
    assert whole(input, target).item() == pytest.approx(expected)
