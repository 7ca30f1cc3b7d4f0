"""The manifest of MONAI's losses, compared with MONAI."""

import inspect
import json
import subprocess
import sys
from enum import Enum
from importlib import resources

import pytest
import torch
from monai.losses import (
    DeepSupervisionLoss,
    DiceCELoss,
    DiceLoss,
    FocalLoss,
    GeneralizedWassersteinDiceLoss,
    TverskyLoss,
)

import lossreg
from lossreg.registry.importing import import_target

MANIFEST = json.loads((resources.files("lossreg_monai") / "lossreg.json").read_text())
LOSSES = MANIFEST["losses"]
each_loss = pytest.mark.parametrize("name", LOSSES)


def config(name, **params):
    return {"name": f"monai/{name}", "params": {**LOSSES[name].get("example", {}), **params}}


def build(name, **params):
    return lossreg.build(config(name, **params))


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    mask = torch.randint(0, 2, (2, 2, 6, 6), generator=generator).float()
    return torch.rand(2, 2, 6, 6, generator=generator), mask


@each_loss
def test_a_built_loss_is_of_the_librarys_class(name):
    """Of that class itself, not of one derived from it."""
    module = build(name)
    assert type(module) is import_target(LOSSES[name]["target"])
    assert type(module).__module__.startswith("monai.")


@each_loss
def test_defaults_are_those_of_the_constructor(name):
    """Each default in the manifest; required parameters have none."""
    schema = LOSSES[name]["parameters"]
    signature = inspect.signature(import_target(LOSSES[name]["target"])).parameters
    for parameter, described in schema["properties"].items():
        default = signature[parameter].default
        assert (parameter in schema["required"]) is (default is inspect.Parameter.empty)
        if "default" in described:
            assert described["default"] == (default.value if isinstance(default, Enum) else default)


@pytest.mark.tools  # another library changes with its releases alone
@pytest.mark.parametrize(
    "name, parameter, value",
    [
        (name, parameter, value)
        for name, loss in LOSSES.items()
        for parameter, schema in loss["parameters"]["properties"].items()
        for value in schema.get("enum", ())
    ],
)
def test_every_choice_is_one_of_the_library(name, parameter, value):
    """MONAI's constructor accepts each of them."""
    assert build(name, **{parameter: value}) is not None


@pytest.mark.parametrize(
    "name", sorted(name for name in LOSSES if "other_act" in LOSSES[name]["parameters"]["properties"])
)
def test_an_activation_is_given_by_its_name(name):
    """Each name stands for the function that MONAI then calls."""
    module = build(name, sigmoid=False, softmax=False, other_act="tanh")
    inner = next(part for part in [module, *module.children()] if hasattr(part, "other_act"))
    assert torch.tanh in (inner.other_act, getattr(module, "pre_other_act", None))


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu", "softplus", "hardsigmoid"])
def test_an_activation_by_name_is_the_call_by_hand(activation, batch):
    """Equal to the function applied before a loss without one."""
    scores, mask = batch[0] * 4 - 2, batch[1]
    function = getattr(torch, activation, None) or getattr(torch.nn.functional, activation)
    torch.testing.assert_close(build("dice", other_act=activation)(scores, mask), DiceLoss()(function(scores), mask))


@pytest.mark.parametrize(
    "name, params, by_hand",
    [
        ("dice", {"weight": [1, 3]}, lambda: DiceLoss(weight=torch.tensor([1.0, 3.0]))),
        ("dice", {"weight": 2}, lambda: DiceLoss(weight=2.0)),
        ("focal", {"weight": [1.0, 3.0], "alpha": 0.25}, lambda: FocalLoss(weight=[1.0, 3.0], alpha=0.25)),
        ("focal", {"alpha": [0.2, 0.7], "use_softmax": True}, lambda: FocalLoss(alpha=[0.2, 0.7], use_softmax=True)),
        ("dice_ce", {"weight": [1, 3]}, lambda: DiceCELoss(softmax=True, weight=torch.tensor([1.0, 3.0]))),
    ],
)
def test_tensors_and_lists_arrive_as_by_hand(name, params, by_hand, batch):
    """Numbers of a config become the constructor's weights."""
    torch.testing.assert_close(build(name, **params)(*batch), by_hand()(*batch))


