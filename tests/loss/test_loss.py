"""Loss, Term and LossOutput: the only reduction code, on numbers that can be checked by hand."""

import pytest
import torch
from torch import nn

from lossreg import InputError, Loss, LossOutput, ShapeError, Term, build, evaluate, losses

PAIRS = torch.tensor([[1.0, 3.0], [5.0, 7.0], [0.0, 2.0]])  # means 2, 6, 1


class Fixed(Loss):
    """A loss whose terms are given to its constructor."""

    def __init__(self, reduction="mean", **terms):
        super().__init__(reduction=reduction)
        self.fixed = terms

    def terms(self, *inputs):
        return self.fixed


class Squared(nn.MSELoss):
    """A loss of torch, under a class of its own."""


def values(output):
    """Total, components and per-example values as numbers."""
    parts = {name: part.item() for name, part in output.components.items()}
    return output.total.item(), parts, None if output.per_example is None else output.per_example.tolist()


@pytest.mark.parametrize("reduction, expected", [("mean", 3.0), ("sum", 9.0), ("none", [2.0, 6.0, 1.0])])
def test_reductions(reduction, expected):
    """Over examples, after the mean over classes of each."""
    assert Fixed(reduction, a=Term(PAIRS))().tolist() == pytest.approx(expected)


def test_terms_are_weighted_and_added():
    """Components are shown before their weight."""
    loss = Fixed(a=Term(PAIRS, weight=2.0), b=Term(torch.tensor([1.0, 2.0, 6.0]), "example", weight=10.0))
    assert values(loss.evaluate()) == (36.0, {"a": 3.0, "b": 3.0}, [14.0, 32.0, 62.0])
    assert loss().item() == 36.0


def test_a_weight_may_be_a_tensor_that_learns():
    """Its gradient is the component."""
    weight = torch.tensor(2.0, requires_grad=True)
    loss = Fixed(a=Term(PAIRS, weight=weight))
    loss().backward()
    assert weight.grad.item() == 3.0
    assert values(loss.evaluate()) == (6.0, {"a": 3.0}, [4.0, 12.0, 2.0])


def test_evaluate_and_forward_agree():
    """The same terms by the same reduction; the mean of per_example is the total."""
    for reduction in ("mean", "sum"):
        loss = Fixed(reduction, a=Term(PAIRS), b=Term(PAIRS[:, 0], "example", 0.5))
        output = loss.evaluate()
        assert output.total.item() == loss().item()
        assert getattr(output.per_example, reduction)().item() == pytest.approx(output.total.item())
    assert Fixed("none", a=Term(PAIRS)).evaluate().total.item() == 3.0


def test_a_batch_term_has_no_per_example_values():
    """None, never a made-up split; its mean is over all values."""
    loss = Fixed(a=Term(PAIRS), b=Term(PAIRS, "batch"))
    assert values(loss.evaluate()) == (6.0, {"a": 3.0, "b": 3.0}, None)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_the_components_of_each_example(reduction):
    """Before their weight, under every reduction; with terms that are only logged, without whole-batch terms."""
    counts = torch.tensor([[1.0, 0.0], [1.0, 3.0], [0.0, 0.0]])
    loss = Fixed(
        reduction,
        a=Term(PAIRS, weight=2.0),
        b=Term(torch.tensor([1.0, 2.0, 6.0]), "example", weight=10.0),
        counted=Term(PAIRS, weight=0.0, count=counts),
        log=Term(PAIRS, "batch", weight=0.0),
    )
    output = loss.evaluate()
    assert {name: values.tolist() for name, values in output.per_example_components.items()} == {
        "a": [2.0, 6.0, 1.0],
        "b": [1.0, 2.0, 6.0],
        "counted": [1.0, 6.5, 0.0],
    }
    assert output.components["counted"].item() == 2.5


def test_the_components_split_where_the_total_does_not():
    """Each term for itself: never a made-up split."""
    output = Fixed(a=Term(PAIRS), b=Term(PAIRS, "batch")).evaluate()
    assert output.per_example is None
    assert {name: values.tolist() for name, values in output.per_example_components.items()} == {"a": [2.0, 6.0, 1.0]}


@pytest.mark.parametrize("reduction", ["sum", "none"])
@pytest.mark.parametrize("method", ["forward", "evaluate"])
def test_a_batch_term_has_no_reduction_but_the_mean(reduction, method):
    """Training and logging raise the same error; no other reduction is used in its place."""
    loss = Fixed(reduction, a=Term(PAIRS), b=Term(PAIRS, "batch"))
    expected = f"reduction='{reduction}' needs a loss that splits over examples; Fixed does not"
    with pytest.raises(InputError, match=expected) as caught:
        getattr(loss, method)()
    assert caught.value.terms == ["b"]
    assert str(caught.value).endswith("(terms of the whole batch: b); use reduction='mean'")


