"""The registry as in its design document: losses are nn.Modules."""

import pytest
import torch
from torch import nn

from lossreg import Registry


@pytest.fixture
def loss_registry():
    """The registry of the document."""
    return Registry(base_class=nn.Module, name="LossFunctions")


def my_dice_loss(loss_registry):
    @loss_registry.register(name="my_dice_loss", tags=["segmentation"])
    class MyDiceLoss(nn.Module):
        def __init__(self, smooth: float = 1.0):
            super().__init__()
            self.smooth = smooth

        def forward(self, predictions: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            return (predictions - targets).abs().sum() + self.smooth

    return MyDiceLoss


def test_the_documents_workflow(loss_registry):
    """Define, register, look up, instantiate, call."""
    cls = my_dice_loss(loss_registry)
    assert loss_registry.get("my_dice_loss") is cls
    loss = loss_registry.instantiate("my_dice_loss", smooth=1e-6)
    assert isinstance(loss, cls)
    assert loss.smooth == 1e-6
    assert loss(torch.ones(2), torch.ones(2)).item() == pytest.approx(1e-6)
    assert loss_registry.instantiate("my_dice_loss", 3.0).smooth == 3.0


def test_the_documents_listings(loss_registry):
    """list, list_with_tags and filter_by_tag return plain lists and dicts of names."""
    my_dice_loss(loss_registry)

    @loss_registry.register(name="focal", tags=["focal_loss", "segmentation"])
    class Focal(nn.Module): ...

    @loss_registry.register()
    class L1Loss(nn.Module): ...

    assert loss_registry.list() == ["L1Loss", "focal", "my_dice_loss"]
    assert loss_registry.list_with_tags() == {
        "L1Loss": [],
        "focal": ["focal_loss", "segmentation"],
        "my_dice_loss": ["segmentation"],
    }
    assert loss_registry.filter_by_tag("segmentation") == ["focal", "my_dice_loss"]
    assert loss_registry.filter_by_tag("focal_loss") == ["focal"]
    assert loss_registry.filter_by_tag("nothing") == []


def test_the_documents_errors(loss_registry):
    """TypeError for a foreign class, ValueError for a conflict, KeyError for a lookup that fails."""
    my_dice_loss(loss_registry)
    with pytest.raises(TypeError, match=r"'nope' cannot be registered in LossFunctions: expected a class derived from"):
        loss_registry.register(name="nope")(dict)
    with pytest.raises(ValueError, match="it is local/my_dice_loss"):
        loss_registry.register(name="my_dice_loss")(type("Other", (nn.Module,), {}))
    with pytest.raises(KeyError, match="unknown name 'my_dice_los' in LossFunctions; did you mean 'my_dice_loss'"):
        loss_registry.get("my_dice_los")
    with pytest.raises(KeyError):
        loss_registry.instantiate("x")
    assert loss_registry.list() == ["my_dice_loss"]
