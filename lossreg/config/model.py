"""A loss config: `{name, params}`, validated to the last parameter before anything is built."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from lossreg.config.validation import complete


class LossConfig(BaseModel):
    """A loss by name and parameters. What `validate` returns is complete: every default is written out.

    name: registered name, alias or provider/name. provider and version: what built it, for saved configs; a provider
    also picks among those that share a name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    params: dict[str, Any] = Field(default_factory=dict)
    provider: str | None = None
    version: str | None = None


ConfigLike = str | Mapping[str, Any] | LossConfig


def validate(config: ConfigLike, *, providers: Collection[str] | None = None) -> LossConfig:
    """Check a config completely and fill in the defaults.

    Imports neither torch nor the loss when a manifest describes it.

    Args:
        config: a name, {name, params}, any Mapping of that form, or a LossConfig.
        providers: allow only the losses of these providers, at any depth.
    Raises:
        InvalidConfigError: every problem at once, each with its path.
        ProviderError: a loss had to be loaded and its package is broken.
    """
    return LossConfig(**checked(config, providers))


def checked(config: ConfigLike, providers: Collection[str] | None) -> dict[str, Any]:
    """What `validate` returns, as plain data."""
    if isinstance(config, LossConfig):
        config = config.model_dump(exclude_none=True)
    return complete(config, providers=providers)
