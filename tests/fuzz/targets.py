"""The targets by name. Each is made with a folder for its files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from . import configs, files, masks, packages
from .target import Target

TARGETS: dict[str, Callable[[Path], Target]] = {
    "yaml": lambda folder: files.config_file(folder, ".yaml", files.YAML),
    "toml": lambda folder: files.config_file(folder, ".toml", files.TOML),
    "json": lambda folder: files.config_file(folder, ".json", files.JSON),
    "tags": files.tags,
    "manifest": packages.manifest_bytes,
    "manifest-structure": packages.manifest_structure,
    "metadata": packages.metadata,
    "schema": configs.schema,
    "round-trip": configs.round_trip,
    **{f"mask-{kind}": masks.images(kind) for kind in masks.FORMATS},
    "mask-array": masks.array,
    "mask-archive": masks.archive,
    "mask-volume": masks.volume,
    "mask-annotations": masks.annotations,
}
