"""The page on the architecture: its picture is drawn from the imports, its walk is the one that a build takes."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import pytest

import lossreg

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "architecture.md"
PACKAGE = Path(lossreg.__file__).parent
CONFIG = {"name": "weighted_sum", "params": {"terms": [{"name": "dice", "params": {"smooth": 2.0}}]}}

pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="the documentation lies in the checkout")


def walk():
    """The rows of the table: each file, and the rooms that it calls."""
    rows = re.findall(r"^\| `config/(\w+)\.py` \|.*\|(.*)\|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return [(name, set(re.findall(r"`(\w+)`", calls))) for name, calls in rows]


def traced():
    """The files of config/ in the order of their first calls, and the rooms that each calls, while a loss is built."""
    order, calls = [], {}

    def place(frame):
        path = Path(frame.f_code.co_filename)
        return path.relative_to(PACKAGE).with_suffix("").parts if path.is_relative_to(PACKAGE) else None

    def profile(frame, event, argument):
        here = place(frame) if event == "call" else None
        caller = place(frame.f_back) if here else None
        if here and here[0] == "config" and here[1] not in order:
            order.append(here[1])
        if here and caller and caller[0] == "config" and here[0] not in ("config", "messages"):
            calls.setdefault(caller[1], set()).add(here[0])

    lossreg.build(CONFIG)  # imports and caches are not part of the walk
    sys.setprofile(profile)
    try:
        lossreg.build(CONFIG)
    finally:
        sys.setprofile(None)
    return order, calls


def test_the_walk_is_the_one_that_a_build_takes():
    """Files in their order, and the rooms that each calls. An entry is a value, which every file may read."""
    order, calls = traced()
    table = walk()
    assert order == list(dict.fromkeys(name for name, _ in table))
    listed = {name: set().union(*(rooms for each, rooms in table if each == name)) for name in order}
    assert {name: calls.get(name, set()) for name in order} == listed


def test_the_walk_has_few_rooms():
    """At most eight from `build` to the module, with the room of the losses themselves."""
    _, calls = traced()
    assert len({"config", "loss"}.union(*calls.values())) <= 8


def test_the_picture_is_drawn_from_the_imports():
    """`python docs/architecture.py` draws it again."""
    spec = importlib.util.spec_from_file_location("architecture", ROOT / "docs" / "architecture.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.PICTURE.read_text(encoding="utf-8") == module.picture()


def test_a_circle_is_an_error():
    """The picture has no floor for rooms that import each other."""
    spec = importlib.util.spec_from_file_location("architecture", ROOT / "docs" / "architecture.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with pytest.raises(ValueError, match="imports run in a circle: a, b"):
        module.floors({"a": {"b"}, "b": {"a"}, "c": set()})
