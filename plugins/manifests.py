"""`lossreg manifest build PACKAGE...` and `check`, on a CPU build of torch, too.

torchvision, which timm and segmentation-models-pytorch import, looks for compiled operators that such a build lacks.
"""

import sys

import torch

from lossreg.cli import main


def declare_torchvision_operators() -> torch.library.Library:
    """Declare the schemas that torchvision's import requires. They last as long as the returned library."""
    library = torch.library.Library("torchvision", "DEF")
    for operator in ("nms", "qnms"):
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


if __name__ == "__main__":
    keep = None if torch.cuda.is_available() else declare_torchvision_operators()
    sys.argv[1:1] = ["manifest"]
    main()
