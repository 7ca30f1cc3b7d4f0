"""Arguments of a constructor, from the validated values of a config: modules, functions and tensors for their names."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from lossreg.errors import Problem, ProviderError
from lossreg.messages import invalid, join
from lossreg.parameters.kind import Kind
from lossreg.parameters.record import Record
from lossreg.parameters.slots import FunctionName, Slot
from lossreg.registry.importing import import_target


def made(
    record: Record, values: dict[str, Any], path: str, construct: Callable[[Any, str, str], Any]
) -> dict[str, Any]:
    """Make the arguments.

    Args:
        record: the kinds of the parameters.
        values: the value of each.
        path: the place of the values in the config.
        construct: builds a nested loss or part, from its config, path and role.
    """

    def argument(kind: Kind, value: Any, at: str) -> Any:
        if isinstance(kind, FunctionName):
            return _function(kind.targets[value], at)  # the manifest's target, never the config's
        if not isinstance(kind, Slot):
            return _tensor(value, at)
        module = construct(value, at, kind.role)
        beside = {key: value[key] for key in kind.siblings.fields if key in value}
        return {"loss": module} | made(kind.siblings, beside, at, construct) if kind.is_record else module

    arguments = copy.deepcopy(values)  # a constructor that changes a list must not change the config
    for name in arguments:
        if name in record.slots:
            arguments[name] = record.slots[name].map(arguments[name], join(path, name), argument)
    return arguments


def _function(target: str, at: str) -> Any:
    try:
        return import_target(target)
    except (ImportError, AttributeError) as error:
        raise ProviderError(
            f"{at}: the function {target}, which its provider names, cannot be imported: {error};"
            " install a version that the provider describes",
            name=at,
            target=target,
            distribution=None,
        ) from error


def _tensor(value: Any, at: str) -> Any:
    import torch

    tensor = torch.tensor(value, dtype=torch.get_default_dtype())
    if not tensor.isfinite().all():
        raise invalid([Problem(at, f"a number is too large for {tensor.dtype}")])
    return tensor
