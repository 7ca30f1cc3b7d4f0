"""What a parameter may hold beside plain values: a loss, a part of one, a tensor, a function by its name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

LOSS = "loss"
TENSOR = "tensor"
FUNCTIONS = "functions"  # the key that says what the names of an enum stand for

_DEFINITIONS = "#/$defs/"


class Part(NamedTuple):
    """`Annotated[nn.Module, Part("reducer")]`: takes a registered part with this tag, as {name, params}."""

    role: str


class Functions(NamedTuple):
    """`Annotated[Callable, Functions({"relu": "torch:relu"})]`: takes a name, and calls for what it stands for."""

    targets: Mapping[str, str]

    def __hash__(self) -> int:  # `... | None` asks for one
        return hash(tuple(self.targets.items()))


def reference(role: str) -> dict[str, Any]:
    """The schema of a slot for a loss, a tensor or a part."""
    return {"$ref": _DEFINITIONS + role}


def role_of(schema: Mapping[str, Any]) -> str | None:
    """What a slot takes: "loss", "tensor", the role of a part; None for a plain value."""
    target = schema.get("$ref")
    return target.removeprefix(_DEFINITIONS) if isinstance(target, str) else None


LOSS_REF: str = reference(LOSS)["$ref"]
