"""scheduled: weights that follow the step, and the sources of the step."""

import copy
import math
import pickle
from bisect import bisect_right

import pytest
import torch
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
from lossreg.composites.scheduled import Scheduled, weight_at
from lossreg.integrations import Tracked

INPUTS = torch.tensor([1.0, 3.0]), torch.tensor([0.0, 1.0])  # differences 1 and 2
POINTS = [(10, 1.0), (20, 0.3), (24, 0.0), (1000, 0.1)]
STEPS = [0, 9, 10, 11, 15, 19, 20, 21, 23, 24, 25, 500, 999, 1000, 1001, 10**12]
FADE = {"name": "absolute", "points": [[0, 1], [10, 0]]}
RISE = {"name": "square", "points": [[0, 0], [10, 2]]}


class Absolute(Loss):
    def terms(self, input, target):
        return {"absolute": Term((input - target).abs(), "example")}


class Square(Loss):
    def terms(self, input, target):
        square = (input - target).square()
        return {"square": Term(square, "example"), "logged": Term(square.mean(), "batch", weight=0.0)}


@pytest.fixture(autouse=True)
def scope():
    """Register absolute (1.5), square (2.5) and l1 (1.5, of the whole batch)."""
    with losses.scope() as registry:
        registry.register("absolute")(Absolute)
        registry.register("square")(Square)
        registry.register("l1")(nn.L1Loss)
        yield registry


def scheduled(*terms, **params):
    return build({"name": "scheduled", "params": {"terms": list(terms), **params}})


def line(points, step):
    """Interpolate along the line through the two points beside the step."""
    place = bisect_right([start for start, _ in points], step)
    if place == 0 or place == len(points):
        return points[max(place - 1, 0)][1]
    (start, before), (end, after) = points[place - 1 : place + 1]
    return before + (after - before) * (step - start) / (end - start)


@pytest.mark.parametrize("step", STEPS)
def test_the_weight_at_a_step(step):
    """A float for an int, a tensor for a tensor: lines between the points, constant outside."""
    expected = line(POINTS, step)
    weight = weight_at(POINTS, step)
    assert isinstance(weight, float)
    assert weight == pytest.approx(expected, abs=1e-15)
    tensor = weight_at(POINTS, torch.tensor(step))
    assert (tensor.shape, tensor.dtype) == ((), torch.float32)
    assert tensor.item() == pytest.approx(expected, rel=1e-5, abs=1e-7)


def test_the_weight_at_a_point_is_exactly_that():
    """Exactly, though 0.7 + (0.1 - 0.7) is not 0.1."""
    points = [(0, 0.7), (3, 0.1), (7, 0.0), (10, 0.7), (11, 0.3), (12, 0.1)]
    for step, weight in points:
        assert weight_at(points, step) == weight
        assert weight_at(points, torch.tensor(step)) == torch.tensor(weight)


def test_one_point_is_a_constant():
    for step in (0, 5, 7):
        assert weight_at([(5, 2.0)], step) == 2.0
        assert weight_at([(5, 2.0)], torch.tensor(step)).item() == 2.0


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int32, torch.int64])
def test_steps_of_any_integer_type(dtype):
    """uint8 and int8 would wrap the 300, and float32 cannot distinguish 2^30 from 2^30 + 1."""
    assert weight_at([(300, 1.0), (400, 0.0)], torch.tensor(100, dtype=dtype)).item() == 1.0
    late = 2**30
    assert weight_at([(late, 0.0), (late + 4, 1.0)], torch.tensor(late + 1)).item() == 0.25


@pytest.mark.parametrize("step, expected", [(0, 1.5), (5, 0.75 + 2.5), (10, 5.0), (99, 5.0)])
def test_a_scheduled_sum(step, expected):
    """Of ints and tensors alike."""
    loss = scheduled(FADE, RISE)
    for given in (step, torch.tensor(step)):
        output = loss.evaluate(*INPUTS, step=given)
        assert loss(*INPUTS, step=given).item() == pytest.approx(expected)
        assert output.total.item() == pytest.approx(expected)
        assert {name: part.item() for name, part in output.components.items()} == {
            "absolute": 1.5,
            "square.square": 2.5,
            "square.logged": 2.5,
        }
        assert output.per_example.mean().item() == pytest.approx(expected)


