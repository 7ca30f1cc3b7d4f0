"""The manifest of kornia's losses, compared with kornia."""

import inspect
import json
import subprocess
import sys
from importlib import resources

import kornia.losses
import pytest
import torch
from kornia.core.exceptions import BaseError
from kornia.losses import BinaryFocalLossWithLogits, DiceLoss, FocalLoss, LovaszSoftmaxLoss, MIKernel, MILossFromRef2D

import lossreg
from lossreg.registry.importing import import_target

MANIFEST = json.loads((resources.files("lossreg_kornia") / "lossreg.json").read_text())
LOSSES = MANIFEST["losses"]
OF_LIBRARY = [name for name, loss in LOSSES.items() if loss["target"].startswith("kornia.")]
ENUMS = [
    (name, parameter, value)
    for name, loss in LOSSES.items()
    for parameter, schema in loss["parameters"]["properties"].items()
    for value in schema.get("enum", ())
]


def config(name, **params):
    return {"name": f"kornia/{name}", "params": {**LOSSES[name].get("example", {}), **params}}


def build(name, **params):
    return lossreg.build(config(name, **params))


def inputs(name):
    """Return the arguments of a loss, with two classes if it has classes."""
    kinds = LOSSES[name]["contract"]
    generator = torch.Generator().manual_seed(0)
    if "from_ref" in name:
        return (torch.tensor(LOSSES[name]["example"]["reference_signal"]).flip(-1),)
    volumes = (1, 2, 8, 8, 8)
    sizes = {"ssim_3d": volumes, "hausdorff_er_3d": volumes, "endpoint_error": (2, 8, 8, 2)}
    first = torch.rand(sizes.get(name, (2, 2, 8, 8)), generator=generator)
    labels = torch.randint(0, 2, (len(first), *first.shape[2:]), generator=generator)
    if kinds["target"] == "class index":
        return first, labels
    if kinds["target"].startswith("index map"):
        return first, labels.unsqueeze(1)
    return first, torch.rand(first.shape, generator=generator)


def test_every_loss_of_the_library_is_declared():
    """Each public class of kornia.losses that is a module, without exception."""
    public = (getattr(kornia.losses, name) for name in kornia.losses.__all__)
    classes = {cls for cls in public if inspect.isclass(cls) and issubclass(cls, torch.nn.Module)}
    assert classes <= {import_target(LOSSES[name]["target"]) for name in OF_LIBRARY}


@pytest.mark.parametrize("name", OF_LIBRARY)
def test_a_built_loss_is_of_the_librarys_class(name):
    """Of that class itself; its name is an alias."""
    cls = import_target(LOSSES[name]["target"])
    assert type(build(name)) is cls
    assert type(lossreg.build({**config(name), "name": f"kornia/{cls.__name__}"})) is cls


@pytest.mark.parametrize("name", LOSSES)
def test_defaults_are_those_of_the_constructor(name):
    """Each default in the manifest; required parameters have none."""
    schema = LOSSES[name]["parameters"]
    signature = inspect.signature(import_target(LOSSES[name]["target"])).parameters
    for parameter, described in schema["properties"].items():
        default = signature[parameter].default
        assert (parameter in schema["required"]) is (default is inspect.Parameter.empty)
        if "default" in described:
            assert described["default"] == (list(default) if isinstance(default, tuple) else default)


@pytest.mark.parametrize("name, parameter, value", ENUMS)
def test_every_choice_is_one_of_the_library(name, parameter, value):
    """kornia reads most of them when it is called: the call accepts each."""
    assert build(name, **{parameter: value})(*inputs(name)).isfinite().all()


