"""Targets that read what installed packages declare: metadata and manifests."""

from __future__ import annotations

import ast
import copy
import importlib
import importlib.metadata
import json
import random
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import lossreg
from lossreg import InvalidConfigError, LossregError, losses, parts
from lossreg.discovery import distributions, manifest
from lossreg.registry.entry import Entry

from .target import Target

TREE = Path(lossreg.__file__).parents[1]
POINTS = [b"[lossreg.losses]\na = m:A\n[lossreg.manifests]\nb = b:lossreg.json\n", b"[console_scripts]\nx = y:z\n"]
META = [b"Metadata-Version: 2.1\nName: fuzzed\nVersion: 1.0\n\nbody: x\n", b"Name: a-b\nVersion: 1!2.0.post1\n"]


def metadata(folder: Path) -> Target:
    """Compare names, versions and entry points of an installed distribution with those of importlib.metadata."""
    site = folder / "site"
    info = site / "fuzzed.egg-info"  # its version is in the metadata alone
    info.mkdir(parents=True, exist_ok=True)

    def run(data: bytes) -> None:
        header, _, points = data.partition(b"\0")
        (info / "PKG-INFO").write_bytes(header)
        (info / "entry_points.txt").write_bytes(points)
        path, sys.path = sys.path, [str(site)]
        try:
            distributions.forget()
            found = [item for item in distributions.scan().declared if isinstance(item, distributions.Declared)]
        finally:
            sys.path = path
            distributions.forget()
        if found and _is_plain(header, points):
            (known,) = importlib.metadata.distributions(path=[str(site)])
            groups = [distributions.LOSSES_GROUP, distributions.MANIFESTS_GROUP, distributions.HOOKS_GROUP]
            expected = [(p.group, p.name, p.value) for p in known.entry_points if p.group in groups]
            assert [(item.group, item.name, item.value) for item in found] == expected
            assert {item.version for item in found} == {known.version}

    words = [b"[", b"]", b"=", b"\n", b"lossreg.hooks", b"Name: ", b"Version: ", b"\0", b":", b".", b"\r\n", b"#", b";"]
    return Target(run, [a + b"\0" + b for a in META for b in POINTS], words)


def _is_plain(header: bytes, points: bytes) -> bool:
    """Return whether both readers agree by the specification: each line is a section, `name = value` or blank."""
    line = rb"(\[[\w.]+\]|[A-Za-z]\w* ?= ?[a-z]\w*:[A-Za-z]\w*)?\n"
    fields = rb"(Metadata-Version: 2\.1\n)?Name: [a-z]+\nVersion: [0-9][0-9.]*\n(\n.*)?"
    is_plain = re.fullmatch(rb"(%s)*" % line, points) and re.fullmatch(fields, header, re.DOTALL)
    return bool(is_plain) and points.startswith(b"[")


def manifest_bytes(folder: Path) -> Target:
    """Read a manifest of any bytes."""
    package = folder / "fuzzed_package"
    package.mkdir(exist_ok=True)
    (package / "__init__.py").touch()
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()

    def run(data: bytes) -> None:
        (package / "lossreg.json").write_bytes(data)
        found = manifest.read("fuzzed_package", "lossreg.json", str(folder))
        manifest.library(found, "fuzzed_package")
        for section in manifest.SECTIONS:
            for entry in manifest.entries(found, "fuzzed_package", section):
                assert isinstance(entry, (Entry, LossregError))

    small = json.dumps({"schema": 1, "losses": {"a": _real()["losses"]["product"]}}).encode()
    words = [
        b'"target"',
        b'"aliases"',
        b'"parameters"',
        b'"library"',
        b"NaN",
        b"Infinity",
        b"1e999",
        b"null",
        b"{",
        b"}",
    ]
    return Target(run, [small, b'{"schema": 1, "losses": {}}'], [*words, *b"{ } [ ] , :".split(), b'"', b"\\ud800"])


def _real() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((TREE / "lossreg/lossreg.json").read_text())
    return found


def manifest_structure(folder: Path) -> Target:
    """Change a real manifest at a few places, and use each entry that is accepted: look-up, config, schema, stub."""
    from jsonschema import Draft202012Validator

    from lossreg.authoring import stubs

    real = _real()["losses"]
    junk = [
        None,
        True,
        0,
        -1.5,
        10**30,
        "",
        "a b",
        "class",
        "é",
        "\n",
        [],
        {},
        [[]],
        {"$ref": "#/$defs/loss"},
        "dice",
        [],
    ]
    junk += [{"type": "number"}, {"anyOf": []}, {"enum": []}, "#/$defs/3d", {"class": {"type": "number"}}, "m:A.b"]

    def run(data: bytes) -> None:
        chance = random.Random(data)
        changed = {"changed": copy.deepcopy(real[chance.choice(sorted(real))])}
        for _ in range(chance.randint(1, 4)):
            _change(changed, chance, junk)
        with losses.scope(), parts.scope():
            for entry in manifest.entries({"losses": changed}, "fuzzed", provider="fuzzed"):
                if isinstance(entry, LossregError):
                    raise entry
                losses.add(entry)
                losses.find("a | !b")
                _invalid_config(entry.full_name)
                schema = lossreg.json_schema([entry.full_name])
                Draft202012Validator.check_schema(schema)
                json.dumps(schema, allow_nan=False)
                if chance.random() < 0.1:
                    for other in losses.entries():  # a stub of all losses takes a second
                        if other.provider != "fuzzed":
                            losses.unregister(other.full_name)
                    ast.parse(stubs.stub())

    return Target(run, [b"seed", b"other"])


def _invalid_config(name: str) -> None:
    with suppress(InvalidConfigError):
        lossreg.validate(name)


def _change(value: Any, chance: random.Random, junk: list[Any]) -> None:
    """Replace, remove or add one item somewhere in a value."""
    while isinstance(value, (dict, list)) and value:
        key: Any = chance.choice(sorted(value)) if isinstance(value, dict) else chance.randrange(len(value))
        if isinstance(value[key], (dict, list)) and value[key] and chance.random() < 0.8:
            value = value[key]
            continue
        what = chance.random()
        if what < 0.6:
            value[key] = copy.deepcopy(chance.choice(junk))
        elif what < 0.8:
            del value[key]
        elif isinstance(value, dict):
            value[str(chance.choice(junk))] = value.pop(key)
        return
