"""How losses made of losses hand inputs and options to their parts, and calls that do not fit."""

from typing import ClassVar

import pytest
import torch
from torch import nn

from lossreg import InputError, Loss, Term, build, config_of, evaluate, losses

X, T, MAP = torch.tensor([1.0, 3.0]), torch.tensor([0.0, 1.0]), torch.tensor([10.0, 20.0])


class Absolute(Loss):
    def terms(self, input, target):
        return {"absolute": Term((input - target).abs())}


class Weighed(Loss):
    """A loss with a weight per pixel."""

    per_pixel: ClassVar = {"weight": "weight"}

    def terms(self, input, target, *, weight=None):
        return {"weighed": Term((input - target) * (1.0 if weight is None else weight))}


class Mapped(Loss):
    """A loss whose third input is optional."""

    def terms(self, input, target, distance=None):
        return {"mapped": Term((input - target) * (1.0 if distance is None else distance))}


class Toned(Loss):
    """A loss with another optional third input."""

    def terms(self, input, target, tone=None):
        return {"toned": Term((input - target) + (0.0 if tone is None else tone))}


class Three(Loss):
    """A loss of three inputs."""

    def terms(self, input, target, predicted):
        return {"three": Term(input - target + predicted)}


class Foreign(nn.Module):
    """A module with other names for its inputs."""

    def forward(self, y_pred, y_true):
        return (y_pred - 2 * y_true).mean()


@pytest.fixture(autouse=True)
def scope():
    with losses.scope() as registry:
        for kind in (Absolute, Weighed, Mapped, Toned, Three, Foreign):
            registry.register(kind.__name__.lower())(kind)
        yield registry


def composite(name, *terms):
    points = {"points": [[0, 1.0]]}
    given = [{"name": term, **points} for term in terms] if name == "scheduled" else list(terms)
    return build({"name": name, "params": {"terms": given}})


def weighted(*terms):
    return composite("weighted_sum", *terms)


SUMS = ["weighted_sum", "scheduled", "uncertainty_weighting", "product"]


@pytest.mark.parametrize("name", SUMS)
def test_inputs_by_name_are_those_by_position(name):
    """In every kind of sum, under every way of calling."""
    loss = composite(name, "absolute", "mapped")
    step = {"step": 0} if name == "scheduled" else {}
    expected = loss(X, T, **step).item()
    assert loss(input=X, target=T, **step).item() == loss(X, target=T, **step).item() == expected
    assert loss.evaluate(target=T, input=X, **step).total.item() == expected
    assert evaluate(loss, target=T, input=X, **step).total.item() == expected


@pytest.mark.parametrize("name", SUMS)
def test_a_further_input_goes_to_the_terms_that_take_it(name):
    """By position and by name. An optional third input of another name is another input."""
    loss = composite(name, "three", "absolute", "mapped")
    step = {"step": 0} if name == "scheduled" else {}
    parts = {"three": (11 + 22) / 2, "absolute": 1.5, "mapped": 1.5}
    for output in (loss.evaluate(X, T, MAP, **step), loss.evaluate(X, T, predicted=MAP, **step)):
        assert {key: output.components[key].item() for key in parts} == parts
    output = loss.evaluate(X, T, MAP, distance=MAP, **step)
    assert output.components["mapped"].item() == (10 + 40) / 2


def test_an_optional_input_by_position():
    """Goes to the terms that have its name."""
    assert weighted("absolute", "mapped")(X, T, MAP).item() == 1.5 + 25
    assert weighted("mapped", weighted_config("mapped", "absolute"))(X, T, MAP).item() == 25 + 25 + 1.5


def test_a_position_with_two_names():
    """A third input that two terms would take for different things is refused by position; the advice works."""
    loss = weighted("mapped", "toned")
    with pytest.raises(
        InputError, match=r"got 3 inputs; call it as loss\(input, target, distance=\.\.\., tone=\.\.\.\)"
    ):
        loss(X, T, MAP)
    assert loss(X, T, distance=MAP).item() == 25 + 1.5
    assert loss(X, T, distance=MAP, tone=MAP).item() == 25 + 1.5 + 15


def weighted_config(*terms):
    return {"name": "weighted_sum", "params": {"terms": list(terms)}}


def test_inputs_of_a_foreign_module():
    """By position; by its own names or those of the other terms."""
    loss = weighted("absolute", "foreign")
    expected = 1.5 + (1 + 1) / 2
    assert loss(X, T).item() == loss(input=X, target=T).item() == loss(y_pred=X, y_true=T).item() == expected
    assert weighted("foreign")(y_true=T, y_pred=X).item() == 1.0


