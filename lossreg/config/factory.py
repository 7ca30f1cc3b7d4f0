"""Factory: from a config to a module, and from a module to the config that built it."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, cast, overload

from lossreg.config.arguments import made
from lossreg.config.model import ConfigLike, LossConfig, Params, checked, config_from
from lossreg.config.places import with_places
from lossreg.config.resolution import parameters, registry_of
from lossreg.errors import InvalidConfigError, LossregError, MissingLibraryError, Problem, ProviderError
from lossreg.messages import invalid, is_installed, join, with_type
from lossreg.parameters.converted import convert
from lossreg.parameters.kinds import record_of
from lossreg.parameters.types import LOSS
from lossreg.registries import hooks
from lossreg.registry.entry import Entry

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
        InvalidConfigError: every problem at once, a constructor's included if that is a TypeError or a ValueError.
        ProviderError, MissingLibraryError: what a loss or its constructor imports is broken, or not installed.
        NotFoundError: a loss was unregistered during the call.
        TypeError: a mapping together with keywords.
    """
    keywords = {"name": name, "params": params, "provider": provider, "version": version}
    given = config_from(config, keywords, parameters)
    try:
        return _construct(checked(given, providers), "", LOSS)
    except InvalidConfigError as error:
        raise with_places(error, given) from error.__cause__


def config_of(module: nn.Module) -> dict[str, Any]:
    """Return the complete config that built a module, as plain data: `build(config_of(module))` builds an equal one.

    Looks into torch's wrappers, nested ones too: compiled modules, DataParallel, DistributedDataParallel,
    FullyShardedDataParallel, CheckpointWrapper and AveragedModel.

    Raises:
        LossregError: the module was not built by `build`.
    """
    from lossreg.loss.wrappers import wrapped  # the package imports torch, which a module has imported before

    inner: nn.Module | None = module
    while inner is not None and _CONFIG not in getattr(inner, "__dict__", ()):
        inner = wrapped(inner)
    if inner is None:
        raise LossregError(
            f"{type(module).__name__} was not built by lossreg.build, so its config is not known;"
            " build it from {name, params}"
        )
    return dict(copy.deepcopy(vars(inner)[_CONFIG]))


def _construct(config: dict[str, Any], path: str, role: str) -> nn.Module:
    registry = registry_of(role)
    full_name = f"{config['provider']}/{config['name']}"
    cls = registry.get(full_name)
    entry = registry.entry(full_name)  # loaded
    where = join(path, "params")
    described = parameters(entry, registry)
    arguments = made(record_of(described), config["params"], where, _construct)
    convert(cls, arguments, where, described["properties"] if entry.requires else None)
    module = _called(entry, arguments, where)
    if not isinstance(module, registry.base_class):
        raise LossregError(f"the hooks made {module!r:.80} of {full_name}; lossreg_build returns an nn.Module")
    vars(module)[_CONFIG] = config
    return cast("nn.Module", module)


def _called(entry: Entry, arguments: dict[str, Any], where: str) -> object:
    """Call the constructor.

    Raises:
        InvalidConfigError: it refuses the arguments, by a TypeError, a ValueError or an error of lossreg.
        MissingLibraryError, ProviderError: it imports a module that is not installed, or that is broken.
        Exception: any other error passes with a note, such as that no memory is left: the config may be right.
    """
    try:
        return hooks().call("lossreg_build", entry=entry, params=arguments)
    except (ProviderError, MissingLibraryError):  # it names its package
        raise
    except (TypeError, ValueError, LossregError) as error:
        problem = Problem(where, f"the constructor of {entry.full_name} raised {with_type(error)}")
        raise invalid([problem]) from error
    except ImportError as error:
        raise _unmet(entry, error) from error
    except Exception as error:
        error.add_note(f"raised by the constructor of {entry.full_name}, which the config has at {where}")
        raise


def _unmet(entry: Entry, error: ImportError) -> ProviderError | MissingLibraryError:
    """Return the error for an import in a constructor that failed."""
    lacking = (error.name or "").partition(".")[0]
    if lacking and not is_installed(lacking):
        message = f"{entry.full_name} needs {lacking}, which is not installed; install it, as by pip install {lacking}"
        return MissingLibraryError(message, name=entry.name, distribution=lacking)
    message = f"the constructor of {entry.full_name} raised {with_type(error)}; repair the library that it imports"
    return ProviderError(message, name=entry.name, target=entry.target, distribution=entry.distribution)
