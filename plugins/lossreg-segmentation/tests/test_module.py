"""A loss as a module and as an entry of the registry."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

import lossreg

from .cases import NAMES, build, each_case, each_name, hard_target, logits, own

ALIASES = {
    "bce": {"bce_loss", "binary_cross_entropy"},
    "cross_entropy": {"cross_entropy_loss", "ce"},
    "focal": {"focal_loss"},
    "dice": {"dice_loss"},
    "jaccard": {"jaccard_loss", "iou", "iou_loss"},
    "tversky": {"tversky_loss"},
    "focal_tversky": {"focal_tversky_loss"},
    "bce_dice_focal": {
        "bce_dice_focal_loss",
        "combined",
        "combined_loss",
        "combined_segmentation",
        "combined_segmentation_loss",
    },
}


@each_case
def test_pickle_and_deepcopy_give_the_same_loss(name, task):
    """Weights per class included, as a DataLoader worker or a spawned rank needs."""
    weights = {"class_weight": [0.5, 2.0, 1.0]} if task != "binary" else {}
    loss = build(name, task, **own(name, task), **weights)
    x, t = logits(task), hard_target(task)
    for twin in (pickle.loads(pickle.dumps(loss)), copy.deepcopy(loss)):
        assert type(twin) is type(loss)
        assert torch.equal(twin(x, t), loss(x, t))
        assert lossreg.config_of(twin) == lossreg.config_of(loss)


@each_name
def test_a_loss_leaves_nothing_in_a_checkpoint(name):
    """No parameters, no persistent buffers: adding or changing a loss never breaks load_state_dict(strict=True)."""
    loss = build(name, "multilabel", class_weight=[0.5, 2.0, 1.0])
    assert loss.state_dict() == {}
    assert list(loss.parameters()) == []
    assert build(name).load_state_dict({}, strict=True).missing_keys == []


@each_name
def test_calling_a_loss_changes_nothing_in_it(name):
    """Stateless: the second step sees what the first saw."""
    loss, x, t = build(name), logits("binary"), hard_target("binary")
    before = pickle.dumps(loss)
    first = loss(x, t)
    assert pickle.dumps(loss) == before
    assert torch.equal(loss.eval()(x, t), first)


@each_name
def test_input_and_target_are_left_as_they_were(name):
    x, t = logits("binary"), hard_target("binary")
    t[0, 0, 0] = 9
    given = x.clone(), t.clone()
    build(name, ignore_index=9)(x, t)
    assert torch.equal(x, given[0])
    assert torch.equal(t, given[1])


@each_name
def test_every_alias_leads_to_the_loss(name):
    entry = lossreg.losses.entry(name)
    assert set(entry.aliases) == ALIASES[name]
    for alias in ALIASES[name]:
        assert lossreg.losses.get(alias) is lossreg.losses.get(name)
        assert type(lossreg.build(alias)) is type(lossreg.build(name))


@each_name
def test_the_contract_and_the_manifest_name_the_tasks_that_work(name):
    cls = lossreg.losses.get(name)
    contract = lossreg.losses.entry(name).metadata["contract"]
    assert tuple(contract["tasks"]) == cls.tasks
    assert set(cls.tasks) <= set(lossreg.losses.entry(name).tags)


def test_the_package_registers_these_losses_and_no_others():
    entries = {name for name in lossreg.losses.list() if lossreg.losses.entry(name).provider == "segmentation"}
    assert entries == set(NAMES)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_weights_per_class_follow_the_module(dtype):
    """They are a buffer: .to() moves them, and the loss casts them to its own type."""
    x, t = logits("multilabel"), hard_target("multilabel")
    loss = build("dice", "multilabel", class_weight=[0.5, 2.0, 1.0])
    expected = loss(x, t)
    assert loss.to(dtype).class_weight.dtype == dtype
    assert torch.equal(loss(x, t), expected)
