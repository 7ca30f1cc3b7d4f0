"""Configs of PIQ's losses, compared with that library."""

import inspect
import json
import subprocess
import sys
from importlib import resources

import pytest
import torch

from lossreg import InvalidConfigError, build, validate

MANIFEST = json.loads((resources.files("lossreg_piq") / "lossreg.json").read_text())["losses"]
LEFT_OUT = {"kid": {"ret_var", "var_at_m"}}
OF_TWO_IMAGES = sorted({*MANIFEST} - {"total_variation", "kid"})
FIVE_SCALES = {"ms_ssim", "iw_ssim"}
CUT_OFF = {"vif", "fsim", "dss", "srsim"}
ONE_MINUS = {"ssim", "ms_ssim", "iw_ssim", "haarpsi", "vsi"}
REDUCED = sorted({*MANIFEST} - {"kid"})


def of(name, **params):
    return build({"name": f"piq/{name}", "params": params})


def refusal(name, **params):
    with pytest.raises(InvalidConfigError) as caught:
        validate({"name": f"piq/{name}", "params": params})
    return str(caught.value)


def class_of(name, piq):
    return getattr(piq, MANIFEST[name]["target"].partition(":")[2])


def images(side=64, channels=3):
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(2, channels, side, side, generator=generator) for _ in range(2)]


def features():
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(8, 4, generator=generator) for _ in range(2)]


def inputs_of(name):
    if name == "kid":
        return features()
    pair = images(161 if name in FIVE_SCALES else 64)
    return pair[:1] if name == "total_variation" else pair


@pytest.mark.parametrize("name", MANIFEST)
def test_it_builds_the_class_of_the_library(name, piq):
    """By its name, and by the name of the class."""
    assert type(of(name)) is class_of(name, piq)
    assert validate({"name": f"piq/{class_of(name, piq).__name__}"}).name == name


@pytest.mark.parametrize("name", MANIFEST)
def test_every_parameter_is_there_with_its_default(name, piq):
    """All have one; those with which a loss returns two values are left out."""
    properties = MANIFEST[name]["parameters"]["properties"]
    signature = inspect.signature(class_of(name, piq)).parameters
    assert properties.keys() == signature.keys() - LEFT_OUT.get(name, set())
    for parameter, described in properties.items():
        assert described["default"] == signature[parameter].default


@pytest.mark.parametrize("name", OF_TWO_IMAGES)
def test_an_image_is_like_itself(name):
    """Equal images cost nothing, and others something."""
    first, second = inputs_of(name)
    same, other = of(name)(first, first.clone()).item(), of(name)(first, second).item()
    assert same == pytest.approx(0, abs=1e-3)
    assert other > same + 0.01


@pytest.mark.parametrize("name", REDUCED)
def test_reductions(name):
    """One number per image, and their mean."""
    each = of(name, reduction="none")(*inputs_of(name))
    assert each.shape == (2,)
    torch.testing.assert_close(of(name, reduction="mean")(*inputs_of(name)), each.mean())
    assert "params.reduction" in refusal(name, reduction="batchmean")


@pytest.mark.parametrize("name", sorted({*REDUCED} - CUT_OFF))
def test_a_sum_is_of_similarities_where_these_are_compared(name):
    """Deviations are summed; for similarities the loss is one minus their sum, which differs by a constant."""
    each = of(name, reduction="none")(*inputs_of(name))
    offset = len(each) - 1 if name in ONE_MINUS else 0
    torch.testing.assert_close(of(name, reduction="sum")(*inputs_of(name)), each.sum() - offset)


@pytest.mark.parametrize("name", sorted(CUT_OFF))
def test_clamped_similarities_are_not_summed(name, piq):
    """The reason for excluding "sum": similar images add up to more than 1, and cost nothing."""
    assert "params.reduction" in refusal(name, reduction="sum")
    first, second = images()
    near = first.lerp(second, 0.1).requires_grad_()
    value = class_of(name, piq)(reduction="sum")(near, first)
    value.backward()
    assert value.item() == 0
    assert not near.grad.any()


@pytest.mark.parametrize("name", OF_TWO_IMAGES)
def test_the_range_of_the_data_is_a_unit(name):
    """Images from 0 to 255 with data_range=255 have the loss of images from 0 to 1."""
    first, second = inputs_of(name)
    value = of(name, data_range=255)(first * 255, second * 255)
    torch.testing.assert_close(value, of(name)(first, second), rtol=1e-3, atol=1e-4)


def test_losses_that_need_a_download_are_left_out(piq):
    """So are classes without a gradient; every other module of the library is declared."""
    modules = {name for name, value in vars(piq).items() if inspect.isclass(value)}
    left_out = modules - {class_of(name, piq).__name__ for name in MANIFEST}
    downloads = {"BRISQUELoss", "CLIPIQA", "ContentLoss", "DISTS", "LPIPS", "PieAPP", "StyleLoss"}
    assert left_out == downloads | {"FID", "GS", "IS", "MSID", "PR"}


