"""Draw one prediction as six losses see it: where each of them pushes the prediction up or down.

    python examples/six_losses.py docs/images/six-losses.png

A piece of the retina of photographs.py, its vessels, and a prediction with four mistakes made on purpose.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from photographs import Image, Mask, retina
from pictures import FALSE_ALARM, MISS, Picture, compare
from scipy import ndimage
from torch import Tensor

import lossreg

LOSSES: dict[str, dict[str, object]] = {
    "bce": {},
    "focal": {},
    "dice": {},
    "tversky": {"alpha": 0.3, "beta": 0.7},  # a missed pixel costs more than a false one
    "cldice": {},
    "boundary": {},
}
WINDOW = (slice(70, 182), slice(222, 334))  # of the retina
GAP = (slice(0, 34), slice(34, 48))  # a vessel that is broken in two
THICK = (slice(26, 60), slice(78, 112))  # a vessel that is drawn too thick
BLOB, RADIUS = (44, 36), 6  # where nothing is
PUSHES = LinearSegmentedColormap.from_list("pushes", [FALSE_ALARM, "black", MISS])
GROUND, INK = "#16181d", "#e8e8e8"  # readable on a light page and on a dark one


def main(path: Annotated[Path, typer.Argument(help="The picture to write, a PNG.")]) -> None:
    """Draw photograph, prediction and mistakes, and below them a panel for each loss."""
    photograph, vessels = scene()
    logits = prediction(vessels)
    found = logits > 0
    pushes = [push(name, params, logits, vessels) for name, params in LOSSES.items()]
    figure = Figure(figsize=(7.8, 8.6), dpi=100, layout="constrained", facecolor=GROUND)
    panels = figure.subplots(3, 3, subplot_kw={"xticks": [], "yticks": []}).flat
    pictures = [shade(photograph), shade(1 / (1 + np.exp(-logits))), compare(found, vessels)]
    pictures += [PUSHES(0.5 + each / 2)[..., :3] for each in pushes]
    titles = ["photograph", "prediction", "its mistakes", *LOSSES]
    for axes, picture, title in zip(panels, pictures, titles, strict=True):
        axes.imshow(picture, interpolation="nearest")
        axes.set_title(title, color=INK, fontsize=20)
        axes.spines[:].set_visible(False)
    figure.supxlabel("blue: more of it here    orange: less", color=INK, fontsize=18)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def scene() -> tuple[Image, Mask]:
    """Return a piece of the photograph and its vessels."""
    darkness, vessels = retina()
    return -darkness[WINDOW], vessels[WINDOW]


def prediction(vessels: Mask) -> Image:
    """Return logits (H, W) that are right but for a gap, a thick vessel, a blob, and the thinnest vessels."""
    drawn = ndimage.binary_opening(vessels, iterations=1)  # loses vessels thinner than three pixels
    drawn[THICK] = ndimage.binary_dilation(drawn, iterations=2)[THICK]
    drawn[GAP] = False
    row, column = np.ogrid[: drawn.shape[0], : drawn.shape[1]]
    drawn |= (row - BLOB[0]) ** 2 + (column - BLOB[1]) ** 2 <= RADIUS**2
    logits: Image = 5 * ndimage.gaussian_filter(drawn.astype(float), 0.8) - 2.5
    return logits


def push(name: str, params: dict[str, object], logits: Image, vessels: Mask) -> Image:
    """Return where a loss pushes the logits, (H, W) from -1, strongly down, to 1, strongly up."""
    moved = torch.from_numpy(logits.astype(np.float32))[None, None].requires_grad_()
    value: Tensor = lossreg.build({"name": name, "params": params})(moved, torch.from_numpy(vessels)[None, None])
    (slope,) = torch.autograd.grad(value, moved)
    strength = -slope[0, 0].numpy()
    scaled: Image = np.clip(strength / np.quantile(np.abs(strength), 0.995), -1, 1)
    root: Image = np.sign(scaled) * np.sqrt(np.abs(scaled))  # shows weak pushes, too
    return root


def shade(image: Image) -> Picture:
    """Return an image as grey (H, W, 3) from its darkest to its brightest pixel."""
    low, high = np.quantile(image, [0.005, 0.995])
    return np.repeat(np.clip((image - low) / (high - low), 0, 1)[..., None], 3, axis=2)


if __name__ == "__main__":
    typer.run(main)
