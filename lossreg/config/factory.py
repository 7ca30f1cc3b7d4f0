"""Factory: from a config to a module, and from a module to the config that built it."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, cast, overload

from lossreg.config.model import ConfigLike, LossConfig, Params, checked, config_from
from lossreg.config.resolution import parameters, registry_of
from lossreg.errors import LossregError, Problem, ProviderError
from lossreg.messages import invalid, join, with_type
from lossreg.parameters.kind import Kind
from lossreg.parameters.kinds import record_of
from lossreg.parameters.record import Record
from lossreg.parameters.slots import FunctionName, Slot
from lossreg.parameters.types import LOSS
from lossreg.registries import hooks
from lossreg.registry.importing import import_target

if TYPE_CHECKING:
    from torch import nn

# A plain attribute: pickle and deepcopy keep it, and state_dict does not contain it.
_CONFIG = "_lossreg_config"


@overload
def build(
    config: str,
    /,
    *,
    params: Params = None,
    provider: str | None = None,
    version: str | None = None,
    providers: Collection[str] | None = None,
    **parameters: Any,
) -> nn.Module: ...
@overload
def build(config: Mapping[str, Any] | LossConfig, /, *, providers: Collection[str] | None = None) -> nn.Module: ...
@overload
def build(
    *,
    name: str,
    params: Params = None,
    provider: str | None = None,
    version: str | None = None,
    providers: Collection[str] | None = None,
    **parameters: Any,
) -> nn.Module: ...


def build(
    config: ConfigLike | None = None,
    /,
    *,
    name: str | None = None,
    params: Params = None,
    provider: str | None = None,
    version: str | None = None,
    providers: Collection[str] | None = None,
    **parameters: Any,
) -> nn.Module:
    """Build the loss that a config describes.

    Example:
        `build("focal", gamma=2)` is `build({"name": "focal", "params": {"gamma": 2}})`. `build(name="focal",
        params={"gamma": 2})` is the form of Hydra's `_target_: lossreg.build`.

    Args:
        config: a name, {name, params}, any Mapping of that form, or a LossConfig.
        name, params, provider, version: a config as keywords, in place of a mapping.
        providers: allow only the losses of these providers, at any depth.
        parameters: of the loss. One called `name` or `params` is given in `params`.
    Raises:
        InvalidConfigError: every problem at once, the constructor's included.
        ProviderError: the package of a loss fails to import.
        TypeError: a mapping together with keywords.
    """
    keywords = {"name": name, "params": params, "provider": provider, "version": version}
    return _construct(checked(config_from(config, keywords, parameters), providers), "", LOSS)


def config_of(module: nn.Module) -> dict[str, Any]:
    """Return the complete config that built a module, as plain data: `build(config_of(module))` builds an equal one.

    Looks into torch's wrappers: compiled modules, DataParallel, DistributedDataParallel.

    Raises:
        LossregError: the module was not built by `build`.
    """
    inner: nn.Module | None = module
    while inner is not None and _CONFIG not in vars(inner):
        inner = _wrapped(inner)
    if inner is None:
        raise LossregError(
            f"{type(module).__name__} was not built by lossreg.build, so its config is not known;"
            " build it from {name, params}"
        )
    return dict(copy.deepcopy(vars(inner)[_CONFIG]))


def _wrapped(module: nn.Module) -> nn.Module | None:
    """Return the module within a wrapper of torch."""
    name = "_orig_mod" if "_orig_mod" in module._modules else "module"
    return module._modules.get(name) if type(module).__module__.startswith("torch.") else None


def _construct(config: dict[str, Any], path: str, role: str) -> nn.Module:
    registry = registry_of(role)
    full_name = f"{config['provider']}/{config['name']}"
    registry.get(full_name)
    entry = registry.entry(full_name)  # loaded
    where = join(path, "params")
    arguments = _arguments(record_of(parameters(entry, registry)), config["params"], where)
    try:
        module: nn.Module = hooks().call("lossreg_build", entry=entry, params=arguments)
    except ProviderError:  # of a hook, which it names
        raise
    except Exception as error:  # of any type: the constructor refuses these parameters
        problem = Problem(where, f"the constructor of {entry.full_name} raised {with_type(error)}")
        raise invalid([problem]) from error
    if not isinstance(module, registry.base_class):
        raise LossregError(f"the hooks made {module!r:.80} of {full_name}; lossreg_build returns an nn.Module")
    vars(module)[_CONFIG] = config
    return cast("nn.Module", module)


def _arguments(record: Record, values: dict[str, Any], path: str) -> dict[str, Any]:
    """Build the arguments of a constructor from validated values."""
    arguments = copy.deepcopy(values)  # a constructor that changes a list must not change the config
    for name in arguments:
        if name in record.slots:
            arguments[name] = record.slots[name].map(arguments[name], join(path, name), _argument)
    return arguments


def _argument(kind: Kind, value: Any, at: str) -> Any:
    """Build the module, function or tensor that a value stands for."""
    if isinstance(kind, FunctionName):
        return _function(kind.targets[value], at)  # the manifest's target, never the config's
    if not isinstance(kind, Slot):
        return _tensor(value, at)
    module = _construct(value, at, kind.role)
    beside = {key: value[key] for key in kind.siblings.fields if key in value}
    return {"loss": module} | _arguments(kind.siblings, beside, at) if kind.is_record else module


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
