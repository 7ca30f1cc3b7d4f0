"""Any input of validate and build gives a result or a LossregError, in bounded time."""

import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lossreg import LossConfig, LossregError, build, config_of, validate

from ..budget import examples
from ..configs import junk, mutated, valid
from ..kinds import Module

anything = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.complex_numbers(),
        st.text(),
        st.binary(),
        st.dates(),
        st.just(object()),
        st.just(Module()),
        st.sampled_from(["dice", "weighted_sum", "name", "params", "\ud800", "x" * 10_001]),
        st.sampled_from([400, 5000]).map(lambda digits: -(10**digits)),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner, inner),
        st.frozensets(st.integers()),
        st.dictionaries(st.text(max_size=3) | st.sampled_from(["name", "params", "terms"]) | st.integers(), inner),
    ),
    max_leaves=10,
)
quick = settings(max_examples=examples(200, 1000), deadline=2000, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module")
def nn(torch):
    """Return torch.nn, after the imports that take seconds: no example includes them in its time."""
    build("sam")
    return torch.nn


def outcome(call, config):
    """Return the result or the LossregError; another exception fails the test, unless a constructor raised it."""
    try:
        return call(config)
    except LossregError as error:
        return error
    except Exception as error:
        (note,) = getattr(error, "__notes__", [""])
        if "raised by the constructor of" not in note:
            raise
        return LossregError(f"{note}: the constructor of a library raised it")


@quick
@given(anything)
def test_any_python_data(config):
    """Objects, bytes, NaN, surrogates and huge integers give a config or an error."""
    assert isinstance(outcome(validate, config), (LossConfig, LossregError))


@quick
@given(st.fixed_dictionaries({"name": st.sampled_from(["dice", "sam", "product"]), "params": anything}))
def test_any_parameters(config):
    """Any data as parameters of an existing loss give a config or an error."""
    assert isinstance(outcome(validate, config), (LossConfig, LossregError))


@quick
@given(st.one_of(mutated(), junk))
def test_nearly_valid_configs(nn, config):
    """Build and validate agree, except where a constructor raises."""
    checked, built = outcome(validate, config), outcome(build, config)
    if isinstance(checked, LossregError):
        assert str(built) == str(checked)
    else:
        assert isinstance(built, nn.Module) or "the constructor of" in str(built)


@quick
@given(valid())
def test_valid_configs(nn, config):
    """Valid configs are accepted; the config of the built module is the completed one."""
    checked = validate(config)
    built = outcome(build, config)
    if isinstance(built, LossregError):
        assert "the constructor of" in str(built)
    else:
        assert config_of(built) == checked.model_dump(exclude_none=True)
        assert config_of(build(config_of(built))) == config_of(built)


@pytest.mark.parametrize(
    "config",
    [
        {"name": "x" * 10_000},
        {"name": "dice", "params": {f"smoth{number}": 1 for number in range(90_000)}},
        {"name": "dice", **{f"param{number}": 1 for number in range(90_000)}},
        {"name": "weighted_sum", "params": {"terms": ["dicee"] * 90_000}},
        {"name": "weighted_sum", "params": {"terms": [{"name": "dice", "params": {"s" * 200: 1}}] * 9000}},
        {"name": "dice", "params": {"class_weight": ["x"] * 90_000}},
    ],
    ids=["long name", "parameters", "keys", "names", "long keys", "items"],
)
def test_large_configs_end_soon(config):
    """Searching similar names for every problem would take minutes."""
    start = time.monotonic()
    error = outcome(validate, config)
    assert isinstance(error, LossregError)
    assert len(str(error)) < 100_000
    assert time.monotonic() - start < 10