@pytest.mark.parametrize("name", SUMS)
def test_a_missing_input_is_named(name):
    """With the term that needs it, and the call."""
    loss = composite(name, "absolute", "three")
    for call in (loss, loss.evaluate):
        with pytest.raises(
            InputError, match=rf"three inside {name} needs predicted; call it as loss\(input, target, pre"
        ):
            call(X, T)
        with pytest.raises(InputError, match=rf"inside {name} needs input, predicted"):
            call(target=T)


@pytest.mark.parametrize("name", SUMS)
def test_a_call_that_does_not_fit(name):
    loss = composite(name, "absolute", "mapped")
    with pytest.raises(InputError, match=f"no loss inside {name} has the option distanc=; their options: distance"):
        loss(X, T, distanc=MAP)
    with pytest.raises(InputError, match=f"{name} takes input, target, distance, got 4 inputs"):
        loss(X, T, MAP, MAP)
    with pytest.raises(InputError, match=f"{name} got target twice"):
        loss(X, T, target=T)


def test_a_compiled_part_has_its_options():
    """A wrapper of torch hides them from Python's signature."""
    loss = nn.DataParallel(Mapped())
    whole = build(weighted_config("absolute"))
    whole = type(whole)(terms=[{"loss": Absolute()}, {"loss": loss}])
    assert whole(X, T, distance=MAP).item() == 1.5 + 25


@pytest.mark.parametrize("name", SUMS)
@pytest.mark.parametrize("other", ["absolute", "foreign"])
def test_a_term_without_the_weight_of_the_others_is_named(name, other):
    """Silently it would stay unweighted. Without a weight the sum is as before."""
    loss = composite(name, "weighed", other)
    step = {"step": 0} if name == "scheduled" else {}
    for call in (loss, loss.evaluate):
        with pytest.raises(
            InputError, match=rf"{other} inside {name} has no weight=.* {{name: {other}, unweighted: true}}"
        ):
            call(X, T, weight=MAP, **step)
    assert torch.isfinite(loss(X, T, **step))
    assert composite(name, "weighed", "weighed").evaluate(X, T, weight=MAP, **step).components["weighed"].item() == 25


def test_a_term_may_stay_unweighted():
    """If its config has it, also inside other sums; a term that has the option then does not get it."""
    left_out = {"name": "absolute", "unweighted": True}
    assert weighted("weighed", left_out)(X, T, weight=MAP).item() == 25 + 1.5
    assert weighted("weighed", {"name": "weighed", "unweighted": True})(X, T, weight=MAP).item() == 25 + 1.5
    scheduled = {"name": "scheduled", "params": {"terms": [{**left_out, "points": [[0, 2.0]]}]}}
    assert weighted("weighed", scheduled)(X, T, weight=MAP, step=0).item() == 25 + 3
    for outer in ("product", "uncertainty_weighting"):  # the advice of the message
        loss = composite(outer, "weighed", weighted_config(left_out))
        assert loss.evaluate(X, T, weight=MAP).components["weighted_sum"].item() == 1.5


def test_sums_inside_sums():
    """The term is named wherever it is, and so is its sum; a sum of weighted terms alone has the weight."""
    assert weighted("weighed", weighted_config("weighed"))(X, T, weight=MAP).item() == 50
    with pytest.raises(InputError, match="absolute inside weighted_sum has no weight="):
        weighted("weighed", {"name": "product", "params": {"terms": [weighted_config("weighed", "absolute")]}})(
            X, T, weight=MAP
        )
    with pytest.raises(InputError, match="product inside weighted_sum has no weight="):
        weighted("weighed", {"name": "product", "params": {"terms": ["absolute"]}})(X, T, weight=MAP)


def test_a_sum_in_which_no_term_has_a_weight():
    """Has no such option."""
    with pytest.raises(InputError, match="no loss inside weighted_sum has the option weight=; their options: distance"):
        weighted("absolute", "mapped")(X, T, weight=MAP)


def test_a_config_of_an_unweighted_term():
    """Keeps it."""
    loss = weighted("weighed", {"name": "absolute", "unweighted": True})
    assert [term["unweighted"] for term in config_of(loss)["params"]["terms"]] == [False, True]
    assert build(config_of(loss))(X, T, weight=MAP) == loss(X, T, weight=MAP)
