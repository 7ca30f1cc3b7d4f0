"""The rows of the benchmark, and the bars for ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import peers
import peers_video
import torch
from peers import LossFunction, Peer

import lossreg


class Bar(NamedTuple):
    """The required speed of ours, in multiples of the fastest peer whose name has one of the words; None is no bar."""

    words: tuple[str, ...]
    cpu: float | None
    cuda: float | None


class Row(NamedTuple):
    """One row: the shape of the logits, our loss, the peers, the bars."""

    name: str
    shape: tuple[int, ...]
    config: dict[str, Any]
    peers: Callable[[], list[Peer]]
    bars: tuple[Bar, ...] = ()
    # "mask": (N, C, H, W). "shared": (N, H, W), for C masks with a predicted IoU. "index": (N, H, W) of C classes.
    # "discs": (N, C, H, W), and logits that nearly predict them. "video": "shared" in several steps, with scores.
    target: str = "mask"
    dtype: torch.dtype = torch.float32
    on_sums: bool = True  # True if ours is a function of sums, to which the bars of memory apply
    steps: int = 1  # of SAM 2, each with its own logits
    variants: tuple[str, ...] = ()  # other ways to run ours, of variants.py
    share: tuple[float, float] | None = None  # the least share of a plain copy, on a CPU and on a GPU; 0 is no bar
    python_calls: int | None = None  # the most Python calls in a step

    def ours(self) -> LossFunction:
        """Build our loss, as a function of the row's tensors."""
        loss: LossFunction = lossreg.build(self.config)
        return peers_video.from_tensors(loss) if self.target == "video" else loss


NOT_COMPILED = ("eager", "way", "MONAI", "kornia", "smp")
FASTEST = ("eager", "compiled", *NOT_COMPILED)
EAGER, COMPILED, MONAI = (("eager",), ("compiled",), ("MONAI",))
KEPT_BAR = 5.0  # bytes kept for backward per float32 logit, input and target included
EXTRA_BAR = 16.0  # MB at the peak, without input, target and gradient

USUAL = ("compiled", "tiled")
TARGETS = (*USUAL, "soft targets", "ignore_index")
DICE_CE = {
    "name": "weighted_sum",
    "params": {"terms": [{"name": name, "params": {"task": "multiclass"}} for name in ("dice", "cross_entropy")]},
}


def rows() -> list[Row]:
    """Return all rows, in the order of the table."""
    large, middle, small = (8, 1, 512, 512), (1, 1, 256, 256), (1, 1, 64, 64)
    named = {name: {"name": name} for name in ("sam", "sam2", "bce_dice_focal", "dice", "focal", "bce")}
    on_gpu, mixture_on_gpu = (
        (Bar(COMPILED, None, 1.3), Bar(EAGER, None, 3)),
        (Bar(COMPILED, None, 2), Bar(EAGER, None, 10)),
    )
    dice_bars, mixture_bars = (Bar(FASTEST, 1.3, None), *on_gpu), (Bar(FASTEST, 2, None), *mixture_on_gpu)
    sam_bars = (Bar(EAGER, 20, 20), Bar(COMPILED, 3, 2))
    focal_bars = (Bar(EAGER, 6, 10), Bar(COMPILED, 2, 2))
    class_bars = (Bar(MONAI, 8, 8), Bar(COMPILED, 3, 2))
    sam = Row("sam", (4, 3, 1024, 1024), named["sam"], peers.sam_peers, sam_bars, "shared")
    sam2 = Row("sam2", (8, 3, 256, 256), named["sam2"], peers_video.video_peers, sam_bars, "video", steps=8)
    mixture = Row("bce_dice_focal", large, named["bce_dice_focal"], peers.mixture_peers, mixture_bars)
    dice = Row("dice", large, named["dice"], peers.dice_peers, dice_bars)
    focal = Row("focal", large, named["focal"], peers.focal_peers, focal_bars)
    classes = Row("dice + cross_entropy", (2, 21, 512, 512), DICE_CE, peers.multiclass_peers, class_bars, "index")
    large_dice = dice._replace(bars=(*dice_bars, Bar(EAGER, 1.8, None)), share=(0.7, 0.8))
    return [
        sam._replace(variants=("evaluate", *USUAL)),
        sam2._replace(variants=USUAL),
        mixture._replace(bars=(Bar(FASTEST, 1.8, None), *mixture_on_gpu), variants=TARGETS),
        large_dice._replace(variants=("evaluate", *TARGETS)),
        focal._replace(variants=TARGETS),
        Row("bce", large, named["bce"], peers.bce_peers, variants=USUAL),
        classes._replace(variants=TARGETS),
        classes._replace(name="dice + cross_entropy of 150", shape=(2, 150, 512, 512), variants=USUAL),
        mixture._replace(name="bce_dice_focal small", shape=small, variants=USUAL),
        dice._replace(name="dice small", shape=small, variants=("evaluate", *USUAL), python_calls=90),
        mixture._replace(name="bce_dice_focal middle", shape=middle, variants=USUAL),
        dice._replace(name="dice middle", shape=middle, variants=USUAL),
        sam._replace(name="sam bfloat16", shape=(24, 3, 1024, 1024), bars=(), dtype=torch.bfloat16, share=(0.0, 0.6)),
    ]
