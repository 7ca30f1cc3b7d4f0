"""A step in which ranks have no examples: every loss that shares batches is 0 there, and has a gradient."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
import torch

import lossreg
from lossreg.config.resolution import parameters

PAGE = Path(__file__).parents[1] / "docs" / "howto" / "several_gpus.md"
CLASSES = {"lovasz_softmax", "wasserstein_dice"}  # the others take one channel
SORTING = {"topk", "ohem_cross_entropy", "lovasz_hinge", "lovasz_softmax"}  # no sum over ranks sorts their pixels
OWN_INPUTS = {"sam", "iou_prediction", "spatial_relevance", "text_region_contrast"}


@cache
def sharing():
    """Return the parameters of each loss of the catalogue that has `distributed`."""
    found = {}
    for name in lossreg.losses.list():
        entry = lossreg.losses.entry(name)
        if entry.provider in ("segmentation", "sam"):
            found[name] = parameters(entry)["properties"]
    return {name: own for name, own in found.items() if "distributed" in own}


def empty_step(name):
    """Return logits and a target without an example."""
    channels = 3 if name in CLASSES else 1
    return torch.zeros(0, channels, 8, 8, requires_grad=True), torch.zeros(0, channels, 8, 8)


def assert_zero_with_a_gradient(loss, x, *others):
    value = loss(x, *others)
    assert value.item() == 0
    value.backward()
    leaf = x[0] if isinstance(x, list) else x
    assert leaf.grad.shape == leaf.shape


SEGMENTATION = sorted(set(sharing()) - OWN_INPUTS)


@pytest.mark.parametrize("name", SEGMENTATION)
def test_without_an_example_on_any_rank_a_loss_is_0(name):
    """One process is every rank. Also of the whole batch, for smooth 0, and around it of points and of levels."""
    step, entry, has = empty_step(name), lossreg.losses.entry(name), sharing()[name]
    part = {"name": name, "params": {"distributed": "global"}}
    assert_zero_with_a_gradient(lossreg.build(part), *step)
    levels = lossreg.build({"name": "deep_supervision", "params": {"loss": part}})
    assert_zero_with_a_gradient(levels, [step[0], step[0][..., ::2, ::2]], step[1])
    if name not in CLASSES and not entry.metadata["contract"].get("positional"):
        points = lossreg.build({"name": "point_sampled", "params": {"loss": part, "points": 5}})
        assert_zero_with_a_gradient(points, *step)
    if "batch" in has and name not in SORTING:
        whole = {"batch": True} | ({"smooth": 0.0} if "smooth" in has else {})
        assert_zero_with_a_gradient(lossreg.build({"name": name, "params": part["params"] | whole}), *step)


def test_the_loss_of_segment_anything_is_0():
    """Whose third input is the predicted IoU."""
    x = torch.zeros(0, 1, 8, 8, requires_grad=True)
    loss = lossreg.build({"name": "sam", "params": {"distributed": "global"}})
    assert_zero_with_a_gradient(loss, x, torch.zeros(0, 8, 8), torch.zeros(0, 1))


def test_points_of_an_empty_batch_of_one_process_are_refused():
    """An empty batch is allowed only if other ranks may have examples."""
    loss = lossreg.build({"name": "point_sampled", "params": {"loss": "bce"}})
    with pytest.raises(lossreg.ShapeError, match="the batch is empty; skip empty batches in the loader"):
        loss(*empty_step("bce"))


def test_the_page_lists_the_losses_that_share_batches():
    """All of them, and no other."""
    section = PAGE.read_text().partition("## What `global` does")[2].partition("\n## ")[0]
    (listed,) = re.findall(r"These have it: (.*?)\.\n", section, re.DOTALL)
    assert re.findall(r"`(\w+)`", listed) == sorted(sharing())
