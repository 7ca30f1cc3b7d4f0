"""A loss as a module and as an entry of the registry."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

import lossreg

from .cases import DENSE, ELSEWHERE, NAMES, build, every_name, hard_target, logits, own, tasks_of

ALIASES = {
    "bce": {"bce_loss", "binary_cross_entropy"},
    "cross_entropy": {"ce", "cross_entropy_loss"},
    "poly1": {"poly1_cross_entropy", "poly1_loss"},
    "focal": {"focal_loss"},
    "asymmetric_focal": {"asymmetric_focal_loss"},
    "dice": {"dice_loss"},
    "squared_dice": {"squared_dice_loss", "vnet_dice"},
    "log_cosh_dice": {"log_cosh_dice_loss", "logcosh_dice"},
    "generalized_dice": {"gdl", "generalised_dice", "generalized_dice_loss"},
    "jaccard": {"iou", "iou_loss", "jaccard_loss"},
    "tversky": {"tversky_loss"},
    "focal_tversky": {"focal_tversky_loss"},
    "asymmetric_focal_tversky": {"asymmetric_focal_tversky_loss"},
    "mcc": {"matthews_correlation", "mcc_loss"},
    "region_size": {"region_size_loss"},
    "bce_dice_focal": {
        "bce_dice_focal_loss",
        "combined",
        "combined_loss",
        "combined_segmentation",
        "combined_segmentation_loss",
    },
    "unified_focal": {"asymmetric_unified_focal", "unified_focal_loss"},
    "lovasz_hinge": {"lovasz_hinge_loss"},
    "lovasz_softmax": {"lovasz_softmax_loss"},
    "topk": {"topk_cross_entropy", "topk_cross_entropy_loss", "topk_loss"},
    "ohem_cross_entropy": {"ohem", "ohem_cross_entropy_loss", "ohem_loss"},
    "wasserstein_dice": {"generalized_wasserstein_dice", "generalized_wasserstein_dice_loss", "wasserstein_dice_loss"},
    "boundary": {"boundary_loss"},
    "boundary_dou": {"boundary_dou_loss"},
    "hausdorff_dt": {"hausdorff", "hausdorff_dt_loss"},
    "hausdorff_er": {"hausdorff_er_loss"},
    "cldice": {"cldice_loss", "soft_cldice"},
}


@pytest.mark.parametrize(
    "name, task, params",
    [
        ("bce", "multilabel", {"pos_weight": [1.0, 2.0, 3.0]}),
        ("focal", "multiclass", {"alpha": [0.5, 2.0, 1.0]}),
        ("dice", "multiclass", {"class_weight": [0.5, 2.0, 1.0]}),
        ("wasserstein_dice", "multiclass", own("wasserstein_dice", "multiclass")),
    ],
)
def test_numbers_per_class_travel_with_a_copy_and_its_config(name, task, params):
    """They are in no checkpoint: a DataLoader worker or a spawned rank gets them by pickle."""
    loss = build(name, task, **params)
    x, t = logits(task), hard_target(task)
    for twin in (pickle.loads(pickle.dumps(loss)), copy.deepcopy(loss)):
        assert torch.equal(twin(x, t), loss(x, t))
        assert lossreg.config_of(twin) == lossreg.config_of(loss)
    assert loss.state_dict() == {}


@every_name
def test_a_loss_leaves_nothing_in_a_checkpoint(name):
    """Nothing persistent: adding or changing a loss never breaks load_state_dict(strict=True)."""
    task = tasks_of(name)[-1]
    loss = build(name, task, **own(name, task))
    assert loss.state_dict() == {}
    assert build(name).load_state_dict({}, strict=True).missing_keys == []


@every_name
def test_a_call_changes_nothing_in_the_loss_and_in_its_tensors(name):
    """Stateless: a second step gives the same result."""
    task = tasks_of(name)[0]
    loss, x, t = build(name, task, ignore_index=9), logits(task), hard_target(task)
    t[0, ..., 0, 0] = 9
    before, given = pickle.dumps(loss), (x.clone(), t.clone())
    first = loss(x, t)
    assert pickle.dumps(loss) == before
    assert torch.equal(loss.eval()(x, t), first)
    assert torch.equal(x, given[0])
    assert torch.equal(t, given[1])


@every_name
def test_every_alias_leads_to_the_loss(name):
    entry = lossreg.losses.entry(name)
    assert set(entry.aliases) == ALIASES[name]
    for alias in ALIASES[name]:
        assert lossreg.losses.get(alias) is lossreg.losses.get(name)
        assert type(lossreg.build(alias)) is type(lossreg.build(name))


@every_name
def test_the_contract_and_the_manifest_name_the_tasks_that_work(name):
    cls = lossreg.losses.get(name)
    contract = lossreg.losses.entry(name).metadata["contract"]
    assert tuple(contract["tasks"]) == cls.tasks
    assert set(cls.tasks) <= set(lossreg.losses.entry(name).tags)


def test_the_package_registers_these_losses_and_no_others():
    entries = {name for name in lossreg.losses.list() if lossreg.losses.entry(name).provider == "segmentation"}
    assert entries == {*NAMES, *DENSE, *ELSEWHERE}
    assert set(ALIASES) == {*NAMES, *DENSE}
