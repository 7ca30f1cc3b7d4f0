"""uncertainty_weighting: exp(-s) L + s / 2, its gradients and its optimum."""

import copy
import math
import pickle

import pytest
import torch
from torch import nn

from lossreg import InputError, InvalidConfigError, Loss, Term, build, config_of, json_schema, losses
from lossreg.composites.uncertainty_weighting import UncertaintyWeighting

INPUTS = torch.tensor([1.0, 3.0]), torch.tensor([0.0, 1.0])  # differences 1 and 2
S = [0.7, -1.3]  # log variances


class Absolute(Loss):
    def terms(self, input, target):
        return {"absolute": Term((input - target).abs(), "example")}


class Square(Loss):
    def terms(self, input, target):
        square = (input - target).square()
        return {"square": Term(square, "example", weight=2.0), "logged": Term(square.mean(), "batch", weight=0.0)}


@pytest.fixture(autouse=True)
def scope():
    """Register absolute (1.5), square (twice 2.5) and l1 (1.5, of the whole batch)."""
    with losses.scope() as registry:
        registry.register("absolute")(Absolute)
        registry.register("square")(Square)
        registry.register("l1")(nn.L1Loss)
        yield registry


def uncertain(*terms, log_variances=None, **params):
    loss = build({"name": "uncertainty_weighting", "params": {"terms": list(terms), **params}})
    if log_variances is not None:
        with torch.no_grad():
            loss.log_variances.copy_(torch.tensor(log_variances))
    return loss


def formula(parts, log_variances):
    return sum(math.exp(-s) * part + s / 2 for part, s in zip(parts, log_variances, strict=True))


def test_the_formula():
    """Components are before their weights; a term that is only logged keeps its weight of 0."""
    output = uncertain("absolute", "square", log_variances=S).evaluate(*INPUTS)
    assert output.total.item() == pytest.approx(formula([1.5, 5.0], S), rel=1e-6)
    assert {name: part.item() for name, part in output.components.items()} == {
        "absolute": 1.5,
        "square.square": 2.5,
        "square.logged": 2.5,
        "regularizer": pytest.approx(sum(S) / 2),
    }


def test_it_starts_as_the_plain_sum():
    """s = 0 is a weight of 1 and no regulariser."""
    assert uncertain("absolute", "square")(*INPUTS).item() == 6.5


@pytest.mark.parametrize("reduction, expected", [("none", [0, 1]), ("sum", [2]), ("mean", [3])])
def test_each_example_has_the_regulariser(reduction, expected):
    """So that the mean over examples is the total."""
    each = [formula([1, 2], S), formula([2, 8], S)]
    wanted = [each[0], each[1], sum(each), sum(each) / 2]
    loss = uncertain("absolute", "square", log_variances=S, reduction=reduction)
    assert loss(*INPUTS).flatten().tolist() == pytest.approx([wanted[index] for index in expected], rel=1e-6)
    assert loss.evaluate(*INPUTS).per_example.tolist() == pytest.approx(each, rel=1e-6)


def test_a_part_of_the_whole_batch():
    """It does not split over examples, and neither does the regulariser."""
    loss = uncertain("absolute", "l1", log_variances=S)
    output = loss.evaluate(*INPUTS)
    assert output.total.item() == pytest.approx(formula([1.5, 1.5], S), rel=1e-6)
    assert output.per_example is None
    loss.reduction = "none"
    with pytest.raises(InputError, match=r"terms of the whole batch: l1, regularizer"):
        loss(*INPUTS)


def test_the_regulariser_counts_as_the_examples_of_the_terms_do():
    """A term may divide by another number of examples than its own, such as the mean over the ranks of a batch."""

    class Shared(Loss):
        def terms(self, input, target):
            return {"shared": Term((input - target).abs(), "example", examples=torch.tensor(4.0))}

    loss = UncertaintyWeighting(terms=[Shared()])
    nn.init.constant_(loss.log_variances, 0.5)
    assert loss(*INPUTS).item() == pytest.approx((math.exp(-0.5) * 3 + 2 * 0.25) / 4, rel=1e-6)