@pytest.mark.parametrize(
    "name, params, by_hand",
    [
        ("dice", {"weight": [1, 3]}, lambda: DiceLoss(weight=torch.tensor([1.0, 3.0]))),
        ("lovasz_softmax", {"weight": [1, 3]}, lambda: LovaszSoftmaxLoss(torch.tensor([1.0, 3.0]))),
        ("focal", {"alpha": None, "weight": [1, 3]}, lambda: FocalLoss(None, weight=torch.tensor([1.0, 3.0]))),
        (
            "binary_focal",
            {"alpha": 0.5, "pos_weight": [1, 3]},
            lambda: BinaryFocalLossWithLogits(0.5, pos_weight=torch.tensor([1.0, 3.0])),
        ),
    ],
)
def test_tensors_arrive_as_by_hand(name, params, by_hand):
    """Numbers of a config become the constructor's weights, in torch's default dtype."""
    torch.testing.assert_close(build(name, **params)(*inputs(name)), by_hand()(*inputs(name)))


@pytest.mark.parametrize("kernel", ["xu", "rectangular", "truncated_gaussian"])
def test_a_kernel_is_given_by_its_name(kernel):
    """And the reference as rows of numbers."""
    rows = [[0.1, 0.9, 0.4], [0.3, 0.2, 0.8]]
    module = build("mutual_information_from_ref_2d", reference_signal=rows, kernel_function=kernel, num_bins=5)
    by_hand = MILossFromRef2D(torch.tensor(rows), kernel_function=MIKernel[kernel], num_bins=5)
    image = torch.tensor([[0.5, 0.1, 0.9], [0.7, 0.3, 0.2]])
    torch.testing.assert_close(module(image), by_hand(image))


def test_integers_become_floats_where_the_library_needs_floats():
    """kornia raises for max_val=1, which a config may contain."""
    images = inputs("ssim")
    torch.testing.assert_close(build("ssim", max_val=1)(*images), build("ssim")(*images))


@pytest.mark.parametrize(
    "name, parameter, value",
    [
        ("dice", "average", "weighted"),
        ("dice", "weight", [1, "2"]),
        ("cauchy", "reduction", "maen"),
        ("ssim", "padding", "full"),
        ("ssim", "window_size", 0),
        ("ms_ssim", "sigmas", []),
        ("ms_ssim", "K", [0.1]),
        ("mutual_information_from_ref", "num_bins", 1),
        ("mutual_information_from_ref", "window_radius", 0.0),
        ("mutual_information_from_ref", "kernel_function", "gauss"),
    ],
)
def test_invalid_values_fail_in_the_library_too(name, parameter, value):
    """Validation reports the path before anything is built; kornia raises in the constructor or the call."""
    with pytest.raises(lossreg.InvalidConfigError, match=rf"params\.{parameter}"):
        lossreg.validate(config(name, **{parameter: value}))
    bare = LOSSES[name].get("example", {}) | {parameter: value}
    bare |= {"reference_signal": torch.rand(9)} if "from_ref" in name else {}
    with pytest.raises((BaseError, TypeError, ValueError, IndexError, NotImplementedError)):
        import_target(LOSSES[name]["target"])(**bare)(*inputs(name))


@pytest.mark.parametrize(
    "name, parameter, value",
    [
        ("tversky", "alpha", -1.0),
        ("focal", "alpha", 2.0),
        ("focal", "gamma", -1.0),
        ("psnr", "max_val", 0.0),
        ("hausdorff_er", "k", 0),
        ("ms_ssim", "alpha", 1.5),
        ("mutual_information_from_ref", "mask", [1, 0]),
    ],
)
def test_values_that_the_library_misuses_are_invalid(name, parameter, value):
    """kornia accepts them without an error, and the loss is infinite, constant or negative; masks are booleans."""
    with pytest.raises(lossreg.InvalidConfigError, match=rf"params\.{parameter}"):
        lossreg.validate(config(name, **{parameter: value}))


@pytest.mark.tools
def test_listing_and_validating_import_nothing_of_kornia():
    """Nor of torch, in a process of its own."""
    code = (
        "import sys, lossreg\n"
        "lossreg.validate({'name': 'kornia/dice', 'params': {'weight': [1, 2]}})\n"
        "lossreg.validate('kornia/mutual_information')\n"
        "assert 'kornia' in {entry.provider for entry in lossreg.losses.entries()}\n"
        "print([name for name in ('kornia', 'torch', 'lossreg_kornia.overlay') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