def test_weight_zero_is_log_only():
    """A component, in neither total nor per-example values, even if it is NaN."""
    logged = {"log": Term(torch.tensor(float("nan")), "batch", weight=0.0)}
    total, parts, per_example = values(Fixed(a=Term(PAIRS), **logged).evaluate())
    assert (total, parts["a"], per_example) == (3.0, 3.0, [2.0, 6.0, 1.0])
    assert parts["log"] != parts["log"]
    assert Fixed("none", a=Term(PAIRS), **logged)().tolist() == [2.0, 6.0, 1.0]


def test_a_loss_that_only_logs_is_zero_and_has_a_gradient():
    """A gradient of zero: backward() works."""
    parameter = PAIRS.clone().requires_grad_()
    total = Fixed(a=Term(parameter * 2, weight=0.0))()
    total.backward()
    assert total.item() == 0.0
    assert parameter.grad.abs().sum().item() == 0.0


@pytest.mark.parametrize(
    "per, counts, expected, split",
    [
        ("pair", [[1, 1], [1, 1], [1, 1]], 3.0, [2.0, 6.0, 1.0]),
        ("pair", [[1, 0], [1, 3], [0, 1]], (1 + 6.5 + 2) / 3, [1.0, 6.5, 2.0]),
        ("pair", [[0, 0], [1, 1], [0, 0]], 2.0, [0.0, 6.0, 0.0]),
        ("pair", [[0, 0], [0, 0], [0, 0]], 0.0, [0.0, 0.0, 0.0]),
        ("batch", [[1, 0], [0, 0], [0, 1]], 1.5, None),
        ("batch", [[0, 0], [0, 0], [0, 0]], 0.0, None),
    ],
)
def test_counts(per, counts, expected, split):
    """How much each value counts over classes; an example whose counts are all 0 is 0 and stays in the mean."""
    parameter = PAIRS.clone().requires_grad_()
    loss = Fixed(a=Term(parameter, per, count=torch.tensor(counts, dtype=torch.float32)))
    output = loss.evaluate()
    assert output.total.item() == pytest.approx(expected)
    assert (None if split is None else output.per_example.tolist()) == (None if split is None else pytest.approx(split))
    output.total.backward()
    assert torch.isfinite(parameter.grad).all()
    assert (parameter.grad != 0).tolist() == [[count > 0 for count in row] for row in counts]


def test_components_are_detached_clones():
    """Trainers scale losses in place."""
    parameter = PAIRS.clone().requires_grad_()
    output = Fixed(a=Term(parameter.mean(), "batch"), b=Term(parameter.mean(1), "example")).evaluate()
    before = output.total.item()
    split = output.per_example_components["b"]
    for part in (*output.components.values(), split):
        assert not part.requires_grad
        part.mul_(100)
    assert output.total.item() == before
    output.total.backward()
    assert parameter.grad.sum().item() == pytest.approx(2.0)
    single = Fixed(a=Term(parameter.mean(), "batch")).evaluate()
    single.components["a"].mul_(100)
    assert single.total.item() == 3.0
    example = Fixed("sum", a=Term(parameter.mean(1), "example")).evaluate()
    example.per_example_components["a"].zero_()
    assert example.per_example.tolist() == [2.0, 6.0, 1.0]
    example.per_example.zero_()
    assert example.total.item() == 9.0


def test_an_output_unpacks_into_total_and_components():
    """As `total, parts = output`; it cannot be changed."""
    output = Fixed(a=Term(PAIRS)).evaluate()
    total, parts = output
    assert total is output.total
    assert parts is output.components
    with pytest.raises(AttributeError):
        output.total = 5
    assert LossOutput(total, parts).per_example is None
    assert LossOutput(total, parts).per_example_components == {}


@pytest.mark.parametrize(
    "term, message",
    [
        (Term(PAIRS, "example"), "term 'a': values per 'example' must be 1-dim, got shape (3, 2)"),
        (Term(PAIRS[0], "pair"), "term 'a': values per 'pair' must be 2-dim, got shape (2,)"),
        (Term(PAIRS[:0]), "term 'a' is empty, shape (0, 2): the batch has no examples"),
        (Term(PAIRS[:0], "batch"), "term 'a' is empty, shape (0, 2)"),
        (Term(PAIRS, count=torch.ones(2)), "term 'a': count must have the shape of values, (3, 2), got (2,)"),
        (Term(PAIRS, count=torch.ones(3, 1)), "the shape of values, (3, 2), got (3, 1)"),
        (Term(PAIRS, "batch", count=torch.ones(())), "the shape of values, (3, 2), got ()"),
    ],
)
def test_wrong_shapes(term, message):
    """Nothing is broadcast silently, by forward or evaluate."""
    for call in (Fixed(a=term), Fixed(a=term).evaluate, Fixed(a=term, b=Term(PAIRS, weight=0.0)).evaluate):
        with pytest.raises(ShapeError) as caught:
            call()
        assert message in str(caught.value)


