"""The rows of "Coming from another library" in docs/losses.md, and the tensors that both of their sides get."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
import yaml

PAGE = Path(__file__).parents[2] / "docs" / "losses.md"
ROW = re.compile(r"^\| ([^`|]+) `([^`]+)`([^`|]*) \| ([a-z ]+) \| `([^`]+)`(?:, `([^`]+)`)? \|$", re.MULTILINE)
ARITHMETIC = re.compile(r"w|[\d. */n]+n[\d. */n]*")  # numbers that depend on the input


class Row(NamedTuple):
    """One row: a library, its code, a calculation with its value, the kind of target, and our config and call."""

    library: str
    theirs: str
    then: str
    target: str
    ours: str
    call: str

    def config(self, names: dict[str, Any]) -> Any:
        """Return the config of ours, in which weights and numbers of pixels are those of the input."""
        return _filled(yaml.safe_load(self.ours), names)

    def options(self, names: dict[str, Any]) -> dict[str, Any]:
        """Return what ours is called with besides input and target."""
        return eval(f"dict({self.call})", {"__builtins__": {"dict": dict}}, names)

    def value(self, library: dict[str, Any], names: dict[str, Any]) -> torch.Tensor:
        """Return the value of theirs: code that makes a loss of (x, t), or the value itself."""
        made = eval(self.theirs, library, names)
        value = made(names["x"], names["t"]) if callable(made) else made
        return eval(f"value{self.then}", {"value": value, "sum": torch.sum} | names)


def rows() -> list[Row]:
    """Return the rows of the page; none where the tests lie without it."""
    if not PAGE.exists():
        return []
    _, _, section = PAGE.read_text().partition("\n## Coming from another library\n")
    return [Row(*(cell or "" for cell in found)) for found in ROW.findall(section)]


def inputs(target: str, seed: int) -> dict[str, Any]:
    """Return the names that the page uses, for hard targets. With seed 1, some are empty; with 2, all are."""
    generator = torch.Generator().manual_seed(seed)
    channels = 1 if target in ("mask", "components") else 3
    x = (2 * torch.randn(3, channels, 8, 6, dtype=torch.float64, generator=generator)).requires_grad_()
    labels = torch.randint(0, 3, (3, 8, 6), generator=generator)
    if seed == 1:  # a class that is nowhere, and an image with one class
        labels[labels == 2], labels[0] = 0, 0
    if seed == 2:
        labels[:] = 0
    names: dict[str, Any] = {"x": x, "C": channels, "n": labels.numel(), "w": torch.tensor([1.0, 2.0, 4.0]).double()}
    names |= {"m": 0.5 + torch.rand(3, 1, 8, 6, dtype=torch.float64, generator=generator)}
    if target == "components":
        names |= _components()
        return names | {"t": (names["r"] > 0).double()}
    masks = F.one_hot(labels, 3).movedim(-1, 1).double()
    names["t"] = {"mask": masks[:, 1:2], "masks": masks}.get(target, labels)
    thin = torch.zeros(8, 6, dtype=torch.int64)
    thin[::3] = 1
    return names | {"k": names["m"] > 1, "s": labels * thin, "xs": [x, x[..., ::2, ::2]]}


def laid_out(library: str, names: dict[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    """Return the names with tensors of the shapes that the library takes, and with logits and masks of a dtype."""
    names = names | {name: v.to(dtype) for name in "xt" if (v := names[name]).is_floating_point()}
    change = LAYOUTS.get(library)
    return names | change(names) if change else names


def _with_channel(names: dict[str, Any]) -> dict[str, Any]:
    return {name: v[:, None] for name in "ts" if name in names and (v := names[name]).ndim == 3}


def _channels_last(names: dict[str, Any]) -> dict[str, Any]:
    x, t = names["x"], names["t"]
    masks = t if t.ndim == x.ndim else F.one_hot(t, x.shape[1]).movedim(-1, 1)
    return {"x": x.movedim(1, -1), "t": masks.movedim(1, -1)}


LAYOUTS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "MONAI": _with_channel,
    "nnU-Net": _with_channel,
    "Skeleton-Recall": _with_channel,
    "optax": _channels_last,
}


def _components() -> dict[str, Any]:
    """Return the numbers of components, and of the cells of pixels that are nearest to each."""
    r = torch.zeros(3, 1, 8, 6, dtype=torch.int64)
    r[:, 0, 1:3, 1:3], r[:, 0, 6, 2:5], r[1:, 0, 4, 5] = 1, 2, 3
    cells = torch.ones_like(r)
    cells[:, :, 5:], cells[1:, :, 3:5, 4:] = 2, 3
    return {"r": r, "v": cells}


def _filled(node: Any, names: dict[str, Any]) -> Any:
    if isinstance(node, dict):
        return {key: _filled(value, names) for key, value in node.items()}
    if isinstance(node, list):
        return [_filled(value, names) for value in node]
    if isinstance(node, str) and ARITHMETIC.fullmatch(node):
        value = eval(node, {"__builtins__": {}}, names)
        return value.tolist() if isinstance(value, torch.Tensor) else value
    return node
