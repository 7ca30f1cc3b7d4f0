"""The cache of pictures: each loss is drawn again when its manifest entry, its code or the drawing code changed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import lossreg
from lossreg.registry.entry import Entry

EXAMPLES = Path(__file__).parents[3] / "examples"
DRAWING = (
    Path(__file__).with_name("pictures.py"),
    Path(__file__).with_name("scenes.py"),
    *sorted((Path(lossreg.__file__).parent / "authoring" / "plot").glob("*.py")),
    *(EXAMPLES / name for name in ("six_losses.py", "photographs.py", "pictures.py")),
)
RESULT = "drawn.json"  # written last: a folder without it is not finished

SCENE = "scene"  # the pictures that all losses share

Drawn = Mapping[str, Any]
Draw = Callable[[str, Path], Drawn]


def draw_all(entries: Sequence[Entry], folder: Path) -> dict[str, Drawn]:
    """Draw the losses and the scene that changed; return what `pictures.draw` returned for each loss, by its name."""
    keys = {entry.full_name: key(entry) for entry in entries} | {SCENE: _hash(_drawing())}
    return {name.rpartition("/")[2]: drawn for name, drawn in refreshed(keys, folder, _draw).items()}


def refreshed(keys: Mapping[str, str], folder: Path, draw: Draw) -> dict[str, Drawn]:
    """Return what `draw` returned for each name. It is called, in other processes, for those with another key.

    Args:
        keys: by name, the hash of all that its pictures depend on.
        folder: where each name has a folder for its pictures.
        draw: called with a name and its empty folder.
    """
    missing = [name for name, expected in keys.items() if _read(folder / name, expected) is None]
    if missing:
        context = get_context("spawn")  # torch's threads do not survive a fork
        with ProcessPoolExecutor(min(len(missing), os.cpu_count() or 1), context) as pool:
            list(pool.map(partial(_drawn, keys, folder, draw), missing))
    return {name: _read(folder / name, expected) or {} for name, expected in keys.items()}


def key(entry: Entry) -> str:
    """Return the hash of all that the pictures of a loss depend on."""
    module = find_spec(entry.target.partition(":")[0])
    code = Path(module.origin).read_bytes() if module and module.origin else b""
    return _hash(json.dumps(entry.metadata, sort_keys=True, default=_plain).encode(), code, _drawing())


def _hash(*parts: bytes) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


@cache
def _drawing() -> bytes:
    return b"\0".join(path.read_bytes() for path in DRAWING)


def _plain(value: Any) -> object:
    return dict(value) if isinstance(value, Mapping) else list(value)


def _read(folder: Path, expected: str) -> Drawn | None:
    try:
        found: dict[str, Any] = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found["drawn"] if found["key"] == expected else None


def _draw(name: str, folder: Path) -> Drawn:
    from gallery import pictures

    return pictures.draw_scene(folder) if name == SCENE else pictures.draw(name, folder)


def _drawn(keys: Mapping[str, str], folder: Path, draw: Draw, name: str) -> None:
    """Draw into an empty folder, in a process of its own; then put that into the place of the old one."""
    target = folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=target.parent, ignore_cleanup_errors=True) as new:
        made = Path(new) / target.name
        made.mkdir()
        found = {"key": keys[name], "drawn": draw(name, made)}
        (made / RESULT).write_text(json.dumps(found), encoding="utf-8")
        shutil.rmtree(target, ignore_errors=True)
        made.rename(target)
