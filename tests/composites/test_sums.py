"""weighted_sum and product, against the same sums by hand."""

import pytest
import torch
from torch import nn

from lossreg import InputError, InvalidConfigError, Loss, ShapeError, Term, build, evaluate, losses
from lossreg.composites.sums import Product, WeightedSum

INPUTS = torch.tensor([1.0, 3.0]), torch.tensor([0.0, 1.0])  # differences 1 and 2


class Absolute(Loss):
    def terms(self, input, target):
        return {"absolute": Term((input - target).abs(), "example")}


class Square(Loss):
    def terms(self, input, target):
        return {"square": Term((input - target).square(), "example"), "zero": Term(input * 0, "example", weight=0.0)}


class Scaled(Loss):
    """A loss with an option."""

    def terms(self, input, target, scale=1.0):
        return {"scaled": Term((input - target) * scale, "example")}


class Shifted(nn.Module):
    """A plain module with an option."""

    def forward(self, input, target, *, shift=0.0):
        return (input - target + shift).mean()


@pytest.fixture(autouse=True)
def scope():
    """Register absolute (1.5), square (2.5) and l1 (1.5, of the whole batch)."""
    with losses.scope() as registry:
        registry.register("absolute")(Absolute)
        registry.register("square")(Square)
        registry.register("l1")(nn.L1Loss)
        registry.register("scaled")(Scaled)
        registry.register("shifted")(Shifted)
        yield registry


def weighted(*terms, **params):
    return build({"name": "weighted_sum", "params": {"terms": list(terms), **params}})


def parts(output):
    return {name: part.item() for name, part in output.components.items()}


def test_a_weighted_sum():
    """Each term times its weight. Components are before it, named by the loss, or name.term for several terms."""
    output = weighted({"name": "absolute", "weight": 20}, "square").evaluate(*INPUTS)
    assert output.total.item() == 32.5
    assert parts(output) == {"absolute": 1.5, "square.square": 2.5, "square.zero": 0.0}
    assert output.per_example.tolist() == [21.0, 44.0]


@pytest.mark.parametrize("reduction, expected", [("mean", 4.0), ("sum", 8.0), ("none", [2.0, 6.0])])
def test_reductions_of_a_sum(reduction, expected):
    """Over examples, as of any loss."""
    assert weighted("absolute", "square", reduction=reduction)(*INPUTS).tolist() == expected


def test_weights_are_normalised_on_request_only():
    """By the sum of their magnitudes."""
    terms = [{"name": "absolute", "weight": 3}, {"name": "square", "weight": -1}]
    assert weighted(*terms)(*INPUTS).item() == 2.0
    assert weighted(*terms, normalize_weights=True)(*INPUTS).item() == pytest.approx(0.75 * 1.5 - 0.25 * 2.5)
    with pytest.raises(InvalidConfigError, match="cannot divide by weights that are all 0"):
        weighted({"name": "absolute", "weight": 0}, normalize_weights=True)


def test_weight_zero_keeps_a_term_as_log_only():
    """Even one that does not split over examples."""
    output = weighted("absolute", {"name": "l1", "weight": 0}).evaluate(*INPUTS)
    assert (output.total.item(), parts(output)) == (1.5, {"absolute": 1.5, "l1": 1.5})
    assert output.per_example.tolist() == [1.0, 2.0]


def test_a_plain_module_in_a_sum():
    """It has a mean, and no per-example values."""
    output = weighted("absolute", {"name": "l1", "weight": 2}).evaluate(*INPUTS)
    assert output.total.item() == 4.5
    assert output.per_example is None
    with pytest.raises(InputError, match="needs a loss that splits over examples"):
        weighted("l1", reduction="none")(*INPUTS)


def test_sums_nest_to_the_bound():
    """Sixteen levels: each doubles."""
    config = {"name": "absolute"}
    for _ in range(16):
        config = {"name": "weighted_sum", "params": {"terms": [config | {"weight": 2}]}}
    module = build(config)
    assert module(*INPUTS).item() == 1.5 * 2**16
    assert list(module.evaluate(*INPUTS).components) == ["weighted_sum"]
    with pytest.raises(InvalidConfigError, match="losses are nested deeper than 16"):
        weighted(config)


def test_names_of_parts():
    """Duplicates are numbered, and nothing else; a name that begins like another is no duplicate."""
    names = ["focal_tversky", "focal", "bce_dice_focal", "bce", "focal", "focal"]
    assert weighted(*names).names == ["focal_tversky", "focal", "bce_dice_focal", "bce", "focal_2", "focal_3"]
    assert list(weighted("absolute", "absolute").evaluate(*INPUTS).components) == ["absolute", "absolute_2"]
    made_by_hand = WeightedSum(terms=[{"loss": Absolute()}, {"loss": nn.L1Loss(), "weight": 2.0}])
    assert made_by_hand.names == ["Absolute", "L1Loss"]


