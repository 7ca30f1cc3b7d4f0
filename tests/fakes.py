"""Packages and distributions on disk, as pip would leave them."""

from __future__ import annotations

import importlib
import json
import sys
import textwrap
import threading
import time
from pathlib import Path

from lossreg import Registry
from lossreg.discovery import distributions
from lossreg.discovery.scan import discover

# Entries need not be losses: most tests need no torch.
BASE = "acme_base:Module"
PLAIN = """
    from acme_base import Module

    class {name}(Module): ...
"""
LOSS = """
    from torch import nn

    class {name}(nn.Module):
        def forward(self, input, target):
            return (input - target).abs().mean()
"""


def in_threads(count, work):
    """The results of work(index) in as many threads, all starting at once; one that hangs fails the test."""
    barrier = threading.Barrier(count)
    results: dict = {}

    def start(index):
        barrier.wait(timeout=120)
        try:
            results[index] = work(index)
        except BaseException as error:  # noqa: BLE001 - handed to the test
            results[index] = error

    threads = [threading.Thread(target=start, args=(index,), daemon=True) for index in range(count)]
    for thread in threads:
        thread.start()
    limit = time.monotonic() + 30
    for thread in threads:
        thread.join(max(0, limit - time.monotonic()))
    assert len(results) == count, "a thread hangs"
    for result in results.values():
        if isinstance(result, BaseException):
            raise result
    return [results[index] for index in range(count)]


def soon(call, *arguments):
    """The result of a call that would hang if a lock were held."""
    return in_threads(1, lambda _: call(*arguments))[0]


def _forget_caches():
    """Let imports and scans notice new files, also those that are written within one tick of the file system."""
    importlib.invalidate_caches()
    distributions.forget()


class Site:
    """A folder on sys.path, to be filled."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.distributions: set[str] = set()
        self.module("acme_base", "class Module: ...")

    def distribution(self, name: str, *, metadata: bytes | None = None, version: str = "1.0", **groups: dict) -> Path:
        """A dist-info folder; `losses={"focal": "acme:Focal"}` is an entry point of the group lossreg.losses."""
        lines = []
        for group, points in groups.items():
            lines += [f"[lossreg.{group}]", *(f"{point} = {value}" for point, value in points.items())]
        return self.raw_distribution(name, "\n".join(lines).encode(), metadata=metadata, version=version)

    def raw_distribution(
        self, name: str, entry_points: bytes, *, metadata: bytes | None = None, version: str = "1.0"
    ) -> Path:
        folder = self.root / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir(parents=True)
        header = f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n\nName: not this one\n"
        (folder / "METADATA").write_bytes(header.encode() if metadata is None else metadata)
        (folder / "entry_points.txt").write_bytes(entry_points)
        self.distributions.add(name)
        _forget_caches()
        return folder

    def module(self, name: str, source: str = "") -> Path:
        """A module; each part of the name before the last is a package."""
        *packages, last = name.split(".")
        folder = self.root
        for package in packages:
            folder = folder / package
            folder.mkdir(exist_ok=True)
            (folder / "__init__.py").touch()
        path = folder / f"{last}.py"
        path.write_text(textwrap.dedent(source))
        _forget_caches()
        return path

    def loss(self, name: str, *classes: str) -> Path:
        """A module with a loss of each of these names."""
        return self.module(name, "\n".join(textwrap.dedent(LOSS.format(name=each)) for each in classes))

    def plain(self, name: str, *classes: str) -> Path:
        """A module with classes that `registry` accepts and that are no losses."""
        return self.module(name, "\n".join(textwrap.dedent(PLAIN.format(name=each)) for each in classes))

    def package(self, name: str, manifest: object = None) -> Path:
        """An empty package, with a manifest if one is given: as text, or as data."""
        folder = self.root / name
        folder.mkdir()
        (folder / "__init__.py").touch()
        if manifest is not None:
            text = manifest if isinstance(manifest, str) else json.dumps(manifest)
            (folder / "lossreg.json").write_text(text)
        _forget_caches()
        return folder

    def registry(self) -> Registry:
        """A registry of the packages here, and of the installed ones."""
        distributions.forget()  # a test may have changed a file since
        return Registry(BASE, name="losses", discover=discover)

    def names(self, registry: Registry) -> list[str]:
        """Names that come from here."""
        return [name for name in registry if registry.entry(name).distribution in self.distributions]

    def failures(self, registry: Registry) -> dict[str, str]:
        """Messages by source, of what comes from here."""
        return {
            failure.source: str(failure.error)
            for failure in registry.failures
            if failure.distribution in {*self.distributions, "unknown"}
        }

    def forget(self) -> None:
        """Remove the modules of this folder from sys.modules."""
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", None)).startswith(str(self.root)):
                del sys.modules[name]


def transplant(monkeypatch, registry: Registry, fresh: Registry) -> None:
    """Let a registry of lossreg be like another, until the end of the test."""
    for name, value in vars(fresh).items():
        if name not in ("name", "_kind", "_module"):
            monkeypatch.setattr(registry, name, value)


def like_new(monkeypatch, registry: Registry) -> None:
    """Let a registry of lossreg discover again, as in a new process, until the end of the test."""
    distributions.forget()
    fresh = Registry(
        "torch.nn:Module",
        registry.name,
        kind=registry._kind,
        discover=registry._scan._discover,
        resolve=registry._resolve,
        restrict=registry._table.restrict,
    )
    transplant(monkeypatch, registry, fresh)


def put(registry: Registry, entries) -> None:
    """Add or replace entries, as discovery does."""
    registry._table.change(lambda draft: [draft.put(entry) for entry in entries] and None)
