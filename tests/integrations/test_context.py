"""The context of a batch, and the facts that a loader's batch holds."""

import pytest

from lossreg import InputError
from lossreg.integrations import Context
from lossreg.integrations.context import facts_of


def test_a_batch_begins_without_the_examples_of_the_last_one():
    """Step, epoch and split stay until they are set."""
    context = Context()
    context.begin(step=3, epoch=1, split="val", sample_ids=["a"], dataset="coco", path="a.png", caption="cat", size=1)
    context.begin(step=4)
    assert context == Context(step=4, epoch=1, split="val")


def test_an_unknown_fact_is_refused():
    """With the name that was meant, and nothing is changed."""
    context = Context(step=1)
    with pytest.raises(InputError, match="did you mean 'sample_ids'"):
        context.begin(sample_id=["a"])
    with pytest.raises(InputError, match="a batch has no 'zzz'; allowed are step, epoch, split"):
        context.begin(zzz=1)
    assert context == Context(step=1)


def test_a_pause_ends():
    """After an error, too; a pause inside a pause changes nothing."""
    context = Context()
    with context.paused():
        with context.paused():
            pass
        assert not context.counts
    with pytest.raises(KeyError), context.paused():
        raise KeyError
    assert context.counts


def test_facts_are_found_by_their_names():
    """In a mapping, as far as it has them; any other batch holds none."""
    batch = {"image": 1, "sample_ids": ["a"], "caption": ["b"]}
    assert facts_of(batch) == {"sample_ids": ["a"], "caption": ["b"]}
    assert facts_of((1, 2)) == facts_of(3) == {}


def test_facts_are_found_where_they_are_said_to_be():
    """By keys of a mapping or by numbers of a sequence; these alone."""
    assert facts_of({"id": ["a"], "caption": ["b"]}, {"sample_ids": "id"}) == {"sample_ids": ["a"]}
    assert facts_of((1, 2, ["a"]), {"sample_ids": 2}) == {"sample_ids": ["a"]}


@pytest.mark.parametrize(
    "batch, keys, message",
    [
        ({"image": 1}, {"sample_ids": "id"}, "wants sample_ids at 'id' of the batch, which has the keys image"),
        ((1, 2), {"path": 2}, "wants path at 2 of the batch, which has 2 items"),
        (3, {"path": 2}, "which has the type int"),
        ({}, {"sample_id": "id"}, "did you mean 'sample_ids'"),
        ({}, {"size": "n"}, "allowed are sample_ids, dataset, path, caption"),
    ],
)
def test_a_missing_key_is_refused(batch, keys, message):
    """The message lists the keys of the batch."""
    with pytest.raises(InputError, match=message):
        facts_of(batch, keys)
