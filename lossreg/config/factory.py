"""Factory: from a config to a module, and back from the module to the config that built it."""

from __future__ import annotations

import copy
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, cast

from lossreg.config.model import ConfigLike, checked
from lossreg.config.resolution import parameters, registry_of
from lossreg.errors import LossregError, Problem, ProviderError
from lossreg.messages import invalid, join
from lossreg.parameters.kind import Kind
from lossreg.parameters.kinds import record_of
from lossreg.parameters.record import Record
from lossreg.parameters.slots import FunctionName, Slot
from lossreg.parameters.types import LOSS
from lossreg.registries import hooks
from lossreg.registry.importing import import_target

if TYPE_CHECKING:
    from torch import nn

# A plain attribute: it travels with pickle and deepcopy, and leaves state_dict alone.
_CONFIG = "_lossreg_config"


def build(config: ConfigLike, *, providers: Collection[str] | None = None) -> nn.Module:
    """The loss that a config describes.

    Args:
        config: a name, {name, params}, any Mapping of that form, or a LossConfig.
        providers: allow only the losses of these providers, at any depth.
    Raises:
        InvalidConfigError: every problem at once, the constructor's included.
        ProviderError: the package of a loss fails to import.
    """
    return _construct(checked(config, providers), "", LOSS)


def config_of(module: nn.Module) -> dict[str, Any]:
    """The complete config that built a module, as plain data: `build(config_of(module))` gives the same one.

    Raises:
        LossregError: the module was not built by `build`.
    """
    config = vars(module).get(_CONFIG)
    if config is None:
        raise LossregError(
            f"{type(module).__name__} was not built by lossreg.build, so its config is not known;"
            " build it from {name, params}"
        )
    return dict(copy.deepcopy(config))


def _construct(config: dict[str, Any], path: str, role: str) -> nn.Module:
    registry = registry_of(role)
    full_name = f"{config['provider']}/{config['name']}"
    registry.get(full_name)
    entry = registry.entry(full_name)  # loaded
    where = join(path, "params")
    arguments = _arguments(record_of(parameters(entry, registry)), config["params"], where)
    try:
        module: nn.Module = hooks().call("lossreg_build", entry=entry, params=arguments)
    except Exception as error:  # whatever a constructor raises is an answer to these parameters
        problem = Problem(where, f"{entry.full_name} refused them: {type(error).__name__}: {error}")
        raise invalid([problem]) from error
    if not isinstance(module, registry.base_class):
        raise LossregError(f"the hooks made {module!r:.80} of {full_name}; lossreg_build returns an nn.Module")
    vars(module)[_CONFIG] = config
    return cast("nn.Module", module)


def _arguments(record: Record, values: dict[str, Any], path: str) -> dict[str, Any]:
    """Build the arguments of a constructor from validated values."""
    return {
        # Copied, so that a constructor which changes a list does not change the config.
        name: record.fields[name].map(copy.deepcopy(value), join(path, name), _argument)
        for name, value in values.items()
    }


def _argument(kind: Kind, value: Any, at: str) -> Any:
    """Build the module, function or tensor that a value stands for."""
    if isinstance(kind, FunctionName):
        return _function(kind.targets[value], at)  # the manifest's target, never the config's
    if not isinstance(kind, Slot):
        return _tensor(value, at)
    module = _construct(value, at, kind.role)
    beside = {key: value[key] for key in kind.siblings.fields if key in value}
    return {"loss": module} | _arguments(kind.siblings, beside, at) if "properties" in kind.schema else module


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
