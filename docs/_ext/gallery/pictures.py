"""Pictures of one loss: its curves as SVG, and as pixels where it pushes the predictions of the scenes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from gallery import scenes
from gallery.scenes import PUSHES, Picture, Scene, shade
from lossreg import build, losses
from lossreg.authoring.plot import PANELS, panels, svg
from lossreg.authoring.plot.calls import Value, caller, channels_of
from lossreg.authoring.plot.drawing import ALONE, figure
from lossreg.errors import LossregError

SCALE = 3  # pixels of a picture for a pixel of the scene
GAP = 2  # pixels between the parts of a strip

_STYLE = re.compile(r"<defs>\s*<style.*?</style>\s*</defs>", re.DOTALL)
_SIZE = re.compile(r'(<svg[^>]*?) width="[^"]*"', re.DOTALL)
_HEIGHT = re.compile(r'(<svg[^>]*?) height="[^"]*"', re.DOTALL)


def draw(name: str, folder: Path) -> dict[str, Any]:
    """Draw a loss into a folder, and return the names of its panels and its values; or the reason why it has none."""
    torch.set_num_threads(1)
    entry = losses.entry(name)
    try:
        channels = channels_of(entry)
        curves = panels(name)
    except LossregError as error:
        return {"reason": str(error)}
    for key, panel in curves.items():
        if panel.lines:
            (folder / f"{key}.svg").write_text(inline(svg(figure(panel)), panel.title, f"{entry.name}-{key}"), "utf-8")
    value = caller(build({"name": name, "params": dict(entry.metadata.get("example", {}))}), channels)
    mistaken, push = _pushed(value, scenes.mistaken())
    _save(_coloured([push])[0], folder / f"push-{entry.name}.png")
    found = {key: _pushed(value, scene) for key, scene in scenes.single_mistakes().items()}
    _save(strip(_coloured([push for _, push in found.values()])), folder / f"compare-{entry.name}.png")
    nothing, _ = _pushed(value, scenes.nothing())
    return {
        "panels": [key for key in PANELS if key in curves and curves[key].lines],
        "values": {key: loss for key, (loss, _) in found.items()} | {"mistaken": mistaken, "nothing": nothing},
    }


def inline(text: str, title: str, prefix: str) -> str:
    """Return an SVG that can stand in a page: of the page's colour and width, with a name, and with ids of its own."""
    text = _STYLE.sub("", text[text.index("<svg") :].replace(ALONE, ""))
    text = _HEIGHT.sub(r"\1", _SIZE.sub(r"\1", text, count=1), count=1)
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\1{prefix}-", text)
    return text.replace("<svg", f'<svg role="img" aria-label="{title}"', 1)


def draw_scene(folder: Path) -> dict[str, Any]:
    """Draw the pictures that all losses share: photograph, target and predictions."""
    photograph, vessels = scenes.photograph()
    mistaken = scenes.mistaken()
    _save(shade(photograph), folder / "photograph.png")
    _save(shade(vessels.astype(float)), folder / "target.png")
    _save(shade(1 / (1 + np.exp(-mistaken.logits))), folder / "prediction.png")
    _save(scenes.seen(mistaken), folder / "mistakes.png")
    _save(strip([scenes.seen(scene) for scene in scenes.single_mistakes().values()]), folder / "one-by-one.png")
    return {}


def _pushed(value: Value, scene: Scene) -> tuple[float, Picture]:
    """Return the loss of a scene, and the opposite of its gradient by the logits, (H, W)."""
    logits = torch.from_numpy(scene.logits.astype(np.float32))[None, None].requires_grad_()
    target = torch.from_numpy(scene.target.astype(np.float32))[None, None]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        loss = value(logits, target)
    if not loss.requires_grad:
        return loss.item(), np.zeros_like(scene.logits)
    (slope,) = torch.autograd.grad(loss, logits)
    return loss.item(), -slope[0, 0].numpy().astype(float)


def _coloured(pushes: Sequence[Picture]) -> list[Picture]:
    """Return pushes as colours of one scale: blue up, orange down, black none. Its root shows weak ones, too."""
    largest = max(np.quantile(np.abs(push), 0.995) for push in pushes) or 1.0
    scaled = [np.clip(push / largest, -1, 1) for push in pushes]
    return [PUSHES(0.5 + np.sign(each) * np.sqrt(np.abs(each)) / 2)[..., :3] for each in scaled]


def strip(parts: Sequence[Picture]) -> Picture:
    """Return pictures side by side, between them transparent gaps."""
    height, width = parts[0].shape[:2]
    whole = np.zeros((height, len(parts) * (width + GAP) - GAP, 4))
    for index, part in enumerate(parts):
        left = index * (width + GAP)
        whole[:, left : left + width, :3], whole[:, left : left + width, 3] = part[..., :3], 1
    return whole


def _save(picture: Picture, path: Path) -> None:
    """Write a picture, (H, W, 3) or with transparency (H, W, 4), as a small PNG."""
    pixels = (255 * picture).round().astype(np.uint8).repeat(SCALE, 0).repeat(SCALE, 1)
    image = Image.fromarray(pixels)
    image.quantize(64, method=Image.Quantize.FASTOCTREE).save(path, optimize=True)