@pytest.mark.filterwarnings("ignore")  # IS warns about its own computation
@pytest.mark.parametrize("name", ["FID", "IS", "MSID"])
def test_metrics_of_feature_sets_have_no_gradient(name, piq):
    """The reason for leaving them out."""
    first, second = torch.rand(20, 4, requires_grad=True), torch.rand(20, 4)
    assert not getattr(piq, name)()(first, second).requires_grad


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("ssim", {"data_range": 0}),
        ("ssim", {"k1": -0.1}),
        ("ms_ssim", {"kernel_size": 0}),
        ("iw_ssim", {"sigma_nsq": 0.0}),
        ("vif", {"sigma_n_sq": 0.0}),
        ("gmsd", {"t": 0.0}),
        ("ms_gmsd", {"alpha": 2.0}),
        ("mdsi", {"combination": "product"}),
        ("fsim", {"scales": 0}),
        ("fsim", {"mult": 1.5}),
        ("haarpsi", {"scales": 2}),
        ("dss", {"percentile": 0.0}),
        ("dss", {"sigma_weight": 0.0}),
        ("total_variation", {"norm_type": "l3"}),
        ("kid", {"subset_size": 1}),
        ("kid", {"ret_var": True}),
    ],
)
def test_values_without_a_meaning_are_invalid(name, params):
    """The library raises for few of these, and only in the call."""
    assert f"params.{list(params)[-1]}" in refusal(name, **params)


@pytest.mark.parametrize("name", ["ssim", "ms_ssim"])
def test_the_library_reports_an_even_window(name):
    """No schema excludes it; the library's own error passes."""
    with pytest.raises(AssertionError, match=r"Kernel size must be odd, got \[10\]"):
        of(name, kernel_size=10)


@pytest.mark.parametrize("scales", [2, 4])
def test_haarpsi_computes_with_three_scales_only(scales, piq):
    """The reason for excluding other numbers."""
    try:
        value = piq.HaarPSILoss(scales=scales)(*images())
    except RuntimeError:
        return
    assert not torch.isfinite(value) or not 0 <= value <= 1


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("ssim", {"kernel_size": 7, "kernel_sigma": 1, "k2": 0.4, "downsample": False}),
        ("vif", {"sigma_n_sq": 0.5}),
        ("gmsd", {"t": 0.01}),
        ("ms_gmsd", {"chromatic": True, "alpha": 0, "beta1": 0.1, "t": 100}),
        ("mdsi", {"combination": "mult", "beta": 0.2, "gamma": 0.3, "q": 0.5, "o": 0.5, "rho": 2}),
        ("fsim", {"chromatic": False, "scales": 3, "orientations": 2, "min_length": 3, "mult": 3}),
        ("vsi", {"c1": 1, "alpha": 0, "beta": 0.1}),
        ("srsim", {"chromatic": True, "scale": 0.5, "kernel_size": 5, "sigma": 2, "gaussian_size": 6}),
        ("haarpsi", {"scales": 3, "subsample": False, "c": 10, "alpha": 2}),
        ("dss", {"dct_size": 4, "percentile": 1, "kernel_size": 5}),
    ],
)
def test_parameters_arrive(name, params, piq):
    """The value is that of the library's own class with the same arguments, and not that of the defaults."""
    pair = images()
    value = of(name, **params)(*pair)
    torch.testing.assert_close(value, class_of(name, piq)(**params)(*pair))
    assert value.item() != pytest.approx(of(name)(*pair).item(), rel=1e-6)


@pytest.mark.parametrize("name", ["ms_ssim", "iw_ssim", "ms_gmsd"])
def test_weights_of_scales_become_a_tensor(name, piq):
    """Two scales take smaller images than five do."""
    by_hand = class_of(name, piq)(scale_weights=torch.tensor([0.3, 0.7]))
    torch.testing.assert_close(of(name, scale_weights=[0.3, 0.7])(*images()), by_hand(*images()))


def test_kid_of_subsets_draws_them(piq):
    """The same seed has the same value; by default the whole batch is one subset."""
    pair, params = features(), {"degree": 2, "gamma": 0.5, "average": True, "n_subsets": 2, "subset_size": 4}
    torch.manual_seed(0)
    value = of("kid", **params)(*pair)
    torch.manual_seed(0)
    torch.testing.assert_close(value, piq.KID(**params)(*pair))
    torch.testing.assert_close(of("kid")(*pair), of("kid")(*pair))


SQUARE = torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]])


@pytest.mark.parametrize(("norm_type", "value"), [("l1", 2.0), ("l2", 2**0.5), ("l2_squared", 2.0)])
def test_total_variation_by_hand(norm_type, value):
    """Two steps of one between neighbours."""
    assert of("total_variation", norm_type=norm_type)(SQUARE).item() == pytest.approx(value)


def test_ssim_of_constant_images_by_hand():
    """Without contrast the value depends on brightness alone: (2ab + c1) / (a^2 + b^2 + c1)."""
    a, b, c1 = 0.2, 0.6, 0.01**2
    dark, bright = torch.full((1, 1, 16, 16), a), torch.full((1, 1, 16, 16), b)
    expected = 1 - (2 * a * b + c1) / (a * a + b * b + c1)
    assert of("ssim")(dark, bright).item() == pytest.approx(expected, rel=1e-3)


def test_a_typo_is_reported_with_its_path():
    """With a similar parameter's name."""
    message = refusal("ssim", kernel_sise=7)
    assert "params.kernel_sise" in message
    assert "kernel_size" in message


@pytest.mark.tools
def test_listing_and_validating_imports_nothing_of_the_library():
    """Nor of torch."""
    code = (
        "import sys, lossreg;"
        "lossreg.losses.list();"
        "lossreg.validate({'name': 'piq/ssim', 'params': {'kernel_size': 7}});"
        "names = ('piq', 'torch', 'torchvision', 'lossreg_piq.overlay');"
        "print([name for name in names if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
