"""A loss config: `{name, params}`, validated to the last parameter before anything is built."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, TypeAlias, overload

from pydantic import BaseModel, ConfigDict, Field

from lossreg.config.validation import complete
from lossreg.errors import Problem
from lossreg.messages import invalid, join, one_line


class LossConfig(BaseModel):
    """A loss by name and parameters. `validate` returns complete ones: every default is written out.

    Attributes:
        name: registered name, alias or provider/name.
        provider: of the loss; it also decides among losses that share a name.
        version: of the provider that built the loss, in saved configs.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    params: dict[str, Any] = Field(default_factory=dict)
    provider: str | None = None
    version: str | None = None


ConfigLike: TypeAlias = str | Mapping[str, Any] | LossConfig
Params: TypeAlias = Mapping[str, Any] | None


@overload
def validate(
    config: str,
    /,
    *,
    params: Params = None,
    provider: str | None = None,
    version: str | None = None,
    providers: Collection[str] | None = None,
    **parameters: Any,
) -> LossConfig: ...
@overload
def validate(config: Mapping[str, Any] | LossConfig, /, *, providers: Collection[str] | None = None) -> LossConfig: ...
@overload
def validate(
    *,
    name: str,
    params: Params = None,
    provider: str | None = None,
    version: str | None = None,
    providers: Collection[str] | None = None,
    **parameters: Any,
) -> LossConfig: ...


def validate(
    config: ConfigLike | None = None,
    /,
    *,
    name: str | None = None,
    params: Params = None,
    provider: str | None = None,
    version: str | None = None,
    providers: Collection[str] | None = None,
    **parameters: Any,
) -> LossConfig:
    """Check a config completely and fill in the defaults.

    Imports neither torch nor the loss when a manifest describes it.

    Args:
        config: a name, {name, params}, any Mapping of that form, or a LossConfig.
        name, params, provider, version: a config as keywords, in place of a mapping.
        providers: allow only the losses of these providers, at any depth.
        parameters: of the loss: `validate("focal", gamma=2)`. One called `name` or `params` is given in `params`.
    Raises:
        InvalidConfigError: every problem at once, each with its path.
        ProviderError: a loss had to be loaded and its package is broken.
        TypeError: a mapping together with keywords.
    """
    keywords = {"name": name, "params": params, "provider": provider, "version": version}
    return LossConfig(**checked(config_from(config, keywords, parameters), providers))


def checked(config: ConfigLike, providers: Collection[str] | None) -> dict[str, Any]:
    """Return the complete config as plain data."""
    if isinstance(config, LossConfig):
        config = config.model_dump(exclude_none=True)
    return complete(config, providers=providers)


def config_from(config: Any, keywords: Mapping[str, Any], parameters: Mapping[str, Any]) -> Any:
    """Return one config from the arguments of a call.

    Args:
        config: the positional argument; None if there is none.
        keywords: the keys of a config; None where a key is not given.
        parameters: of the loss.
    Raises:
        InvalidConfigError: a parameter is given twice.
        TypeError: a mapping or a second name together with keywords.
    """
    given = {key: value for key, value in keywords.items() if value is not None}
    if config is None and "name" not in given and "config" in parameters:
        # The keyword of frameworks that call by the names of a signature. With a name it is a parameter of the loss.
        parameters = dict(parameters)
        config = parameters.pop("config")
    if not given and not parameters:
        return config
    if isinstance(config, str):
        if "name" in given:
            raise TypeError(f"two names are given, {config!r} and name={given['name']!r}; write one of them")
        given["name"] = config
    elif config is not None:
        surplus = ", ".join([*given, *parameters])
        raise TypeError(f"a mapping takes no keywords beside it, got {surplus}; put them into the mapping")
    if parameters:
        given["params"] = _merged(given.get("params", {}), parameters)
    return given


def _merged(params: Any, parameters: Mapping[str, Any]) -> Any:
    if not isinstance(params, Mapping):
        return params  # refused by validation
    try:
        given = dict(params)
    except Exception as error:
        message = f"cannot be read: {one_line(error):.300}; give a value of plain data"
        raise invalid([Problem("params", message)]) from error
    twice = [name for name in parameters if name in given]
    if twice:
        message = "given twice, in params and as a keyword; give it once"
        raise invalid([Problem(join("params", name), message) for name in twice])
    return given | dict(parameters)
