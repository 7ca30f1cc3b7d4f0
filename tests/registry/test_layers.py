"""Layers against a dict: any changes, in any order, and old versions stay as they were."""

from hypothesis import given
from hypothesis import strategies as st

from lossreg.registry.layers import Layers

changes = st.dictionaries(st.sampled_from("abcdefgh"), st.one_of(st.none(), st.integers()), max_size=4)


@given(st.lists(changes, max_size=20))
def test_it_is_a_dict_that_never_changes(history):
    """A look-up, and all items, after each change, also of earlier versions."""
    layers, expected, versions = Layers(), {}, []
    for change in history:
        layers = layers.updated(change)
        expected = {key: value for key, value in {**expected, **change}.items() if value is not None}
        versions.append((layers, expected))
    for made, items in versions:
        assert made.merged() == items
        assert {key: made.get(key) for key in "abcdefgh"} == {key: items.get(key) for key in "abcdefgh"}


def test_n_changes_copy_few_items():
    """At most 1.5 n log2(n) of them, where a copy of the dict at each change would be n * n / 2."""
    copied, layers = 0, Layers()
    for number in range(4096):
        known = {id(layer) for layer in layers._layers}
        layers = layers.updated({f"k{number}": number})
        copied += sum(len(layer) for layer in layers._layers if id(layer) not in known)
        assert len(layers._layers) <= 13
    assert 4096 * 6 <= copied <= 4096 * 12 * 1.5
    assert layers.merged() == {f"k{number}": number for number in range(4096)}


def test_removed_keys_take_no_memory_for_ever():
    """A thousand keys that are set and removed leave next to no trace."""
    layers = Layers({f"k{number}": number for number in range(8)})
    for number in range(1000):
        layers = layers.updated({f"x{number}": number}).updated({f"x{number}": None})
    assert sum(map(len, layers._layers)) <= 24
    assert layers.updated({f"k{number}": None for number in range(8)}).merged() == {}
