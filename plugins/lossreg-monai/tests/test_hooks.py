"""MONAI's bundles name losses by `_target_`."""

import subprocess
import sys

import pytest

import lossreg


def test_a_bundles_target_is_the_registered_loss():
    """With its parameters beside it, from any module of monai.losses in the target."""
    for target in ("monai.losses.DiceLoss", "monai.losses.dice.DiceLoss"):
        checked = lossreg.validate({"_target_": target, "sigmoid": True, "smooth_nr": 1, "_disabled_": False})
        assert (checked.name, checked.provider) == ("dice", "monai")
        assert (checked.params["sigmoid"], checked.params["smooth_nr"]) == (True, 1)


def test_targets_are_migrated_within_mixtures():
    """A bundle's loss as a term of ours."""
    term = {"weight": 2, "name": "weighted_sum", "params": {"terms": [{"_target_": "monai.losses.FocalLoss"}]}}
    checked = lossreg.validate({"name": "weighted_sum", "params": {"terms": [term]}})
    assert checked.params["terms"][0]["params"]["terms"][0]["provider"] == "monai"


@pytest.mark.parametrize("target", ["os.system", "monai.transforms.Flip", "monai.losses.NoSuchLoss", 5])
def test_no_other_target_leads_anywhere(target):
    """Nothing is imported by name."""
    with pytest.raises(lossreg.InvalidConfigError):
        lossreg.validate({"_target_": target})


def test_a_mistyped_parameter_is_reported():
    """As in lossreg's own configs."""
    with pytest.raises(lossreg.InvalidConfigError, match=r"params\.sigmod: unknown parameter; did you mean 'sigmoid'"):
        lossreg.validate({"_target_": "monai.losses.DiceLoss", "sigmod": True})


@pytest.mark.tools
def test_validation_imports_no_monai():
    """The hook imports neither MONAI nor torch."""
    code = (
        "import lossreg, sys; lossreg.validate({'_target_': 'monai.losses.DiceLoss'});"
        "assert not {'monai', 'torch'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
