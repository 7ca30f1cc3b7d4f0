"""The checks of RecordConfig, and the stable choice of samples."""

import math
import subprocess
import sys

import pytest

from lossreg import InputError
from lossreg.records import RecordConfig
from lossreg.records.sampling import chosen

NAMES = [f"image_{number}" for number in range(10_000)]


def test_everything_is_recorded_by_default():
    """Every step, every sample; and it cannot be changed by accident."""
    config = RecordConfig()
    assert (config.every, config.fraction, config.seed) == (1, 1.0, 0)
    with pytest.raises(AttributeError):
        config.every = 2


@pytest.mark.parametrize(
    "name, value, allowed",
    [
        ("every", 0, "an integer >= 1"),
        ("every", 2.0, "an integer >= 1"),
        ("every", True, "an integer >= 1"),
        ("fraction", 0, "a number > 0 and <= 1"),
        ("fraction", 1.5, "a number > 0 and <= 1"),
        ("fraction", math.nan, "a number > 0 and <= 1"),
        ("fraction", "1", "a number > 0 and <= 1"),
        ("seed", 0.5, "an integer"),
        ("flush_rows", 0, "an integer >= 1"),
        ("flush_seconds", 0, "a number > 0, in seconds"),
        ("flush_seconds", None, "a number > 0, in seconds"),
    ],
)
def test_wrong_values_are_named(name, value, allowed):
    """With the allowed values and the value given."""
    with pytest.raises(InputError) as caught:
        RecordConfig(**{name: value})
    assert str(caught.value) == f"RecordConfig: {name} must be {allowed}, got {value!r}"


@pytest.mark.parametrize("fraction", [0.01, 0.25, 0.9])
def test_the_share_of_the_samples(fraction):
    """Within five standard deviations of a coin with that chance."""
    count = sum(chosen(NAMES, fraction))
    assert abs(count - fraction * 10_000) < 5 * math.sqrt(10_000 * fraction * (1 - fraction))


def test_all_and_none():
    """Fractions of 1 and of nearly 0."""
    assert all(chosen(NAMES, 1.0))
    assert not any(chosen(NAMES, 1e-12))


def test_a_larger_share_contains_the_smaller_one():
    """So that a later run can record more."""
    small, large = chosen(NAMES, 0.1), chosen(NAMES, 0.3)
    assert all(large[i] for i, chosen in enumerate(small) if chosen)


def test_another_seed_chooses_others():
    """About as many; a tenth is the same."""
    first, second = chosen(NAMES, 0.1, seed=0), chosen(NAMES, 0.1, seed=1)
    assert 50 < sum(a and b for a, b in zip(first, second, strict=True)) < 150


@pytest.mark.tools
def test_the_choice_is_the_same_in_every_process():
    """For any PYTHONHASHSEED: literals, and another process."""
    names = ["a", "ä", "\udc80", *NAMES[:20]]
    code = f"from lossreg.records.sampling import chosen; print(chosen({names!r}, 0.5, seed=7))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(chosen(names, 0.5, seed=7))
    assert chosen("01234567", 0.5) == [False, False, False, True, False, True, False, True]
