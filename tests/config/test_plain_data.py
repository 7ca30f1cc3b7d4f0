"""Plain data: copies, bounds, and values that JSON cannot hold."""

import enum
import math
from collections import OrderedDict, UserString, deque
from collections.abc import Mapping
from datetime import date
from fractions import Fraction
from pathlib import PurePosixPath
from types import MappingProxyType

import numpy as np
import pytest
from omegaconf import OmegaConf

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


class Plain(enum.Enum):
    HALF = 0.5
    WORD = "word"


class Scaled(int):
    """An int that raises where others compute, as those of other libraries may."""

    def __abs__(self):
        raise RuntimeError("abs")

    __str__ = __index__ = __float__ = __abs__


class Odd(str):
    """A text that raises where others compute."""

    def isprintable(self):
        raise RuntimeError("isprintable")

    __str__ = encode = isprintable


def test_values_that_stand_for_plain_ones():
    """Members of enums, paths and scalars of numpy are their values, exactly of the plain types."""
    given = [Plain.HALF, Plain.WORD, PurePosixPath("a/b"), np.float64(1.5), np.float32(0.5), np.int64(3), np.uint8(4)]
    given += [np.bool_(True), np.str_("x"), np.array(2.5), Scaled(7), Odd("odd")]
    copied = plain(given)
    assert copied == [0.5, "word", "a/b", 1.5, 0.5, 3, 4, True, "x", 2.5, 7, "odd"]
    assert [type(each) for each in copied] == [float, str, str, float, float, int, int, bool, str, float, int, str]


def test_whole_numbers_are_keys():
    """YAML writes them without quotes, and JSON can hold only text."""
    copied = plain({0: 1.0, -1: 2.0, np.int64(7): 3.0, Size.TWO: 4.0, Plain.WORD: 5.0, Odd("odd"): 6.0})
    assert copied == {"0": 1.0, "-1": 2.0, "7": 3.0, "2": 4.0, "word": 5.0, "odd": 6.0}
    assert {type(key) for key in copied} == {str}
    with pytest.raises(
        InvalidConfigError, match="a: two keys are written '0', one as a number and one as text; remove"
    ):
        plain({"a": {0: 1, "0": 2}})


class Broken(Mapping):
    """A mapping that raises at one key."""

    def __init__(self, error):
        self.error = error

    def __getitem__(self, key):
        if key == "bad":
            raise self.error
        return 1

    def __iter__(self):
        return iter(["good", "bad", "other"])

    def __len__(self):
        return 3


@pytest.mark.parametrize("error", [RuntimeError("two\nlines"), KeyError("x"), RecursionError("deep")], ids=type)
def test_an_object_that_cannot_be_read_is_a_problem_at_its_path(error):
    """The error is shown on one line, and is the cause; other problems are reported as well."""
    with pytest.raises(InvalidConfigError) as caught:
        plain({"a": [Broken(error)], "b": math.nan})
    first, second = caught.value.problems
    message = " ".join(f"{type(error).__name__}: {error}".split())
    assert first == ("a[0].bad", f"cannot be read: {message}; give a value of plain data")
    assert second.path == "b"
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), MemoryError()], ids=type)
def test_an_interrupt_passes(error):
    """What ends a program is no problem of a config."""
    with pytest.raises(type(error)):
        plain({"a": Broken(error)})


def test_what_omegaconf_cannot_resolve_is_a_problem_at_its_path():
    """Missing values and interpolations without a target."""
    config = OmegaConf.create({"name": "dice", "params": {"smooth": "???", "task": "${none}", "sizes": [1, "???"]}})
    with pytest.raises(InvalidConfigError) as caught:
        plain(config)
    assert [each.path for each in caught.value.problems] == ["params.smooth", "params.task", "params.sizes[1]"]
    assert "cannot be read: MissingMandatoryValue: Missing mandatory value" in caught.value.problems[0].message
    assert "cannot be read: InterpolationKeyError: Interpolation key 'none'" in caught.value.problems[1].message


@pytest.mark.parametrize(
    "value, message",
    [
        (UserString("dice"), "a: expected text, got an object of type UserString; write str(...)"),
        (frozenset({1}), "got an object of type frozenset; write a list"),
        (np.zeros(3), "got an object of type ndarray; write its tolist()"),
        (date(2020, 1, 2), "got the date or time 2020-01-02; write it in quotes: '2020-01-02'"),
        (np.longdouble(1.5), "got an object of type longdouble"),
        (np.complex128(1j), "got an object of type complex"),
        (math.nan, "a: expected a finite number, got nan"),
        (-math.inf, "a: expected a finite number, got -inf"),
        ({1}, "a: expected plain data as JSON holds it, got an object of type set; write a list"),
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
