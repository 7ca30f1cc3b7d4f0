"""Conversion of MONAI's configs, `_target_: monai.losses.DiceLoss` with parameters beside it, to lossreg's."""

from __future__ import annotations

from typing import Any

from lossreg import hookimpl

TARGET = "_target_"
OF_MONAI = "monai.losses."


@hookimpl
def lossreg_transform_config(config: dict[str, Any]) -> None:
    """Replace a bundle's target by the registered loss's name. Other targets stay unchanged; nothing is imported."""
    target = config.get(TARGET)
    if not isinstance(target, str) or not target.startswith(OF_MONAI) or "name" in config:
        return
    # Keys such as `_requires_` are for the bundle's parser and no parameters of a loss.
    params = {key: value for key, value in config.items() if not (key.startswith("_") and key.endswith("_"))}
    params |= params.pop("params")  # a form of lossreg's own
    config.clear()
    config.update(name=f"monai/{target.rpartition('.')[2]}", params=params)
