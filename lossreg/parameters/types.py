"""Marks in annotations for a part or a function, and how schemas refer to losses, parts and tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

LOSS = "loss"
TENSOR = "tensor"
FUNCTIONS = "functions"  # keyword: the function of each name in an enum

_DEFINITIONS = "#/$defs/"
_MODULE = ("torch.nn.modules.module", "Module")
_TENSOR = ("torch", "Tensor")


class Part(NamedTuple):
    """`Annotated[nn.Module, Part("reducer")]`: a registered part with this tag, as {name, params}."""

    role: str


class Functions(NamedTuple):
    """`Annotated[Callable, Functions({"relu": "torch:relu"})]`: configs hold a name, constructors get its function."""

    targets: Mapping[str, str]

    def __hash__(self) -> int:  # `... | None` requires it
        return hash(tuple(self.targets.items()))


def reference(role: str) -> dict[str, Any]:
    """Return the schema of a slot for a loss, a tensor or a part."""
    return {"$ref": _DEFINITIONS + role}


def role_of(schema: Mapping[str, Any]) -> str | None:
    """Return "loss", "tensor" or the role of a part, which a slot takes; None for a plain value."""
    target = schema.get("$ref")
    return target.removeprefix(_DEFINITIONS) if isinstance(target, str) else None


def is_module(hint: Any) -> bool:
    """Return whether a class derives from torch.nn.Module. By names: torch is not imported."""
    return _derives(hint, _MODULE)


def is_tensor(hint: Any) -> bool:
    """Return whether a class derives from torch.Tensor. By names: torch is not imported."""
    return _derives(hint, _TENSOR)


def torch_base(hint: Any) -> Any:
    """Return the class of torch that a class derives from, nn.Module or Tensor; None if neither."""
    known = (_MODULE, _TENSOR)
    return next((base for base in getattr(hint, "__mro__", ()) if (base.__module__, base.__name__) in known), None)


def _derives(hint: Any, known: tuple[str, str]) -> bool:
    return any((base.__module__, base.__name__) == known for base in getattr(hint, "__mro__", ()))
