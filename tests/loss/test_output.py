"""Term and LossOutput as objects: the unit of a term's values, and an output that unpacks but is no tuple."""

import copy
import pickle

import pytest
import torch
from torch.utils._pytree import tree_flatten

from lossreg import DTypeError, Loss, LossOutput, ShapeError, Term


class Distance(Loss):
    """Absolute differences, and their maximum for the log."""

    def terms(self, input, target):
        difference = (input - target).abs()
        return {"far": Term(difference), "worst": Term(difference.max(), per="batch", weight=0.0)}


@pytest.fixture
def output():
    input = torch.tensor([[1.0, 3.0], [5.0, 7.0]], requires_grad=True)
    return Distance().evaluate(input, torch.zeros(2, 2))


@pytest.mark.parametrize("shape, unit", [((3,), "example"), ((3, 2), "pair"), ((0,), "example"), ((0, 2), "pair")])
def test_the_unit_follows_from_the_number_of_dimensions(shape, unit):
    """One dimension is examples, two are examples and classes."""
    assert Term(torch.ones(shape)).per == unit


@pytest.mark.parametrize("shape", [(), (3, 2, 4)])
def test_other_values_need_their_unit(shape):
    """A whole-batch term is never inferred, because it takes the values per example from the loss."""
    with pytest.raises(ShapeError) as caught:
        Term(torch.ones(shape))
    expected = f"the values of a Term without per= are (B,) or (B, C), got shape {shape}; write per='batch' for values"
    assert str(caught.value).startswith(expected)
    assert Term(torch.ones(shape), per="batch").per == "batch"


def test_a_unit_that_is_given_is_kept():
    """Two dimensions may be of the batch as well."""
    assert Term(torch.ones(3, 2), "batch").per == "batch"


def test_the_values_are_a_tensor():
    """A number has no dimensions to infer from."""
    with pytest.raises(DTypeError, match="the values of a Term must be a tensor, got float"):
        Term(1.0)


def test_an_inferred_unit_reduces_like_one_that_is_given():
    """Means 2 and 6 of the examples, 4 of the batch."""
    values = torch.tensor([[1.0, 3.0], [5.0, 7.0]])

    class Given(Loss):
        def terms(self, term):
            return {"a": term}

    for reduction, expected in [("mean", 4.0), ("sum", 8.0), ("none", [2.0, 6.0])]:
        loss = Given(reduction=reduction)
        assert loss(Term(values)).tolist() == loss(Term(values.mean(1))).tolist() == expected


def test_an_output_is_a_pair(output):
    """Of total and components, by unpacking, index and length."""
    total, components = output
    assert total is output[0] is output.total
    assert components is output[1] is output.components
    assert len(output) == 2
    with pytest.raises(IndexError):
        output[2]


def test_an_output_is_no_tuple(output):
    """Frameworks rebuild tuples from their items, and the values per example would be lost."""
    assert not isinstance(output, tuple)
    leaves, _ = tree_flatten(output)
    assert leaves == [output]


def test_outputs_compare_by_identity(output):
    """Comparing tensors would give tensors."""
    assert output == output
    assert output != LossOutput(*output)
    assert {output: 1}[output] == 1


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda output: pickle.loads(pickle.dumps(output))])
def test_a_copy_has_every_field(output, duplicate):
    """Values per example included; deep copies need a total without a graph."""
    bare = LossOutput(output.total.detach(), output.components, output.per_example, output.per_example_components)
    made = duplicate(bare)
    assert type(made) is LossOutput
    assert made.total.item() == 4.0
    assert {name: value.item() for name, value in made.components.items()} == {"far": 4.0, "worst": 7.0}
    assert made.per_example.tolist() == made.per_example_components["far"].tolist() == [2.0, 6.0]


@pytest.mark.tools
def test_evaluation_compiles_without_a_graph_break(output):
    """To the same fields."""
    compiled = torch.compile(Distance().evaluate, fullgraph=True, backend="eager")
    made = compiled(torch.tensor([[1.0, 3.0], [5.0, 7.0]]), torch.zeros(2, 2))
    assert type(made) is LossOutput
    assert made.total.item() == output.total.item()
    assert made.per_example.tolist() == [2.0, 6.0]
    assert made.components.keys() == {"far", "worst"}
