"""Factory: from a config to a module, and back from the module to the config that built it."""

from __future__ import annotations

import copy
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from lossreg.config import ConfigLike, map_nested, parameters, validate
from lossreg.discovery import losses
from lossreg.errors import LossregError, Problem
from lossreg.parameters import Schema
from lossreg.plain import invalid, join

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
    checked = validate(config, providers=providers)
    return _construct(checked.model_dump(exclude_none=True), "")


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


def _construct(config: dict[str, Any], path: str) -> nn.Module:
    full_name = f"{config['provider']}/{config['name']}"
    entry = losses.entry(full_name)
    cls = losses.get(full_name)
    properties = parameters(entry)["properties"]
    where = join(path, "params")

    def nested(slot: Schema, item: dict[str, Any], at: str) -> Any:
        module = _construct(item, at)
        siblings = slot.get("properties")
        return module if siblings is None else {"loss": module} | {key: item[key] for key in siblings if key in item}

    arguments = {
        name: map_nested(properties[name], value, join(where, name), nested) for name, value in config["params"].items()
    }
    try:
        module = cls(**arguments)
    except Exception as error:  # whatever a constructor raises is an answer to these parameters
        problem = Problem(where, f"{entry.full_name} refused them: {type(error).__name__}: {error}")
        raise invalid([problem]) from error
    vars(module)[_CONFIG] = config
    return module
