"""The option classes of smp's losses, whose value is that of ours."""

import pytest
import torch

from lossreg import build


@pytest.mark.parametrize("classes", [[1, 2], [0, 2], [1]])
@pytest.mark.parametrize("mode", ["multilabel", "multiclass"])
def test_dice_of_some_classes_is_ours(smp, mode, classes):
    """smp adds up the batch, and a class without a pixel in it costs 0; in value and gradient."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, 3, 3, 5, dtype=torch.float64, generator=generator).requires_grad_()
    t = torch.randint(0, 3, (4, 3, 5), generator=generator)
    if mode == "multilabel":
        t = torch.nn.functional.one_hot(t, 3).movedim(-1, 1)
    params = {"task": mode, "classes": classes, "smooth": 0.0, "batch": True, "absent": "zero"}
    found, expected = build({"name": "dice", "params": params})(x, t), smp.DiceLoss(mode, classes=classes)(x, t)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=0)
    gradients = (torch.autograd.grad(value, x)[0] for value in (found, expected))
    torch.testing.assert_close(*gradients, rtol=1e-7, atol=1e-12)
