"""Losses whose parameters need conversion, built from the configs in `python annotated.py < configs.json`."""

import enum
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel
from torch import nn

import lossreg


class Reduce(enum.Enum):
    MEAN = "mean"
    SUM = "sum"


class Point(NamedTuple):
    x: int
    y: float = 2.0


@dataclass
class Window:
    size: int = 3
    path: Path = Path("here")
    names: list[str] = field(default_factory=list)


class Model(BaseModel):
    window: Window = Window()
    weights: dict[int, float] = {0: 1.0}


@lossreg.losses.register("annotated")
class Annotated(nn.Module):
    """Keeps its arguments."""

    def __init__(
        self,
        how: Reduce = Reduce.MEAN,
        path: Path = Path("a"),
        names: frozenset[str] = frozenset("fedcba"),
        sizes: tuple[int, ...] = (1, 2),
        point: Point = Point(1),  # noqa: B008
        window: Window = Window(4),  # noqa: B008
        model: Model = Model(),  # noqa: B008
        weights: dict[int, Reduce] = {1: Reduce.SUM},  # noqa: B006
        nested: dict[int, nn.Module] | None = None,
        plain=(1, (2, 3)),
    ) -> None:
        super().__init__()
        self.given = how, path, sorted(names), sizes, point, window, model, weights, plain
        self.nested = {key: lossreg.config_of(value) for key, value in (nested or {}).items()}


def shown(config):
    """Return the arguments of the loss and its config, as text."""
    built = lossreg.build(config)
    return f"{built.given} {built.nested} {json.dumps(lossreg.config_of(built))}"


if __name__ == "__main__":
    for given in json.load(sys.stdin):
        print(shown(given))
