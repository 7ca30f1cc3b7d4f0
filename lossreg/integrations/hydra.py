"""Losses as options of a Hydra config group: `python train.py loss=dice loss.params.smooth=0.5`."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from copy import deepcopy
from typing import Any

from lossreg.config.resolution import parameters
from lossreg.errors import LossregError, NotFoundError
from lossreg.messages import require
from lossreg.registries import losses
from lossreg.registry.entry import Entry

REQUIRED = "???"  # OmegaConf's mark of a required value


def register_hydra_configs(
    group: str = "loss", names: Iterable[str] | None = None, providers: Collection[str] | None = None
) -> None:
    """Store an option for each loss in Hydra's ConfigStore: {name, params}, with defaults, and ??? for required values.

    Call it before Hydra composes. Select a loss with `loss=dice` or `loss=monai/dice`, and build it with
    `lossreg.build(cfg.loss)`: an option has no `_target_`, so that `hydra.utils.instantiate(cfg.loss)` returns it
    unchanged. Another call replaces the options.

    Args:
        group: the config group of the options, such as "loss" or "training/loss".
        names: the losses, which are also the names of the options. None for all losses that can be described: each
            under provider/name, and under its short name if that is not ambiguous.
        providers: if given, only the losses of these providers.
    Raises:
        MissingLibraryError: Hydra is not installed.
        NotFoundError, ProviderError: a loss in `names` is unknown, broken or of another provider.
    """
    require("hydra", extra="hydra", use="options of Hydra")
    from hydra.core.config_store import ConfigStore

    options = _all(providers) if names is None else _named(names, providers)
    store = ConfigStore.instance()
    for name, params in options.items():
        # The provider is a folder of the group, so that `loss=monai/dice` is a path in it.
        provider, slash, short = name.rpartition("/")
        store.store(short, {"name": name, "params": params}, group=f"{group}{slash}{provider}", provider="lossreg")


def _all(providers: Collection[str] | None) -> dict[str, dict[str, Any]]:
    options: dict[str, dict[str, Any]] = {}
    for name in losses.list():
        entry = losses.entry(name)
        if entry.disabled_reason or (providers is not None and entry.provider not in providers):
            continue
        try:
            params = _defaults(entry)
        except LossregError:
            continue  # a broken loss raises its error when it is named
        options |= {name: params, entry.full_name: params}
    return options


def _named(names: Iterable[str], providers: Collection[str] | None) -> dict[str, dict[str, Any]]:
    options = {}
    for name in names:
        entry = losses.entry(name)
        if providers is not None and entry.provider not in providers:
            allowed = ", ".join(sorted(providers)) or "none"
            raise NotFoundError(f"{entry.full_name} is not allowed here; allowed providers: {allowed}", name=name)
        options[name] = _defaults(entry)
    return options


def _defaults(entry: Entry) -> dict[str, Any]:
    """Return a value for each parameter that has a default or is required."""
    described = parameters(entry)
    required = described.get("required", ())
    return {
        name: REQUIRED if name in required else deepcopy(part["default"])  # OmegaConf takes no frozen list
        for name, part in described["properties"].items()
        if name in required or "default" in part
    }
