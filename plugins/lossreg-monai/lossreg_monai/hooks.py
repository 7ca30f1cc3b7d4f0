"""MONAI's own way to write a config, `_target_: monai.losses.DiceLoss` with parameters beside it, as lossreg's."""

from __future__ import annotations

from typing import Any

from lossreg import hookimpl

TARGET = "_target_"
OF_MONAI = "monai.losses."


@hookimpl
def lossreg_transform_config(config: dict[str, Any]) -> None:
    """A bundle's target names a registered loss, or stays as it is: nothing is imported for it."""
    target = config.get(TARGET)
    if not isinstance(target, str) or not target.startswith(OF_MONAI) or "name" in config:
        return
    # What a bundle's parser reads and no loss takes.
    params = {key: value for key, value in config.items() if not (key.startswith("_") and key.endswith("_"))}
    config.clear()
    config.update(name=f"monai/{target.rpartition('.')[2]}", params=params)
