"""lossreg in the heads and segmentors of mmsegmentation."""

import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

import lossreg
from lossreg import InputError
from lossreg.records.reader import connect

from .data import trainer

# mmsegmentation imports the operators of mmcv, whose compiled part has no wheel for this torch. No head here calls one.
operators = ModuleType("mmcv._ext")
operators.__getattr__ = lambda name: None
sys.modules["mmcv._ext"] = operators
trainer("mmseg.models")
del sys.modules["mmcv._ext"]
from mmengine.config import ConfigDict  # noqa: E402
from mmengine.evaluator import Evaluator  # noqa: E402
from mmengine.registry import DefaultScope  # noqa: E402
from mmengine.runner import Runner  # noqa: E402
from mmengine.structures import PixelData  # noqa: E402
from mmseg.models.decode_heads import FCNHead  # noqa: E402
from mmseg.models.losses import CrossEntropyLoss  # noqa: E402
from mmseg.registry import MODELS  # noqa: E402
from mmseg.structures import SegDataSample  # noqa: E402

import lossreg.integrations.mmengine  # noqa: E402 - registers the loss and the hook

CLASSES = 3
IGNORED = {"ignore_index": 255}


class Scenes(Dataset):
    """Pictures of 8 x 8 with three classes and a column of ignored pixels, as mmsegmentation packs them."""

    def __len__(self):
        return 6

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        label = torch.randint(CLASSES, (1, 8, 8), generator=generator)
        label[..., 0] = 255
        sample = SegDataSample(gt_sem_seg=PixelData(data=label))
        sample.set_metainfo({"img_path": f"{index}.png", "img_shape": (8, 8), "ori_shape": (8, 8), "pad_shape": (8, 8)})
        return {"inputs": torch.randn(3, 8, 8, generator=generator), "data_samples": sample}


@MODELS.register_module(force=True)
class Backbone(nn.Module):
    """One convolution, to half the size."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2, padding=1)

    def forward(self, x):
        return (self.conv(x),)


@pytest.fixture(autouse=True)
def scope():
    """The registries of mmsegmentation, after any runner of another test."""
    with DefaultScope.overwrite_default_scope("mmseg"):
        yield


def head_config(loss, kind="FCNHead", **options):
    """A head of one convolution without a random part."""
    shape = {"in_channels": 4, "in_index": 0, "channels": 4, "num_convs": 1, "num_classes": CLASSES}
    return {"type": kind, **shape, "concat_input": False, "dropout_ratio": 0, "loss_decode": loss, **options}


def losses_of(loss, number=2, seed=0, **options):
    """The losses that a head computes for some scenes."""
    torch.manual_seed(seed)
    head = MODELS.build(head_config(loss, **options))
    assert isinstance(head, FCNHead)
    samples = [Scenes()[index]["data_samples"] for index in range(number)]
    features = torch.randn(number, 4, 4, 4)
    return head.loss((features,), samples, {})


def test_a_head_trains_what_it_would_with_its_own_loss():
    """Cross-entropy of one picture, whose ignored pixels count nowhere, and its gradient."""
    theirs = {"type": "CrossEntropyLoss", "avg_non_ignore": True}
    ours = {"type": "lossreg", "name": "cross_entropy", "params": IGNORED, "loss_name": "loss_ce", "loss_weight": 0.4}
    assert MODELS.build(theirs).__class__ is CrossEntropyLoss
    expected, found = losses_of(theirs, number=1)["loss_ce"], losses_of(ours, number=1)["loss_ce"]
    torch.testing.assert_close(found, 0.4 * expected)
    (expected_gradient,), (gradient,) = (torch.autograd.grad(loss, _weight(loss)) for loss in (expected, found))
    torch.testing.assert_close(gradient, 0.4 * expected_gradient)


def test_several_losses_of_a_head():
    """Each under its own name; those of one name are added, as mmsegmentation does."""
    dice = {"type": "lossreg", "name": "dice", "params": IGNORED}
    focal = {"type": "lossreg", "name": "focal", "params": IGNORED}
    alone = losses_of(dice)["loss_dice"], losses_of(focal)["loss_focal"]
    found = losses_of([dice, focal])
    torch.testing.assert_close((found["loss_dice"], found["loss_focal"]), alone)
    together = losses_of([dice | {"loss_name": "loss_all"}, focal | {"loss_name": "loss_all"}])
    torch.testing.assert_close(together["loss_all"], sum(alone))


def test_a_binary_head():
    """One channel of logits for labels of 0, 1 and 255."""
    torch.manual_seed(0)
    loss = {"type": "lossreg", "name": "dice", "params": IGNORED}
    head = MODELS.build(head_config(loss) | {"num_classes": 2, "out_channels": 1})
    logits = torch.tensor([[[[9.0, -9.0, 9.0, -9.0]]]])
    sample = SegDataSample(gt_sem_seg=PixelData(data=torch.tensor([[[1, 0, 255, 255]]])))
    assert head.loss_by_feat(logits, [sample])["loss_dice"].item() < 0.001


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"name": "dice"},
            "ignores label 255, and the ignore_index of dice is None; write ignore_index=255 in the params of the loss",
        ),
        ({"name": "dice", "ignore_index": 0}, "and the ignore_index of dice is 0; write ignore_index=255"),
        (
            {"name": "weighted_sum", "params": {"terms": [{"name": "dice", "params": IGNORED}, "focal"]}},
            "and the ignore_index of focal is None",
        ),
        (
            {"name": "bce_with_logits"},
            "bce_with_logits cannot; write ignore_index=None in the head if no pixel has this label",
        ),
    ],
)
def test_a_head_and_its_loss_ignore_the_same_label(config, message):
    """Otherwise the labels of ignored pixels would be trained. Both ways that the message names are right."""
    with pytest.raises(InputError, match=message):
        losses_of({"type": "lossreg", **config})


def test_the_advice_about_the_ignored_label_is_right():
    """Each part of a sum has it; or the head ignores nothing."""
    terms = [{"name": name, "params": IGNORED} for name in ("dice", "focal")]
    losses_of({"type": "lossreg", "name": "weighted_sum", "params": {"terms": terms}})
    logits, samples = (
        torch.randn(1, CLASSES, 4, 4),
        [SegDataSample(gt_sem_seg=PixelData(data=torch.ones(1, 4, 4).long()))],
    )
    head = MODELS.build(head_config({"type": "lossreg", "name": "dice"}, ignore_index=None))
    expected = lossreg.build("dice")(logits, torch.ones(1, 4, 4).long())
    torch.testing.assert_close(head.loss_by_feat(logits, samples)["loss_dice"], expected)


def test_weights_of_pixels_are_refused():
    """Those of a sampler; a loss that chooses hard pixels takes its place."""
    sampler = {"type": "OHEMPixelSampler", "thresh": 0.7, "min_kept": 4}
    with pytest.raises(InputError, match=r"takes no weight=; remove the sampler of the head.*ohem_cross_entropy"):
        losses_of({"type": "lossreg", "name": "cross_entropy", "params": IGNORED}, sampler=sampler)


def test_a_factor_for_the_average():
    """The sum over examples, divided by it; without a sum over examples, and with another reduction, an error."""
    logits, mask = torch.randn(4, 1, 8, 8), torch.rand(4, 1, 8, 8) > 0.5
    loss = MODELS.build({"type": "lossreg", "name": "dice"})
    each = lossreg.build("dice", reduction="none")(logits, mask)
    torch.testing.assert_close(loss(logits, mask, avg_factor=8), each.sum() / 8)
    torch.testing.assert_close(loss(logits, mask, avg_factor=torch.tensor(2.0)), each.sum() / 2)
    torch.testing.assert_close(loss(logits, mask, weight=None, avg_factor=None), each.mean())
    with pytest.raises(InputError, match="reduction_override= is not applied; write reduction='mean' or 'sum'"):
        loss(logits, mask, reduction_override="sum")
    whole = MODELS.build({"type": "lossreg", "name": "dice", "params": {"batch": True}})
    with pytest.raises(InputError, match="this loss is no mean of values per example"):
        whole(logits, mask, avg_factor=8)


def _weight(loss):
    """The last weight in the graph of a loss: that of the head's classifier."""
    waiting = [loss.grad_fn]
    while waiting:
        node = waiting.pop(0)
        if hasattr(node, "variable") and node.variable.shape == (CLASSES, 4, 1, 1):
            return node.variable
        waiting += [function for function, _ in node.next_functions if function is not None]
    raise AssertionError("the graph has no classifier")


