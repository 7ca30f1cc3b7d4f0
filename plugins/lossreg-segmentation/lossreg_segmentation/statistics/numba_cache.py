"""Compiled kernels on disk, for all processes: compiled again after an edit or an upgrade, and if files are damaged.

Numba's own key holds the file of a kernel, the kernel's code and constants, Numba's version and the CPU, but not the
other files whose functions the kernel calls.
"""

# mypy: allow-untyped-calls

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from importlib import resources
from typing import Any

from numba import njit
from numba.core.caching import FunctionCache, IndexDataCacheFile


def kept_on_disk(function: Callable[..., Any], options: Mapping[str, Any]) -> Any:
    """Compile a kernel on its first call, or read it from disk; without the disk if no folder is writable."""
    kernel = njit(**options)(function)
    with suppress(RuntimeError):  # Numba finds no folder: a read-only installation and no home
        kernel._cache = KernelCache(function)
    return kernel


class KernelCache(FunctionCache):
    """Numba's cache of one kernel, in the folder that Numba chooses, with the sources of all kernels in its key."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        stamp = self._impl.locator.get_source_stamp(), digest()
        self._cache_file = IndexDataCacheFile(self._cache_path, self._impl.filename_base, stamp)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Read a kernel; None if there is none or its file is damaged, as after a crash."""
        try:
            return super().load_overload(sig, target_context)
        except Exception as error:  # noqa: BLE001 - a damaged pickle may raise anything
            reason = f"{type(error).__name__}: {error}"
            warnings.warn(
                f"a kernel in {self.cache_path} cannot be read ({reason}), so it is compiled again", stacklevel=2
            )
            with suppress(OSError):
                self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Write a kernel; a full disk is no reason to stop a training."""
        with suppress(OSError):
            super().save_overload(sig, data)


@cache
def digest() -> str:
    """Return a hash of all files whose functions and constants the kernels use."""
    files = (each for each in resources.files(__package__).iterdir() if _is_source(each.name))
    parts = (each.read_bytes() for each in sorted(files, key=lambda each: each.name))
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def _is_source(name: str) -> bool:
    return name.endswith(".py") and (name.startswith("numba_") or name == "request.py")