@pytest.mark.parametrize("reduction, expected", [("mean", 3.25), ("sum", 6.5), ("none", [1.5, 5.0])])
def test_reductions(reduction, expected):
    """Over examples, as of any loss."""
    assert scheduled(FADE, RISE, reduction=reduction)(*INPUTS, step=5).tolist() == expected


def test_weights_at_a_step():
    """The values for a log."""
    assert scheduled(FADE, RISE).weights_at(5) == [0.5, 1.0]
    assert [weight.item() for weight in scheduled(FADE, RISE).weights_at(torch.tensor(5))] == [0.5, 1.0]


def test_weight_zero_only_logs():
    """For an int step, a whole-batch term then leaves the values per example, and costs no backward pass."""
    loss = scheduled(FADE, {"name": "l1", "points": [[10, 0], [20, 1]]})
    assert loss.evaluate(*INPUTS, step=5).per_example.tolist() == [0.5, 1.0]
    assert loss.evaluate(*INPUTS, step=15).per_example is None
    assert loss.evaluate(*INPUTS, step=15).total.item() == 0.75


def test_it_is_a_function_of_the_step():
    """The same step gives the same weight, and a checkpoint has no state."""
    loss = scheduled(FADE, RISE)
    before = pickle.dumps(loss)
    assert loss(*INPUTS, step=3) == loss(*INPUTS, step=3)
    assert pickle.dumps(loss) == before
    assert loss.state_dict() == {}


def test_passes_are_shared():
    """As in a weighted sum."""
    terms = [{"name": name, "points": [[0, 2.0]]} for name in ("dice", "bce")]
    x, t = torch.randn(2, 1, 4, 4), torch.randint(0, 2, (2, 1, 4, 4))
    first, second = scheduled(*terms).passes(x, t)
    assert first.merged(second) is not None
    weighted = build({"name": "weighted_sum", "params": {"terms": [{"name": n, "weight": 2} for n in ("dice", "bce")]}})
    assert scheduled(*terms)(x, t, step=1) == weighted(x, t)


def test_inside_deep_supervision():
    """It passes the step to every level."""
    inner = {"name": "scheduled", "params": {"terms": [{"name": "bce", "points": [[0, 1], [10, 0]]}]}}
    loss = DeepSupervision(loss=build(inner), weights="same")
    x, t = torch.zeros(2, 1, 4, 4), torch.zeros(2, 1, 4, 4)
    assert loss([x, x[..., :2]], t, step=5).item() == pytest.approx(math.log(2))
    with pytest.raises(InputError, match="needs the training step"):
        loss([x], t)


@pytest.mark.parametrize(
    "step, error, message",
    [
        (None, InputError, r"Scheduled needs the training step: loss\(input, target, step=step\)"),
        (-1, InputError, "step must be an int >= 0 or a 0-dim tensor of integers, got -1"),
        (1.5, InputError, "0-dim tensor of integers, got 1.5"),
        (True, InputError, "0-dim tensor of integers, got True"),
        (torch.tensor([1]), ShapeError, r"step must be one number, got a tensor of shape \(1,\)"),
        (torch.tensor(1.0), DTypeError, r"step must be a tensor of integers, got torch.float32; count steps with"),
        (torch.tensor(True), DTypeError, r"step must be a tensor of integers, got torch.bool"),
    ],
)
def test_what_is_no_step(step, error, message):
    with pytest.raises(error, match=message):
        scheduled(FADE)(*INPUTS, step=step)


def test_without_a_step():
    """The message has both ways to give one."""
    message = (
        r"Scheduled needs the training step: loss\(input, target, step=step\);"
        r" .* lossreg\.integrations\.Tracked\(loss\), and set tracked\.context\.step = step before"
    )
    with pytest.raises(InputError, match=message):
        scheduled(FADE)(*INPUTS)


@pytest.mark.parametrize("step", [0, 2, 10])
def test_a_trainer_that_passes_no_step_calls_a_tracked_loss(step):
    """As the message advises, for a schedule inside another sum as well."""
    config = {"name": "scheduled", "params": {"terms": [FADE]}}
    expected = build(config)(*INPUTS, step=step).item()
    for each in (config, {"name": "weighted_sum", "params": {"terms": [config]}}):
        tracked = Tracked(each)
        tracked.context.step = step
        assert tracked(*INPUTS).item() == pytest.approx(expected)