def test_terms_of_different_batches_are_refused():
    """The message shows the sizes."""
    with pytest.raises(ShapeError, match=r"terms differ in their number of examples: a \(3,\), b \(2,\)"):
        Fixed("none", a=Term(PAIRS), b=Term(PAIRS[:2]))()


def test_an_unknown_unit_or_reduction_is_refused():
    """The messages list the allowed values."""
    with pytest.raises(InputError, match="term 'a': per must be 'example', 'pair' or 'batch', got 'pixel'"):
        Fixed(a=Term(PAIRS, "pixel"))()
    with pytest.raises(InputError, match="reduction must be 'mean', 'sum' or 'none', got 'max'") as caught:
        Fixed("max")
    assert caught.value.reduction == "max"


def test_a_loss_without_terms_shows_the_method_to_write():
    """NotImplementedError, as Python has it."""
    with pytest.raises(NotImplementedError, match=r"Loss must define terms\(.*\) -> dict\[str, Term\]"):
        Loss()(PAIRS)


def test_any_module_can_be_evaluated():
    """Its 0-dim output is total and component; its values per example are unknown."""
    output = evaluate(nn.MSELoss(), PAIRS, PAIRS + 2)
    assert values(output) == (4.0, {"MSELoss": 4.0}, None)
    assert output.per_example_components == {}
    output.components["MSELoss"].zero_()
    assert output.total.item() == 4.0
    assert values(evaluate(Fixed(a=Term(PAIRS)))) == (3.0, {"a": 3.0}, [2.0, 6.0, 1.0])


def test_a_module_is_named_by_its_config():
    """As a composite names it; by its class only when no config built it."""
    with losses.scope() as registry:
        registry.register("squared")(Squared)
        output = evaluate(build("squared"), PAIRS, PAIRS + 2)
    assert values(output) == (4.0, {"squared": 4.0}, None)
    assert values(evaluate(Squared(), PAIRS, PAIRS + 2)) == (4.0, {"Squared": 4.0}, None)


@pytest.mark.parametrize(
    "module, given",
    [(nn.MSELoss(reduction="none"), r"\(3, 2\)"), (nn.Identity(), r"\(3, 2\)"), (nn.ModuleDict(), None)],
)
def test_a_module_must_give_one_value(module, given):
    """The message names the module and its output."""
    if given is None:
        module.forward = lambda *inputs: {"loss": 1}
        given = "dict"
    inputs = (PAIRS, PAIRS) if isinstance(module, nn.MSELoss) else (PAIRS,)
    with pytest.raises(ShapeError, match=f"{type(module).__name__} returned {given}, expected a 0-dim tensor"):
        evaluate(module, *inputs)


def test_the_parameters_are_shown():
    """repr of a loss, as torch users expect."""
    assert "reduction='mean'" in repr(Fixed())


@pytest.mark.parametrize("returned", [{}, None, {"a": torch.ones(2)}])
def test_terms_must_be_terms_by_name(returned):
    """The message shows the returned object."""

    class Wrong(Loss):
        def terms(self, input):
            return returned

    for call in (Wrong(), Wrong().evaluate):
        with pytest.raises(InputError, match=r"Wrong\.terms must return at least one Term by name, got"):
            call(torch.ones(2))


def test_a_count_needs_classes():
    """Values per example have no classes, so a count would be ignored."""

    class Counted(Loss):
        def terms(self, input):
            return {"a": Term(input, "example", count=torch.ones(2))}

    with pytest.raises(InputError, match="term 'a': values per 'example' have no classes for count to weight"):
        Counted()(torch.ones(2))


@pytest.mark.parametrize("reduction, expected", [("mean", 0.0), ("sum", 0.0), ("none", [0.0, 0.0])])
def test_weights_of_zero_leave_a_connected_zero(reduction, expected):
    """Logged terms alone: a training step runs, and changes nothing."""

    class Logged(Loss):
        def terms(self, input):
            return {"a": Term(input, "example", weight=0.0)}

    leaf = torch.ones(2, requires_grad=True)
    value = Logged(reduction=reduction)(leaf)
    value.sum().backward()
    assert value.tolist() == expected
    assert leaf.grad.tolist() == [0.0, 0.0]