def test_a_segmentor_with_an_auxiliary_head():
    """Trained and validated by the runner: keys for each head, records by the paths of the pictures."""
    dice = {"type": "lossreg", "name": "dice", "params": IGNORED, "records": "records"}
    focal = {"type": "lossreg", "name": "focal", "params": IGNORED, "loss_weight": 0.4}
    segmentor = {
        "type": "EncoderDecoder",
        "data_preprocessor": {"type": "SegDataPreProcessor", "size": (8, 8), "pad_val": 0, "seg_pad_val": 255},
        "backbone": {"type": "Backbone"},
        "decode_head": head_config(dice),
        "auxiliary_head": head_config(focal),
        "train_cfg": {},
        "test_cfg": {"mode": "whole"},
    }
    batches = {"dataset": Scenes(), "batch_size": 4, "sampler": {"type": "DefaultSampler", "shuffle": False}}
    torch.manual_seed(0)
    runner = Runner(
        model=ConfigDict(segmentor),
        work_dir="work",
        train_dataloader=batches | {"num_workers": 0},
        val_dataloader=batches | {"num_workers": 0},
        train_cfg={"by_epoch": True, "max_epochs": 1},
        val_cfg={},
        val_evaluator=Evaluator([]),
        optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.0}},
        default_hooks={"logger": {"type": "LoggerHook", "interval": 1}},
        custom_hooks=[{"type": "LossHook", "val_loss": True}],
        default_scope="mmseg",
        experiment_name="segmentor",
    )
    runner.train()
    scenes = [Scenes()[index] for index in range(6)]
    images, labels = (
        torch.stack([s["inputs"] for s in scenes]),
        torch.stack([s["data_samples"].gt_sem_seg.data for s in scenes]),
    )
    runner.model.eval()
    with torch.no_grad():
        logits = runner.model.decode_head(runner.model.backbone(images))
        logits = nn.functional.interpolate(logits, size=(8, 8), mode="bilinear")
        expected = lossreg.build("dice", ignore_index=255)(logits, labels[:, 0]).item()
    hub = runner.message_hub
    assert hub.get_scalar("val/val/decode_head.loss_decode/total_loss").current() == pytest.approx(expected)
    assert hub.get_scalar("val/val/auxiliary_head.loss_decode/loss_focal").current() > 0
    line = next(
        text for path in Path("work").rglob("*.log") for text in path.read_text().splitlines() if "[1][2/2]" in text
    )
    assert "decode.loss_dice" in line and "decode_head.loss_decode/loss_dice" in line  # noqa: PT018
    with connect("records") as connection:
        found = connection.execute("SELECT split, sample_id, path FROM records ORDER BY ALL").fetchall()
    assert found == [(split, f"{n}.png", f"{n}.png") for split in ("train", "val") for n in range(6)]