def test_inside_another_sum_it_gets_the_step():
    outer = build({"name": "weighted_sum", "params": {"terms": [{"name": "scheduled", "params": {"terms": [FADE]}}]}})
    assert outer(*INPUTS, step=2).item() == scheduled(FADE)(*INPUTS, step=2).item()
    with pytest.raises(InputError, match="needs the training step"):
        outer(*INPUTS)


@pytest.mark.parametrize("points", [[[3, 1], [3, 2]], [[5, 1], [3, 2]]])
def test_points_that_do_not_increase(points):
    with pytest.raises(InvalidConfigError, match=r"steps of 'absolute' must start at 0 or later and increase, got \["):
        scheduled({"name": "absolute", "points": points})


@pytest.mark.parametrize(
    "points, message",
    [
        ([], "points: expected a list of at least 1"),
        ([[1]], r"points\[0\]: expected a list of an integer >= 0, then a number"),
        ([[0, 1], [1.5, 1]], r"points\[1\]\[0\]: expected an integer >= 0, got 1.5"),
        ([[-1, 1]], r"points\[0\]\[0\]: expected an integer >= 0, got -1"),
        ([[0, "1"]], r"points\[0\]\[1\]: expected a number, got the text '1'"),
        ([[0, float("inf")]], r"points\[0\]\[1\]"),
        (3, "points: expected a list of at least 1"),
    ],
)
def test_points_in_a_config(points, message):
    with pytest.raises(InvalidConfigError, match=r"params.terms\[0\]." + message):
        scheduled({"name": "absolute", "points": points})


def test_points_given_in_code():
    """The constructor checks them as well."""
    for points in ([], [(-1, 1.0)]):
        with pytest.raises(InputError, match="must start at 0 or later and increase"):
            Scheduled(terms=[{"loss": Absolute(), "points": points}])


def test_configs():
    """Round trip, schema and invalid configs."""
    loss = scheduled(FADE, RISE)
    assert config_of(loss)["params"]["terms"][0]["points"] == [[0, 1], [10, 0]]
    assert build(config_of(loss))(*INPUTS, step=3) == loss(*INPUTS, step=3)
    assert "prefixItems" in str(json_schema(["scheduled"]))
    with pytest.raises(InvalidConfigError, match=r"params.terms\[0\].points: missing; expected a list"):
        scheduled("absolute")
    with pytest.raises(InvalidConfigError, match="Absolute has reduction='none' inside a composite"):
        scheduled(FADE | {"params": {"reduction": "none"}})
    for twin in (pickle.loads(pickle.dumps(loss)), copy.deepcopy(loss)):
        assert twin(*INPUTS, step=3) == loss(*INPUTS, step=3)
        assert config_of(twin) == config_of(loss)


@pytest.mark.tools
@pytest.mark.parametrize("kind", [int, torch.tensor])
def test_it_compiles_to_one_graph_for_all_steps(kind):
    """An int is specialised once and then a variable, not once for each step."""
    torch.compiler.reset()
    loss = scheduled({"name": "dice", "points": [[5, 1], [10, 0]]}, {"name": "bce", "points": [[0, 0.5], [20, 1]]})
    x = torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    t = torch.randint(0, 2, (2, 1, 4, 4), generator=torch.Generator().manual_seed(1))
    graphs = []

    def backend(graph, examples):
        graphs.append(graph)
        return graph

    compiled = torch.compile(loss, fullgraph=True, backend=backend)
    for step in range(25):
        value, expected = compiled(x, t, step=kind(step)), loss(x, t, step=kind(step))
        torch.testing.assert_close(value, expected, rtol=1e-5, atol=0)
    # torch.compile specialises 0 and 1, then the first other number; the next one becomes a variable.
    assert len(graphs) <= (4 if kind is int else 1)
    whole = torch.compile(loss, fullgraph=True, backend="aot_eager")(x, t, step=kind(7))
    (gradient,) = torch.autograd.grad(whole, x)
    torch.testing.assert_close(gradient, torch.autograd.grad(loss(x, t, step=7), x)[0], rtol=1e-5, atol=1e-9)