def test_the_gradients():
    """To s: 1/2 - exp(-s) L. To the input: exp(-s) dL."""
    loss = uncertain("absolute", "square", log_variances=S)
    input = INPUTS[0].clone().requires_grad_()
    loss(input, INPUTS[1]).backward()
    expected = [0.5 - math.exp(-s) * part for s, part in zip(S, [1.5, 5.0], strict=True)]
    assert loss.log_variances.grad.tolist() == pytest.approx(expected, rel=1e-6)
    factors = [math.exp(-s) for s in S]
    slopes = [factors[0] * 0.5 + factors[1] * 2 * difference for difference in (1, 2)]
    assert input.grad.tolist() == pytest.approx(slopes, rel=1e-6)


def test_the_optimum():
    """exp(s) = 2 L for fixed losses."""
    loss = uncertain("absolute", "square")
    optimizer = torch.optim.LBFGS(loss.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        value = loss(*INPUTS)
        value.backward()
        return value

    optimizer.step(closure)
    assert loss.log_variances.exp().tolist() == pytest.approx([3.0, 10.0], rel=1e-3)


def test_the_log_variances_are_saved():
    """One float32 parameter, of the optimiser and of checkpoints."""
    loss, other = uncertain("absolute", "square", log_variances=S), uncertain("absolute", "square")
    assert [(name, p.dtype, p.requires_grad) for name, p in loss.named_parameters()] == [
        ("log_variances", torch.float32, True)
    ]
    other.load_state_dict(loss.state_dict(), strict=True)
    assert torch.equal(other(*INPUTS), loss(*INPUTS))
    for twin in (pickle.loads(pickle.dumps(loss)), copy.deepcopy(loss)):
        assert torch.equal(twin(*INPUTS), loss(*INPUTS))
        assert config_of(twin) == config_of(loss)


def test_in_half_precision():
    """model.half() converts the parameter; the factors are float32 nevertheless."""
    loss = uncertain("absolute", "square", log_variances=S).half()
    rounded = torch.tensor(S).half().tolist()
    assert loss(*INPUTS).dtype == torch.float32
    assert loss(*INPUTS).item() == pytest.approx(formula([1.5, 5.0], rounded), rel=1e-6)
    assert loss.double()(*(x.double() for x in INPUTS)).dtype == torch.float64


def test_passes_are_shared():
    """As in a weighted sum."""
    loss = uncertain({"name": "dice"}, {"name": "bce"})
    x, t = torch.randn(2, 1, 4, 4), torch.randint(0, 2, (2, 1, 4, 4))
    assert len(loss.passes(x, t)) == 2
    weighted = build({"name": "weighted_sum", "params": {"terms": ["dice", "bce"]}})
    torch.testing.assert_close(loss(x, t), weighted(x, t))
    first, second = loss.passes(x, t)
    assert first.merged(second) is not None


def test_a_part_with_the_name_of_the_regulariser(scope):
    """The part is numbered."""
    scope.register("regularizer")(type("Named", (Absolute,), {}))
    assert uncertain("regularizer").names == ["regularizer_2"]


def test_a_sum_without_weighted_terms():
    """Only the regulariser remains."""
    logged = {"name": "weighted_sum", "params": {"terms": [{"name": "absolute", "weight": 0}]}}
    output = uncertain(logged, log_variances=[0.5]).evaluate(*INPUTS)
    assert (output.total.item(), output.per_example) == (0.25, None)


def test_configs():
    """Round trip, schema and invalid configs."""
    loss = uncertain("absolute", {"name": "square"})
    assert build(config_of(loss))(*INPUTS) == loss(*INPUTS)
    assert "uncertainty_weighting" in str(json_schema(["uncertainty_weighting"]))
    assert losses.entry("uncertainty_weighting").metadata["contract"]["has_parameters"] is True
    with pytest.raises(InvalidConfigError, match="Absolute has reduction='sum' inside a composite"):
        uncertain({"name": "absolute", "params": {"reduction": "sum"}})
    with pytest.raises(InvalidConfigError, match=r"params.terms: expected a list of at least 1"):
        uncertain()


@pytest.mark.tools
def test_it_compiles_to_one_graph():
    torch.compiler.reset()
    loss = uncertain("dice", "bce", log_variances=S)
    x = torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    t = torch.randint(0, 2, (2, 1, 4, 4), generator=torch.Generator().manual_seed(1))
    value, expected = torch.compile(loss, fullgraph=True, backend="aot_eager")(x, t), loss(x, t)
    torch.testing.assert_close(value, expected, rtol=1e-6, atol=0)
    leaves = [x, loss.log_variances]
    for found, wanted in zip(torch.autograd.grad(value, leaves), torch.autograd.grad(expected, leaves), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-9)
