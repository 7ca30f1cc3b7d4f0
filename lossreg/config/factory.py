"""Factory: from a config to a module, and back from the module to the config that built it."""

from __future__ import annotations

import copy
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, cast

from lossreg.config.model import ConfigLike, checked
from lossreg.config.validation import parameters, registry_of
from lossreg.errors import LossregError, Problem, ProviderError
from lossreg.messages import invalid, join
from lossreg.parameters.traverse import map_nested
from lossreg.parameters.types import FUNCTIONS, LOSS, TENSOR, role_of
from lossreg.parameters.validator import Schema
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
    properties = parameters(entry, registry)["properties"]
    where = join(path, "params")
    arguments = {
        # Copied: what a constructor does to a list must not change the config.
        name: map_nested(properties[name], copy.deepcopy(value), join(where, name), _argument)
        for name, value in config["params"].items()
    }
    try:
        module: nn.Module = hooks().call("lossreg_build", entry=entry, params=arguments)
    except Exception as error:  # whatever a constructor raises is an answer to these parameters
        problem = Problem(where, f"{entry.full_name} refused them: {type(error).__name__}: {error}")
        raise invalid([problem]) from error
    if not isinstance(module, registry.base_class):
        raise LossregError(f"the hooks made {module!r:.80} of {full_name}; lossreg_build returns an nn.Module")
    vars(module)[_CONFIG] = config
    return cast("nn.Module", module)


def _argument(slot: Schema, value: Any, at: str) -> Any:
    """What a constructor is given for a value that is not plain: a module, a tensor or a function."""
    if FUNCTIONS in slot:
        return _function(slot[FUNCTIONS][value], at)  # the manifest's target, never the config's
    role = role_of(slot) or LOSS
    if role == TENSOR:
        return _tensor(value, at)
    module = _construct(value, at, role)
    siblings = slot.get("properties")
    if siblings is None:
        return module
    beside = {key: map_nested(siblings[key], value[key], join(at, key), _argument) for key in siblings if key in value}
    return {"loss": module} | beside


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