def test_a_duplicate_does_not_take_the_name_of_another(scope):
    """A loss may be named as the second of another would be, or as an attribute of a module."""
    scope.register("absolute_2")(type("Second", (Absolute,), {}))
    scope.register("with.dot")(type("Dotted", (Absolute,), {}))
    assert weighted("absolute_2", "absolute", "absolute").names == ["absolute_2", "absolute", "absolute_3"]
    scope.register("keys")(type("Keys", (Absolute,), {}))
    assert list(weighted("with.dot", "keys").evaluate(*INPUTS).components) == ["with.dot", "keys"]


def test_a_part_that_reduces_otherwise_is_refused():
    """The composite reduces; the message names the place to set the reduction."""
    for name in ("weighted_sum", "product"):
        with pytest.raises(InvalidConfigError, match=r"Absolute has reduction='sum' inside a composite.*set it on the"):
            build({"name": name, "params": {"terms": [{"name": "absolute", "params": {"reduction": "sum"}}]}})
    with pytest.raises(InputError):
        WeightedSum(terms=[{"loss": Absolute(reduction="none")}])
    with pytest.raises(ShapeError, match="L1Loss returned"):
        WeightedSum(terms=[{"loss": nn.L1Loss(reduction="none")}])(*INPUTS)


def test_a_product():
    """Of the means; the factors are components."""
    output = build({"name": "product", "params": {"terms": ["absolute", "square", "l1"]}}).evaluate(*INPUTS)
    assert output.total.item() == pytest.approx(1.5 * 2.5 * 1.5)
    assert parts(output) == {"product": pytest.approx(5.625), "absolute": 1.5, "square": 2.5, "l1": 1.5}
    assert output.per_example is None


def test_a_product_of_products():
    """A factor named product replaces no component."""
    inner = {"name": "product", "params": {"terms": ["absolute", "square"]}}
    output = build({"name": "product", "params": {"terms": [inner, "absolute"]}}).evaluate(*INPUTS)
    assert output.total.item() == pytest.approx(1.5 * 2.5 * 1.5)
    assert parts(output) == {"product": 5.625, "product_2": 3.75, "absolute": 1.5}


def test_a_product_has_the_gradients_of_its_factors():
    """d(ab) = a db + b da."""
    input = INPUTS[0].clone().requires_grad_()
    Product(terms=[Absolute(), Square()])(input, INPUTS[1]).backward()
    assert input.grad.tolist() == pytest.approx([2.5 * 0.5 + 1.5 * 1.0, 2.5 * 0.5 + 1.5 * 2.0])


def test_a_product_does_not_split_over_examples():
    """So it has no parameter for a reduction, and no values per example."""
    assert evaluate(Product(terms=[Absolute()]), *INPUTS).per_example is None
    with pytest.raises(InvalidConfigError, match=r"params.reduction: unknown parameter; allowed are terms"):
        build({"name": "product", "params": {"terms": ["absolute"], "reduction": "sum"}})


def test_sums_of_products_and_products_of_sums():
    """Composites are losses like others."""
    mixture = weighted({"name": "product", "params": {"terms": ["absolute", "square"]}, "weight": 2}, "absolute")
    output = evaluate(mixture, *INPUTS)
    assert output.total.item() == 2 * 3.75 + 1.5
    assert parts(output)["product.absolute"] == 1.5
    assert build({"name": "product", "params": {"terms": [mixture_config(), "absolute"]}})(*INPUTS).item() == 4.0 * 1.5


def mixture_config():
    return {"name": "weighted_sum", "params": {"terms": ["absolute", "square"]}}


def test_an_option_goes_to_the_parts_that_have_it():
    """At any depth, in sums and in products; the other parts do not receive it."""
    inner = {"name": "product", "params": {"terms": ["scaled", "absolute"]}}
    assert weighted("absolute", "scaled")(*INPUTS, scale=10.0).item() == 1.5 + 15
    assert weighted("absolute", "shifted")(*INPUTS, shift=1.0).item() == 1.5 + 2.5
    assert weighted("absolute", inner)(*INPUTS, scale=2.0).item() == 1.5 + 3 * 1.5
    assert weighted(inner, "scaled").evaluate(*INPUTS, scale=2.0).total.item() == 3 * 1.5 + 3


def test_an_option_that_no_part_takes_is_refused():
    with pytest.raises(
        InputError, match="no loss inside weighted_sum has the option scal=; their options: scale, shift"
    ):
        weighted("scaled", "shifted")(*INPUTS, scal=1.0)
    with pytest.raises(InputError, match=r"no loss inside .* has the option scale=; their options: none"):
        weighted("absolute")(*INPUTS, scale=1.0)
