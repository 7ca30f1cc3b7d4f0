"""Targets that draw configs: their verdicts and their round trips."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lossreg
from lossreg import InvalidConfigError

from .target import Run, Target


def schema(folder: Path) -> Target:
    """Compare the verdicts of validate and of the JSON Schema, and validate the result of validate again."""
    from hypothesis import strategies as st
    from jsonschema import Draft202012Validator

    from ..configs import junk, mutated, valid

    validator = Draft202012Validator(lossreg.json_schema())

    def check(config: Any) -> None:
        try:
            found = lossreg.validate(config)
        except InvalidConfigError:
            assert not validator.is_valid(config), config
        else:
            assert validator.is_valid(config), config
            assert lossreg.validate(found) == found
            assert validator.is_valid(found.model_dump()), found

    return _drawn(st.one_of(valid(), mutated(), junk), check)


def round_trip(folder: Path) -> Target:
    """Build a valid config, and build what config_of returns, through YAML and JSON: the config is the same."""
    import yaml

    from ..configs import valid

    def check(config: Any) -> None:
        try:
            module = lossreg.build(config)
        except InvalidConfigError as error:
            if "the constructor of" in str(error):  # it refuses what its parameters allow
                return
            raise AssertionError(f"{config} is valid") from error
        found = lossreg.config_of(module)
        assert lossreg.config_of(lossreg.build(found)) == found
        for suffix, text in ((".yaml", yaml.safe_dump(found)), (".json", json.dumps(found))):
            path = folder / f"round{suffix}"
            path.write_text(text)
            assert lossreg.config_of(lossreg.build(lossreg.read_config(path))) == found

    return _drawn(valid(), check)


def _drawn(strategy: Any, check: Callable[[Any], None]) -> Target:
    """Let Hypothesis draw from the bytes of an input."""
    from hypothesis import HealthCheck, given, settings

    quiet = settings(database=None, deadline=None, suppress_health_check=[*HealthCheck])
    run: Run = quiet(given(strategy)(check)).hypothesis.fuzz_one_input  # type: ignore[attr-defined]
    chance = random.Random(0)
    return Target(run, [chance.randbytes(size) for size in (64, 256, 1024)])
