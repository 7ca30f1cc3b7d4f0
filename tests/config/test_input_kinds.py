"""Losses of logits and losses of probabilities in one sum: an error, or a warning where a contract is missing."""

import warnings

import pytest

import lossreg
from lossreg import InvalidConfigError, messages
from lossreg.authoring import contract


def total(*terms, name="weighted_sum"):
    """Return the config of a sum."""
    return {"name": name, "params": {"terms": list(terms)}}


def with_params(name, **params):
    """Return the config of a loss with parameters."""
    return {"name": name, "params": params}


@pytest.fixture
def warned(monkeypatch):
    """Return a function: validate a config, and return the texts of the warnings."""
    monkeypatch.setattr(messages, "_warned", set())

    def found(config):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            lossreg.validate(config)
        return [str(each.message) for each in caught]

    return found


PROBABILITIES = with_params("monai/dice")
SWITCHED = with_params("monai/dice", sigmoid=True)


@pytest.mark.parametrize(
    "config, path, message",
    [
        (
            total("dice", "torch/bce"),
            "params.terms[1]",
            "torch/bce takes probabilities and segmentation/dice in params.terms[0] takes logits, but both receive one"
            " input; replace one of them by a loss that takes logits",
        ),
        (
            total(PROBABILITIES, "dice", name="product"),
            "params.terms[1]",
            "segmentation/dice takes logits and monai/dice in params.terms[0] takes probabilities, but both receive one"
            " input; write sigmoid: true or softmax: true in params.terms[0].params",
        ),
        (
            total("dice", with_params("smp/dice", mode="binary", from_logits=False), name="uncertainty_weighting"),
            "params.terms[1]",
            "smp/dice takes probabilities and segmentation/dice in params.terms[0] takes logits, but both receive one"
            " input; write from_logits: true in params.terms[1].params",
        ),
        (
            total("torch/nll", "torch/cross_entropy"),
            "params.terms[1]",
            "torch/cross_entropy takes logits and torch/nll in params.terms[0] takes log-probabilities, but both"
            " receive one input; replace one of them by a loss that takes log-probabilities",
        ),
        (
            total(total("bce", "focal"), with_params("deep_supervision", loss=PROBABILITIES)),
            "params.terms[1].params.loss",
            "monai/dice takes probabilities and segmentation/bce in params.terms[0].params.terms[0] takes logits, but"
            " both receive one input; write sigmoid: true or softmax: true in params.terms[1].params.loss.params",
        ),
        (
            with_params("deep_supervision", loss=total(total("torch/mse", PROBABILITIES), "bce")),
            "params.loss.params.terms[1]",
            "segmentation/bce takes logits and monai/dice in params.loss.params.terms[0].params.terms[1] takes"
            " probabilities, but both receive one input; write sigmoid: true or softmax: true in"
            " params.loss.params.terms[0].params.terms[1].params",
        ),
    ],
)
def test_losses_of_different_inputs_in_one_sum_are_an_error(config, path, message):
    """The message names both losses and the change that helps."""
    with pytest.raises(InvalidConfigError) as caught:
        lossreg.validate(config)
    assert dict(caught.value.problems) == {path: message}


def test_every_loss_that_differs_from_the_first_is_named_once():
    """A sum around the sum with the conflict has no problem of its own."""
    with pytest.raises(InvalidConfigError) as caught:
        lossreg.validate(total(total("bce", "torch/bce", PROBABILITIES), "torch/bce"))
    assert [each.path for each in caught.value.problems] == [
        "params.terms[0].params.terms[1]",
        "params.terms[0].params.terms[2]",
    ]


def test_the_conflict_is_reported_with_the_other_problems():
    """All problems of a config are reported at once."""
    with pytest.raises(InvalidConfigError) as caught:
        lossreg.validate(total(with_params("dice", smoth=1), "torch/bce", "dicee"))
    assert [each.path for each in caught.value.problems] == [
        "params.terms[0].params.smoth",
        "params.terms[1]",
        "params.terms[2].name",
    ]


@pytest.mark.parametrize(
    "config",
    [
        total("dice", SWITCHED),
        total("dice", with_params("monai/dice_ce", sigmoid=True), with_params("smp/dice", mode="binary")),
        total(PROBABILITIES, "torch/bce", with_params("smp/dice", mode="binary", from_logits=False)),
        total("dice", with_params("monai/dice", other_act="softplus")),
        total("dice", "torch/mse", with_params("monai/ssim", spatial_dims=2)),
        total("torch/bce", "torch/l1"),
        total("sam/sam", "bce"),
        total("dice", with_params("deep_supervision", loss=SWITCHED)),
        total("dice", with_params("point_sampled", loss="bce")),
    ],
)
def test_losses_that_take_one_input_have_neither_error_nor_warning(warned, config):
    """Parameters that apply an activation count, and inputs of other kinds exclude none."""
    assert warned(config) == []


def test_a_loss_without_contract_beside_one_with_a_contract_is_a_warning(warned, torch):
    """It comes once for each loss, and names the contract to declare; nothing to compare, no warning."""
    with lossreg.losses.scope() as losses:
        losses.register("bare")(type("Bare", (torch.nn.Module,), {}))
        assert warned(total("bare", "bare")) == warned("bare") == []
        assert warned(total("torch/mse", "bare")) == []
        assert warned(total(total("bare"), PROBABILITIES)) == [
            "local/bare in params.terms[0].params.terms[0] receives the same input as monai/dice in params.terms[1],"
            " which takes probabilities. Check that local/bare takes probabilities too: it has no contract. Its author"
            " can declare one: contract=lossreg.authoring.contract(input='probabilities', ...)"
        ]
        assert warned(total("dice", "bare")) == []
        declared = contract(input="probabilities", target="mask", tasks=["binary"])
        losses.register("told", contract=declared)(type("Told", (torch.nn.Module,), {}))
        assert warned(total("told", PROBABILITIES)) == []
        with pytest.raises(InvalidConfigError, match="local/told takes probabilities"):
            lossreg.validate(total("dice", "told"))


def test_a_contract_counts_that_is_known_after_the_import(site):
    """Validation imports a loss that no manifest describes, for its parameters; its decorator has the contract."""
    site.module(
        "late_losses",
        """
        from torch import nn
        from lossreg import losses
        from lossreg.authoring import contract

        @losses.register("late", contract=contract(input="probabilities", target="mask", tasks=["binary"]))
        class Late(nn.Module): ...
        """,
    )
    with lossreg.losses.scope() as losses:
        losses.register_lazy("late", "late_losses:Late")
        with pytest.raises(InvalidConfigError, match="late takes probabilities and segmentation/dice"):
            lossreg.validate(total("dice", "late"))
