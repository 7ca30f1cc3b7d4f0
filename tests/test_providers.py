"""Every loss of every provider that describes another library: built from its config, it runs forward and backward."""

import importlib
import math
import warnings

import pytest
import torch

from lossreg import build, losses
from lossreg.discovery.first_party import LIBRARIES

from . import provider_inputs


def _inputs(provider):
    return importlib.import_module(f"{provider_inputs.__name__}.{provider}")


DESCRIBED = [entry for entry in losses.entries() if entry.provider in LIBRARIES]
EXCLUDED = {
    f"{provider}/{name}": why
    for provider in {entry.provider for entry in DESCRIBED}
    for name, why in _inputs(provider).EXCLUDED.items()
}


pytestmark = pytest.mark.usefixtures("torchvision_operators")


def config_of(entry):
    return {"name": entry.full_name, "params": dict(entry.metadata.get("example", {}))}


def arguments(entry):
    """Return the arguments by a loss's name, else by the kinds in its contract."""
    known, contract = _inputs(entry.provider).INPUTS, entry.metadata["contract"]
    make = known.get(entry.name) or known.get((contract["input"], contract["target"]))
    assert make is not None, f"no inputs of {contract['input']!r} and {contract['target']!r} for {entry.full_name}"
    torch.manual_seed(0)
    return make()


@pytest.mark.parametrize("entry", DESCRIBED, ids=lambda entry: entry.full_name)
def test_every_loss_runs_forward_and_backward(entry):
    """Built from its name, or its smallest config; the value and the gradient of its first tensor are finite."""
    if entry.full_name in EXCLUDED:
        pytest.skip(f"{entry.full_name}: {EXCLUDED[entry.full_name]}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings of other libraries are not ours to fix
        module = build(config_of(entry))
        inputs = arguments(entry)
        first = next(value for value in inputs if isinstance(value, torch.Tensor) and value.is_floating_point())
        first.requires_grad_()
        value = module(*inputs)
        value.sum().backward()
    assert isinstance(value, torch.Tensor)
    assert math.isfinite(value.sum().item())
    assert first.grad is not None
    assert torch.isfinite(first.grad).all()


def test_few_losses_are_excluded():
    """Each has a reason, and its name exists."""
    assert len(EXCLUDED) <= 8, EXCLUDED
    assert {*EXCLUDED} <= {entry.full_name for entry in DESCRIBED}
    assert all(EXCLUDED.values())
