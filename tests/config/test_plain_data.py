"""Plain data: copies, bounds, and values that JSON cannot hold."""

import enum
import math
from collections import OrderedDict, deque
from fractions import Fraction
from types import MappingProxyType

import pytest

from lossreg import InvalidConfigError
from lossreg.config.plain_data import MAX_NODES, plain
from lossreg.messages import join, shown


class Name(str, enum.Enum):  # noqa: UP042 - as users write it
    DICE = "dice"


class Size(enum.IntEnum):
    TWO = 2


def test_a_copy_of_dicts_and_lists():
    """Any mapping and sequence is copied; numbers and text get plain types."""
    given = MappingProxyType({"a": (1, deque([2.5])), Name.DICE: OrderedDict(b=Name.DICE, c=Size.TWO), "d": None})
    copied = plain(given)
    assert copied == {"a": [1, [2.5]], "dice": {"b": "dice", "c": 2}, "d": None}
    assert [type(key) for key in copied] == [str, str, str]
    assert type(copied["dice"]["b"]) is str
    assert type(copied["dice"]["c"]) is int
    assert copied["a"] is not given["a"]


@pytest.mark.parametrize(
    "value, message",
    [
        (math.nan, "a: expected a finite number, got nan"),
        (-math.inf, "a: expected a finite number, got -inf"),
        ({1}, "a: expected plain data as JSON holds it, got an object of type set"),
        (b"x", "a: expected plain data as JSON holds it, got an object of type bytes"),
        (object(), "an object of type object"),
        (print, "an object of type builtin_function_or_method"),
        ({5.5: 1}, "a: keys must be text, got 5.5; write the key in quotes"),
        ({True: 1}, "a: keys must be text, got True; write the key in quotes, as YAML reads yes and on as true"),
        ({None: 1}, "a: keys must be text, got None"),
        (lambda: {Fraction(10**5000): 1}, "a: keys must be text, got an object of type Fraction"),
        ({"\ud800": 1}, r"a: unreadable key: '\ud800'"),
        ({"\x1b[31m": 1}, r"a: unreadable key: '\x1b[31m'"),
        ({"k" * 10_001: 1}, "a: unreadable key: 'kkk"),
        ("\ud800", r"a: unreadable text '\ud800'"),
        ("x" * 10_001, "a: text of 10001 characters; at most 10000 are read"),
        (lambda: 10**5000, "a: expected an integer that a float can hold, got a huge integer"),
    ],
)
def test_values_that_json_cannot_hold(value, message):
    """Each message is one short line with its path. The huge integer is made late: pytest cannot print it."""
    with pytest.raises(InvalidConfigError) as caught:
        plain({"a": value() if isinstance(value, type(lambda: 0)) else value})
    assert message in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("text", ["", "é", "two\nlines with é", "\t", "日本", "x" * 10_000])
def test_ordinary_text_is_kept(text):
    """Several lines and any language are allowed."""
    assert plain({"a": text}) == {"a": text}


def test_all_problems_at_once():
    """All problems are reported, not only the first."""
    with pytest.raises(InvalidConfigError) as caught:
        plain({"a": [1, math.nan, {2}], "b": {"c": b""}})
    assert [problem.path for problem in caught.value.problems] == ["a[1]", "a[2]", "b.c"]
    assert str(caught.value).startswith("invalid loss config: 3 problems\n  a[1]: expected a finite number")


def test_depth_and_size_are_bounded():
    """A value that contains itself, and aliases that explode, soon end in an error."""
    itself: dict = {}
    itself["a"] = [itself]
    with pytest.raises(InvalidConfigError, match="nested deeper than 64 levels, or contains itself"):
        plain(itself)
    bomb: list = ["x"]
    for _ in range(40):
        bomb = [bomb, bomb]
    with pytest.raises(InvalidConfigError, match="the config holds more than 100000 values"):
        plain(bomb)
    assert len(plain([0] * (MAX_NODES - 1))) == MAX_NODES - 1


@pytest.mark.parametrize(
    "value, text",
    [
        ("a'b", 'the text "a\'b"'),
        (5, "5"),
        (True, "True"),
        (None, "None"),
        (1e-6, "1e-06"),
        ([1, 2], "a list of 2"),
        ({"a": 1}, "a mapping of 1"),
        (10**70, "a huge integer"),
        ({1}, "an object of type set"),
    ],
)
def test_values_are_shown_on_one_line(value, text):
    """This is how messages show given values."""
    assert shown(value) == text
    assert len(shown("x" * 1000)) < 90


def test_paths_are_joined():
    """Paths are written as in Python."""
    assert join(join(join("", "terms"), 1), "params") == "terms[1].params"