def test_a_matrix_is_a_list_of_rows():
    """The distances between classes; MONAI divides them by the largest."""
    module = build("generalized_wasserstein_dice", dist_matrix=[[0, 4], [4, 0]])
    by_hand = GeneralizedWassersteinDiceLoss(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
    scores, target = torch.tensor([[[[1.0, -1.0]], [[0.5, 2.0]]]]), torch.tensor([[[0, 1]]])
    torch.testing.assert_close(module(scores, target), by_hand(scores, target))


def test_losses_of_losses(batch):
    """Nested configs become the losses within."""
    nested = {"name": "monai/tversky", "params": {"alpha": 0.3, "beta": 0.7}}
    module = build("deep_supervision", loss=nested, weights=[1.0, 0.5])
    assert type(module.loss) is TverskyLoss
    levels = [batch[0], batch[0][..., ::2, ::2]]
    by_hand = DeepSupervisionLoss(TverskyLoss(alpha=0.3, beta=0.7), weights=[1.0, 0.5])
    torch.testing.assert_close(module(levels, batch[1]), by_hand(levels, batch[1]))
    region = torch.ones(2, 1, 6, 6)
    torch.testing.assert_close(build("masked", loss=nested)(*batch, region), by_hand.loss(*batch))
    torch.testing.assert_close(build("multi_scale", loss="torch/mse")(*batch), ((batch[0] - batch[1]) ** 2).mean())


@pytest.mark.parametrize("other, name", [("ds_loss", "deep_supervision"), ("Dice", "dice"), ("giou", "giou")])
def test_the_other_names_of_a_class_are_the_same_class(other, name):
    """A class with two names in MONAI is declared once."""
    modules = {"ds_loss": "monai.losses.ds_loss", "Dice": "monai.losses", "giou": "monai.losses"}
    assert getattr(sys.modules[modules[other]], other) is import_target(LOSSES[name]["target"])


@pytest.mark.parametrize(
    "name, params, message",
    [
        ("dice", {"sigmoid": True, "softmax": True}, "Incompatible values"),
        ("local_ncc", {"kernel_size": 4}, "kernel_size must be odd"),
    ],
)
def test_errors_of_the_constructor_are_problems_of_the_config(name, params, message):
    """An error of the constructor is reported as other problems are, with its path."""
    expected = f"params: the constructor of monai/{name} raised ValueError: {message}"
    with pytest.raises(lossreg.InvalidConfigError, match=expected):
        build(name, **params)


@pytest.mark.parametrize(
    "name, parameter, value",
    [
        ("dice", "other_act", "sigmod"),
        ("dice", "reduction", "maen"),
        ("dice_ce", "reduction", "none"),
        ("dice_ce", "lambda_ce", -1.0),
        ("dice_focal", "lambda_focal", -1.0),
        ("generalized_dice_focal", "lambda_gdl", -1.0),
        ("generalized_dice", "w_type", "cube"),
        ("generalized_wasserstein_dice", "weighting_mode", "gdl"),
        ("soft_cldice", "iter_", -1),
        ("soft_cldice", "smooth", 0.0),
        ("soft_dice_cldice", "alpha", 1.5),
        ("aucm", "imratio", 1.5),
        ("aucm", "version", "v3"),
        ("patch_adversarial", "criterion", "mse"),
        ("multi_scale", "kernel", "box"),
        ("local_ncc", "spatial_dims", 4),
        ("local_ncc", "kernel_type", "round"),
        ("global_mutual_information", "kernel_type", "box"),
        ("global_mutual_information", "num_bins", 0),
        ("nacl", "dim", 1),
        ("nacl", "kernel_ops", "max"),
        ("nacl", "distance_type", "l3"),
    ],
)
def test_invalid_values_fail_in_the_library_too(name, parameter, value):
    """Validation reports the path before anything is built; MONAI raises."""
    with pytest.raises(lossreg.InvalidConfigError, match=rf"params\.{parameter}"):
        lossreg.validate(config(name, **{parameter: value}))
    bare = {key: item for key, item in LOSSES[name].get("example", {}).items() if key not in ("loss", "dist_matrix")}
    bare |= {"loss": DiceLoss()} if "loss" in LOSSES[name]["parameters"]["properties"] else {}
    bare |= {"dist_matrix": torch.eye(3)} if name == "generalized_wasserstein_dice" else {}
    with pytest.raises((ValueError, TypeError)):
        import_target(LOSSES[name]["target"])(**bare | {parameter: value})


@pytest.mark.parametrize(
    "name, parameter, value",
    [
        ("asymmetric_focal_tversky", "gamma", 1.5),
        ("deep_supervision", "weight_mode", "linear"),
        ("contrastive", "temperature", 0.0),
        ("global_mutual_information", "num_bins", 1),
        ("ssim", "win_size", 0),
        ("ssim", "kernel_type", "box"),
        ("ssim", "spatial_dims", 1),
        ("jukebox", "fft_signal_size", 8),
        ("focal", "gamma", -1.0),
        ("contrastive", "batch_size", 8),
    ],
)
def test_values_that_the_library_misuses_are_invalid(name, parameter, value):
    """MONAI's constructor accepts them, and then ignores them, fails in the call or computes no sensible value."""
    with pytest.raises(lossreg.InvalidConfigError, match=rf"params\.{parameter}"):
        lossreg.validate(config(name, **{parameter: value}))


@pytest.mark.tools
def test_listing_and_validating_import_nothing_of_monai():
    """Nor of torch, in a process of its own."""
    code = (
        "import sys, lossreg\n"
        "lossreg.validate({'name': 'monai/dice_ce', 'params': {'other_act': 'tanh', 'weight': [1, 2]}})\n"
        "assert 'monai' in {entry.provider for entry in lossreg.losses.entries()}\n"
        "print([name for name in ('monai', 'torch', 'lossreg_monai.overlay') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
