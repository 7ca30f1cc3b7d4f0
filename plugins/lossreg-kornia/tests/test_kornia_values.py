"""Values of kornia's losses and functions built from configs, and the warnings of the README."""

import math

import pytest
import torch
from kornia import losses as kornia_losses

import lossreg


def build(name, **params):
    return lossreg.build({"name": f"kornia/{name}", "params": params})


def close(value, expected):
    torch.testing.assert_close(value.item(), expected, rtol=1e-5, atol=1e-6)


def images(*sizes):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, *sizes, generator=generator), torch.rand(2, *sizes, generator=generator)


def test_errors():
    """For an error of 2: ln 3 of Cauchy, sqrt 5 - 1 of Charbonnier, 1 of Geman-McClure, 1 - e^-2 of Welsch."""
    error = torch.tensor([2.0]), torch.tensor([0.0])
    expected = {
        "cauchy": math.log(3),
        "charbonnier": math.sqrt(5) - 1,
        "geman_mcclure": 1.0,
        "welsch": 1 - math.exp(-2),
    }
    for name, value in expected.items():
        close(build(name)(*error), value)


def test_psnr_and_total_variation():
    """An error of 0.1 everywhere is 20 decibels; a single bright pixel within has four edges."""
    close(build("psnr", max_val=1.0)(torch.full((1, 4), 0.6), torch.full((1, 4), 0.5)), -20.0)
    pixel = torch.zeros(1, 3, 3)
    pixel[0, 1, 1] = 1
    close(build("total_variation")(pixel), 4.0)


def test_tversky_weighs_both_errors():
    """Logits that are sure of class 0 everywhere, where half is class 1: no TP of it, and 1/(1 + alpha) of class 0."""
    logits = torch.tensor([50.0, -50.0]).view(1, 2, 1, 1).expand(1, 2, 1, 2)
    target = torch.tensor([[[0, 1]]])
    close(build("tversky", alpha=3.0, beta=0.5)(logits, target), 1 - 0.25 / 2)
    close(build("tversky", alpha=0.5, beta=3.0)(logits, target), 1 - (1 / 1.5) / 2)


@pytest.mark.parametrize("dimensions, sizes", [(1, (9,)), (2, (3, 4, 4)), (3, (2, 3, 3))])
@pytest.mark.parametrize("kernel", ["xu", "truncated_gaussian"])
@pytest.mark.parametrize("name", ["mutual_information", "normalized_mutual_information"])
def test_mutual_information_is_kornias_function(name, kernel, dimensions, sizes):
    """For each number of dimensions, by kernel, bins and radius."""
    function = getattr(kornia_losses, f"{name}_loss" + ("" if dimensions == 1 else f"_{dimensions}d"))
    module = build(name, spatial_dims=dimensions, kernel=kernel, num_bins=8, window_radius=2.0)
    expected = function(*images(*sizes), None, None, kornia_losses.MIKernel[kernel], 8, 2.0)
    torch.testing.assert_close(module(*images(*sizes)), expected)


def test_mutual_information_takes_masks():
    """Pixels outside the masks change nothing."""
    module, (first, second) = build("mutual_information", num_bins=8), images(4, 4)
    mask = torch.ones(4, 4, dtype=torch.bool)
    mask[:, 0] = False
    changed = first.clone()
    changed[..., 0] = 9.0
    torch.testing.assert_close(module(changed, second, mask, mask), module(first, second, mask, mask))


def test_the_rectangular_kernel_gives_no_gradient():
    """It counts samples; the others spread them."""
    first, second = images(4, 4)
    assert not build("mutual_information", kernel="rectangular")(first.requires_grad_(), second).requires_grad
    assert build("mutual_information")(first, second).requires_grad


def test_divergences():
    """(1/4, 3/4) from (1/2, 1/2), by hand, and the symmetry."""
    target, flat = torch.tensor([0.25, 0.75]).view(1, 1, 1, 2), torch.full((1, 1, 1, 2), 0.5)
    expected = 0.25 * math.log(0.5) + 0.75 * math.log(1.5)
    close(build("kl_div_2d")(flat, target), expected)
    assert build("kl_div_2d", reduction="none")(flat, target).shape == (1, 1)
    middle = [(0.25 + 0.5) / 2, (0.75 + 0.5) / 2]
    to_middle = [
        sum(p * math.log(p / m) for p, m in zip(row, middle, strict=True)) for row in ([0.25, 0.75], [0.5, 0.5])
    ]
    close(build("js_div_2d")(flat, target), sum(to_middle) / 2)
    torch.testing.assert_close(build("js_div_2d")(flat, target), build("js_div_2d")(target, flat))


@pytest.mark.parametrize("name", ["focal", "binary_focal"])
def test_ignored_pixels_count_in_the_mean(name):
    """The README's warning: half of them ignored halves the loss."""
    logits = torch.zeros(1, 2 if name == "focal" else 1, 2, 2)
    target = torch.zeros(1, 2, 2, dtype=torch.long) if name == "focal" else torch.zeros(1, 1, 2, 2)
    loss = build(name, alpha=None, reduction="mean")
    whole = loss(logits, target)
    target[..., 0] = -100
    torch.testing.assert_close(loss(logits, target), whole / 2)


def test_the_endpoint_error_of_equal_vectors_has_no_gradient():
    """The README's warning: NaN where the length of the difference is 0."""
    flow = torch.zeros(1, 2, 2, 2, requires_grad=True)
    build("endpoint_error")(flow, torch.zeros(1, 2, 2, 2)).backward()
    assert flow.grad.isnan().all()
