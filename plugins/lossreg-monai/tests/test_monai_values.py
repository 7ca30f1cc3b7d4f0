"""Values of MONAI's losses built from configs, and the warnings of the README."""

import math

import torch
from monai.apps.pathology.losses import HoVerNetLoss
from torch.nn.functional import one_hot

import lossreg


def build(name, **params):
    return lossreg.build({"name": f"monai/{name}", "params": params})


def test_values():
    """Half a mask found and nothing else: Dice 2/3, Tversky 1/(1 + beta), and (0.25)^2 log 4 of focal."""
    scores, mask = torch.tensor([[[[1.0, 0.0]]]]), torch.tensor([[[[1.0, 1.0]]]])
    torch.testing.assert_close(build("dice")(scores, mask).item(), 1 - 2 / 3, rtol=0, atol=1e-5)
    torch.testing.assert_close(build("tversky", alpha=0.1, beta=3.0)(scores, mask).item(), 0.75, rtol=0, atol=1e-5)
    logit = torch.full((1, 1, 1, 1), math.log(3))  # a probability of 3/4, where the mask is empty
    value = build("focal")(logit, torch.zeros(1, 1, 1, 1)).item()
    torch.testing.assert_close(value, 0.75**2 * math.log(4), rtol=1e-5, atol=0)


def test_hovernet_takes_branches_and_runs_backward():
    """The sum of its branches; each has a gradient."""
    branches = {"nucleus_prediction": 2, "horizontal_vertical": 2, "type_prediction": 3}
    outputs = {branch: torch.randn(2, count, 8, 8, requires_grad=True) for branch, count in branches.items()}
    classes = {branch: torch.randint(0, count, (2, 8, 8)) for branch, count in branches.items()}
    targets = {branch: one_hot(classes[branch], count).movedim(-1, 1).float() for branch, count in branches.items()}
    value = build("hovernet", lambda_hv_mse=4.0)(outputs, targets)
    torch.testing.assert_close(value, HoVerNetLoss(lambda_hv_mse=4.0)(outputs, targets))
    value.backward()
    assert all(torch.isfinite(output.grad).all() and output.grad.any() for output in outputs.values())


def test_a_mask_before_the_activation_is_a_loss_of_a_perfect_prediction():
    """The README's warning about MaskedLoss of logits; masked_dice applies its mask after the sigmoid."""
    mask = (torch.arange(64).reshape(1, 1, 8, 8) % 3 == 0).float()
    region = (torch.arange(8) < 4).float().expand(1, 1, 8, 8)
    logits = 40 * mask - 20
    dice = {"name": "monai/dice", "params": {"sigmoid": True}}
    assert build("masked", loss=dice)(logits, mask, region) > 0.1
    assert build("masked_dice", sigmoid=True)(logits, mask, region) < 1e-4


def test_half_precision_is_not_safe():
    """The sums of a large mask exceed 65504; the contract of every loss of MONAI has half_precision=False."""
    mask = torch.ones(1, 1, 512, 512, dtype=torch.float16)
    assert build("dice", sigmoid=True)(torch.zeros_like(mask), mask).isnan()
    entry = lossreg.losses.entry("monai/dice")
    assert entry.metadata["contract"]["half_precision"] is False
