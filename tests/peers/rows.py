"""The tables of docs/coming_from/: their rows, and the tensors that both sides of a pair get."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
import yaml

PAGES = Path(__file__).parents[2] / "docs" / "coming_from"
LIBRARIES = {  # of the pages whose rows name none
    "monai.md": "MONAI",
    "smp.md": "smp",
    "kornia.md": "kornia",
    "nnunet.md": "nnU-Net",
    "mmsegmentation.md": "mmseg",
    "torchvision.md": "torchvision",
    "transformers.md": "transformers",
    "torch.md": "torch",
}
ROW = re.compile(r"^\| (?:([^`|]+) )?`([^`]+)`([^`|]*) \| ([a-z ]+) \| (.+) \|$", re.MULTILINE)
OURS = re.compile(r"`([^`]+)`(?:, `([^`]+)`)?")
NAMED = re.compile(r"^\| `(\w+)` \| `([a-z]+/\w+)` \|$", re.MULTILINE)
ARITHMETIC = re.compile(r"w|(?=.*[nCw])(?:n|C|sum\(w\)|[\d. */])+")  # numbers that depend on the input


class Row(NamedTuple):
    """One row: a library, its code, a calculation with its value, the kind of target, and our config and call.

    Without an equivalent, `ours` is empty and `reason` holds the reason.
    """

    page: str
    library: str
    theirs: str
    then: str
    target: str
    ours: str
    call: str = ""
    reason: str = ""

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

    def arguments(self, names: dict[str, Any]) -> tuple[Any, torch.Tensor]:
        """Return input and target of ours."""
        t = names["t"]
        several = {"levels": "xs", "heads": "heads"}.get(self.target, "x")
        return names[several], F.one_hot(t, 3).movedim(-1, 1) if self.target == "one hot" else t


def pages() -> list[Path]:
    """Return the pages; none where the tests lie without them."""
    return sorted(PAGES.glob("*.md"))


def rows(among: Iterable[Path] | None = None) -> list[Row]:
    """Return the rows of the pages, or of some of them."""
    return [_row(page.name, *cells) for page in among or pages() for cells in ROW.findall(page.read_text())]


def named(page: Path) -> list[tuple[str, str]]:
    """Return the classes of a page that keep their own arithmetic, and their names here."""
    return NAMED.findall(page.read_text())


def _row(page: str, library: str, theirs: str, then: str, target: str, ours: str) -> Row:
    found = OURS.fullmatch(ours)
    library = library or LIBRARIES[page]
    if found:
        return Row(page, library, theirs, then, target, found[1], found[2] or "")
    return Row(page, library, theirs, then, target, "", reason=ours.removeprefix("- "))


def inputs(target: str, seed: int) -> dict[str, Any]:
    """Return the names that the pages use, for hard targets. With seed 1, some are empty; with 2, all are."""
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
    names |= {"xs": [x, x[..., ::2, ::2]], "ts": [labels, labels[..., 1::2, 1::2]], "heads": [x, x.flip(1)]}
    thin = torch.zeros(8, 6, dtype=torch.int64)
    thin[::3] = 1
    distances = torch.tensor([[0, 1, 1], [1, 0, 0.5], [1, 0.5, 0]], dtype=torch.float64)
    return names | {"k": names["m"] > 1, "s": labels * thin, "D": distances}


def laid_out(library: str, names: dict[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    """Return the names with tensors of the shapes that the library takes, and with logits and masks of a dtype."""
    names = names | {name: v.to(dtype) for name in "xt" if (v := names[name]).is_floating_point()}
    change = LAYOUTS.get(library)
    return names | change(names) if change else names


def _with_channel(names: dict[str, Any]) -> dict[str, Any]:
    changed = {name: v[:, None] for name in "ts" if name in names and (v := names[name]).ndim == 3}
    return changed | ({"ts": [t[:, None] for t in names["ts"]]} if "ts" in names else {})


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
        value = eval(node, {"__builtins__": {}, "sum": torch.sum}, names)
        return value.tolist() if isinstance(value, torch.Tensor) else value
    return node
