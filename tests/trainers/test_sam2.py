"""lossreg in SAM 2's own trainer: its single steps, and whole trainings on one and two ranks."""

import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import lossreg
from lossreg import InputError, ShapeError
from lossreg.records.reader import connect

from ..pages import run_blocks
from .data import trainer
from .ranks import spawn

trainer("training.trainer")  # of the package sam2, equal to the authors' repository
from hydra.errors import InstantiationException  # noqa: E402
from hydra.utils import instantiate  # noqa: E402
from omegaconf import OmegaConf  # noqa: E402
from training.trainer import Trainer  # noqa: E402
from training.utils.data_utils import BatchedVideoDatapoint, BatchedVideoMetaData  # noqa: E402
from training.utils.train_utils import AverageMeter  # noqa: E402

from lossreg.integrations.sam2 import IOUS, MASKS, SCORES, Sam2Loss, predicted_masks  # noqa: E402
from lossreg.integrations.sam2.trainer import Sam2Trainer  # noqa: E402

PAGE = Path(__file__).parents[2] / "docs" / "trainers" / "sam2.md"
THEIRS = {
    "_target_": "training.loss_fns.MultiStepMultiMasksAndIous",
    "weight_dict": {"loss_mask": 20, "loss_dice": 1, "loss_iou": 1, "loss_class": 1},
    "supervise_all_iou": True,
    "iou_use_l1_loss": True,
    "pred_obj_scores": True,
    "focal_gamma_obj_score": 0.0,
    "focal_alpha_obj_score": -1.0,
}
OURS = {"_target_": "lossreg.integrations.sam2.Sam2Loss", "name": "sam2"}
LEARNS = OURS | {"name": "uncertainty_weighting", "params": {"terms": ["focal", "dice"]}}


class Outputs(nn.Module):
    """A model whose outputs are its parameters: two frames, two steps, three objects, three masks of 16 x 16."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        batch.masks = torch.rand(2, 3, 16, 16) > 0.7
        torch.manual_seed(0)
        self.masks = nn.Parameter(torch.randn(2, 2, 3, 3, 16, 16))
        self.ious = nn.Parameter(torch.rand(2, 2, 3, 3))
        self.scores = nn.Parameter(torch.randn(2, 2, 3, 1))

    def forward(self, _):
        parts = {MASKS: self.masks, IOUS: self.ious, SCORES: self.scores}
        return [{key: list(value[frame]) for key, value in parts.items()} for frame in range(2)]


batch = SimpleNamespace(masks=None, img_batch=torch.zeros(2, 3, 3, 16, 16), dict_key="all")


class Steps:
    """SAM 2's trainer, as far as its steps need it, around the model above."""

    def __init__(self, loss):
        self.trainer = made = object.__new__(Trainer)
        losses = instantiate(OmegaConf.create({"all": loss}), _convert_="all")
        self.logged = {}
        made.loss = nn.ModuleDict(dict(losses))
        made.logger = SimpleNamespace(log=lambda name, value, step: self.logged.__setitem__(name, value.item()))
        made.logging_conf = SimpleNamespace(log_scalar_frequency=1)
        made.optim_conf = SimpleNamespace(amp=SimpleNamespace(enabled=False, amp_dtype="bfloat16"))
        made.steps, made.meters, made.device = {"train": 0, "val": 0}, {}, torch.device("cpu")
        made.model = Outputs()
        made.optim = torch.optim.SGD(made.model.parameters(), 0.1)
        made.scaler = torch.amp.GradScaler("cpu", enabled=False)
        self.total, self.parts = {"Losses/train_all_loss": AverageMeter("x", made.device)}, {}

    def run(self, number=1):
        for _ in range(number):
            self.trainer._run_step(batch, "train", self.total, self.parts)
            self.trainer.optim.step()
        return self

    @property
    def means(self):
        return {name: meter.avg for name, meter in [*self.total.items(), *self.parts.items()]}


def test_a_step_equals_that_with_their_loss():
    """Total, components, names in all logs, and gradients, in the trainer's own step."""
    theirs, ours = Steps(THEIRS).run(), Steps(OURS).run()
    assert ours.means == pytest.approx(theirs.means)
    parts = {"loss_mask": 0.77053, "loss_dice": 2.49212, "loss_iou": 1.33521, "loss_class": 3.86499}
    assert {name: ours.means[f"Losses/train_all_{name}"] for name in parts} == pytest.approx(parts, abs=1e-5)
    assert list(ours.means) == list(theirs.means)
    assert list(ours.logged) == list(theirs.logged)
    for one, other in zip(ours.trainer.model.parameters(), theirs.trainer.model.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_the_total_is_a_tensor_of_its_own():
    """The trainer may scale it in place; the components have no gradient."""
    loss = Sam2Loss("sam2")
    model = Outputs()
    found = loss(model(batch), batch.masks)
    total = found["core_loss"].item()
    found["core_loss"].mul_(7.0).backward()
    assert loss.last.total.item() == pytest.approx(total)
    assert not any(value.requires_grad for name, value in found.items() if name != "core_loss")


def test_checkpoints_pass_between_their_loss_and_ours():
    """Strictly: neither has anything to save."""
    theirs, ours = Steps(THEIRS).trainer.loss, Steps(OURS).trainer.loss
    assert ours.state_dict() == {}
    ours.load_state_dict(theirs.state_dict(), strict=True)


def by_hand():
    """One frame of two objects with two masks of two pixels, after a step that counts nowhere."""
    first = torch.full((2, 2, 1, 2), 50.0)
    last = torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]], [[[5.0, 6.0]], [[7.0, 8.0]]]], requires_grad=True)
    frame = {MASKS: [first, last], IOUS: [torch.zeros(2, 2), torch.tensor([[0.2, 0.9], [0.8, 0.1]])]}
    return frame, last


def test_predicted_masks_by_hand():
    """Of the last step, the mask with the greatest predicted IoU; frames first."""
    frame, last = by_hand()
    targets = torch.tensor([[[[True, False]], [[False, False]]]])
    logits, masks, ious = predicted_masks([frame], targets)
    assert logits.tolist() == [[[[3.0, 4.0]]], [[[5.0, 6.0]]]]
    assert masks.tolist() == [[[[1.0, 0.0]]], [[[0.0, 0.0]]]]
    assert ious.flatten().tolist() == pytest.approx([0.9, 0.8])
    logits.sum().backward()
    assert last.grad.flatten(1).tolist() == [[0, 0, 1, 1], [1, 1, 0, 0]]
    two = predicted_masks([frame, frame], targets.repeat(2, 1, 1, 1))
    assert two[0].flatten().tolist() == [3, 4, 5, 6, 3, 4, 5, 6]


def test_frames_that_do_not_fit_are_refused():
    """With the way to repair them."""
    frame, _ = by_hand()
    with pytest.raises(ShapeError, match=r"returned 1 frames for 2 targets \(T, N, H, W\)"):
        predicted_masks([frame], torch.zeros(2, 2, 1, 2))
    with pytest.raises(InputError, match=f"frame 0 lacks {IOUS}; give the list that SAM 2's model returns"):
        predicted_masks([{MASKS: frame[MASKS]}], torch.zeros(1, 2, 1, 2))


@pytest.mark.parametrize(
    "config",
    [
        {"name": "dice"},
        {"name": "weighted_sum", "params": {"terms": [{"name": "focal", "weight": 20}, {"name": "dice", "weight": 1}]}},
        {"name": "torch/bce_with_logits"},
        {"name": "boundary"},
    ],
)
def test_any_loss_of_masks(config):
    """On the masks above, with its components in the trainer's logs."""
    steps = Steps(OURS | config).run()
    logits, masks, _ = predicted_masks(Outputs()(batch), batch.masks)
    expected = lossreg.evaluate(lossreg.build(config), logits, masks)
    assert steps.means["Losses/train_all_loss"] == pytest.approx(expected.total.item())
    for name, value in expected.components.items():
        assert steps.means[f"Losses/train_all_loss_{name}"] == pytest.approx(value.item())


def test_a_loss_of_predicted_ious():
    """It gets them with the masks."""
    steps = Steps(OURS | {"name": "sam"}).run()
    expected = lossreg.build("sam")(*predicted_masks(Outputs()(batch), batch.masks))
    assert steps.means["Losses/train_all_loss"] == pytest.approx(expected.item())


def test_inputs_of_ones_own():
    """By a function that Hydra makes."""
    steps = Steps(OURS | {"name": "dice", "adapt": {"_target_": f"{__name__}.first_step", "_partial_": True}}).run()
    outputs = Outputs()(batch)
    expected = lossreg.build("dice")(outputs[0][MASKS][0][:, :1], batch.masks[0].unsqueeze(1))
    assert steps.means["Losses/train_all_loss"] == pytest.approx(expected.item())


def first_step(outputs, masks):
    """The first mask of the first step and frame."""
    return outputs[0][MASKS][0][:, :1], masks[0].unsqueeze(1)


def test_steps_are_counted_for_schedules():
    """From 0, in training alone: weights of 1, 1/2 and 0 of a loss that stays the same."""
    points = [[0, 1.0], [2, 0.0]]
    loss = Sam2Loss("scheduled", {"terms": [{"name": "dice", "points": points}]})
    outputs = Outputs()(batch)
    values = []
    for _ in range(3):
        values.append(loss(outputs, batch.masks)["core_loss"].item())
        with torch.no_grad():
            loss(outputs, batch.masks)
    assert values == pytest.approx([values[0], values[0] / 2, 0.0])


def test_a_loss_that_would_not_be_trained_is_refused():
    """In the second step, by the gradient that the first one left."""
    with pytest.raises(InputError, match=r"has those of the model alone; write trainer\._target_: .*\.Sam2Trainer"):
        Steps(LEARNS).run(2)


def test_a_loss_with_buffers_follows_the_batch(monkeypatch):
    """The trainer moves the model alone."""
    loss = Sam2Loss("torch/bce_with_logits", {"pos_weight": [2.0]})
    expected = loss(Outputs()(batch), batch.masks)["core_loss"]
    loss.to("meta")
    monkeypatch.setattr(
        loss, "to", lambda device: loss.loss.register_buffer("pos_weight", torch.tensor([2.0], device=device))
    )
    torch.testing.assert_close(loss(Outputs()(batch), batch.masks)["core_loss"], expected)


def test_nan_reaches_the_monitor():
    """Before the trainer itself raises its error."""
    steps = Steps(OURS | {"monitor": {"rules": ["NonFinite"], "every": 1}})
    with torch.no_grad():
        steps.trainer.model.masks[0, 0, 0] = math.nan
    with pytest.warns(lossreg.health.HealthWarning, match="NonFinite"), pytest.raises(FloatingPointError):
        steps.run()
    assert [event.rule for event in steps.trainer.loss["all"].events()] == ["NonFinite"]


def test_the_page_runs(folder, monkeypatch):
    """Its example of Python, and its losses by Hydra."""
    run_blocks(PAGE, folder, monkeypatch)
    for name in ("sam2.yaml", "dice.yaml"):
        steps = Steps(OmegaConf.load(folder / name).trainer.loss.all).run()
        assert steps.means["Losses/train_all_loss"] > 0


# Whole trainings


class Videos:
    """Videos of two frames and one object, of 8 x 8, in batches of two and a last one; a rank has its share.

    With `uneven`, the last rank begins with the small batch: the ranks have different numbers of objects in a step.
    """

    def __init__(self, number=4, uneven=False):
        self.number, self.uneven = number, uneven

    def get_loader(self, epoch):
        rank, ranks = torch.distributed.get_rank(), torch.distributed.get_world_size()
        own = range(rank, self.number, ranks)
        if self.uneven and rank:
            return [video_batch(own[:1]), video_batch(own[1:])]
        return [video_batch(own[first : first + 2]) for first in range(0, len(own), 2)]


def video_batch(numbers):
    """A batch as SAM 2's collate_fn makes it."""
    made = [torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(number)) for number in numbers]
    images = torch.stack(made, 1)  # (T, B, 3, H, W)
    names = torch.tensor([[[number, 7, frame] for number in numbers] for frame in range(2)])
    sizes = torch.full((2, len(numbers), 2), 8)
    return BatchedVideoDatapoint(
        img_batch=images,
        obj_to_frame_idx=torch.tensor([[[frame, index] for index in range(len(numbers))] for frame in range(2)]),
        masks=images.mean(2) > 0.2,
        metadata=BatchedVideoMetaData(unique_objects_identifier=names, frame_orig_size=sizes, batch_size=[2]),
        dict_key="all",
        batch_size=[2],
    )


class Segmenter(nn.Module):
    """A convolution to two masks for each frame, in two steps; the IoU and the presence follow from their means."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 2, 3, padding=1)

    def forward(self, videos):
        frames = []
        for images in videos.img_batch:
            masks = self.conv(images)
            mean = masks.mean((2, 3))
            frames.append({MASKS: [masks, 2 * masks], IOUS: [mean.sigmoid()] * 2, SCORES: [mean[:, :1]] * 2})
        return frames


class Constant:
    """A schedule for an option of the optimiser."""

    def __init__(self, value):
        self.value = value

    def __call__(self, where):
        return self.value


def fit(folder, loss, target=f"{Sam2Trainer.__module__}.Sam2Trainer", number=4, epochs=2, lr=0.1, val=True, **options):
    """Run the trainer, as SAM 2's train.py does, and return its parameters."""
    torch.cuda.reset_peak_memory_stats = lambda: None  # which the trainer calls on CPUs, too
    here = "tests.trainers.test_sam2"
    videos = {"_target_": f"{here}.Videos", "number": number}
    schedule = [{"scheduler": {"_target_": f"{here}.Constant", "value": lr}}]
    config = {
        "_target_": target,
        "_recursive_": False,
        "data": {"train": videos | {"uneven": True}} | ({"val": videos} if val else {}),
        "model": {"_target_": f"{here}.Segmenter"},
        "logging": {"log_dir": f"{folder}/logs", "log_freq": 1, "tensorboard_writer": None, "log_scalar_frequency": 1},
        "checkpoint": {"save_dir": f"{folder}/checkpoints", "save_freq": 1},
        "max_epochs": epochs,
        "mode": "train" if val else "train_only",
        "accelerator": "cpu",
        "optim": {"optimizer": {"_target_": "torch.optim.SGD"}, "options": {"lr": schedule}},
        "loss": {"all": loss},
        **options,
    }
    made = instantiate(OmegaConf.create(config))
    made.run()
    learned = [parameter.tolist() for parameter in made.loss.parameters()]
    torch.distributed.destroy_process_group()
    return {"model": [p.flatten().tolist() for p in made.model.parameters()], "loss": learned, "epoch": made.epoch}


def lines(folder, split):
    """The statistics of each epoch."""
    return [json.loads(line) for line in (folder / "logs" / f"{split}_stats.json").read_text().splitlines()]


def rows(folder, split):
    """The rows of a split as (epoch, step, sample_id, loss), in order."""
    with connect(folder) as connection:
        columns = "epoch, step, sample_id, loss"
        return connection.execute(f"SELECT {columns} FROM records WHERE split = '{split}' ORDER BY ALL").fetchall()


def with_their_loss(folder):
    """A training as it is without lossreg."""
    return fit(f"{folder}/theirs", THEIRS, "training.trainer.Trainer", number=6)["model"]


def with_ours(folder):
    """The same in our trainer, with all that it writes."""
    loss = OURS | {"records": f"{folder}/records"}
    return fit(f"{folder}/ours", loss, number=6, reports=f"{folder}/reports", job="s", save_best=True)["model"]


@pytest.mark.parametrize("processes", [1, 2])
def test_a_training_equals_theirs(folder, processes):
    """Parameters and statistics on one and on two ranks of three videos; each example is recorded once."""
    every = zip(*(spawn(job, folder, processes=processes) for job in (with_ours, with_their_loss)), strict=True)
    for ours, theirs in every:
        for one, other in zip(ours, theirs, strict=True):
            assert one == pytest.approx(other, abs=1e-6)
    for split in ("train", "val"):
        for ours, theirs in zip(lines(folder / "ours", split), lines(folder / "theirs", split), strict=True):
            assert {name: ours[name] for name in theirs if "oss" in name} == pytest.approx(
                {name: value for name, value in theirs.items() if "oss" in name}
            )
    per_epoch = {1: 3, 2: 2}[processes]  # steps
    found = rows(folder / "records", "train")
    assert [row[2] for row in found if row[0] == 0] == sorted_names(6, found)
    assert {row[1] for row in found} == set(range(2 * per_epoch))
    for epoch, line in enumerate(lines(folder / "ours", "val")):
        losses = [row[3] for row in rows(folder / "records", "val") if row[0] == epoch]
        assert len(losses) == 6
        assert line["val/total_loss"] == pytest.approx(sum(losses) / 6)
    reports = sorted(path.name for path in (folder / "reports").iterdir())
    assert f"s_{per_epoch:09d}.json" in reports
    assert f"s_{2 * per_epoch:09d}.json" in reports
    checkpoint = torch.load(folder / "ours" / "checkpoints" / "best_total_loss.pt", weights_only=False)
    assert checkpoint["loss_config"] == {"all": lossreg.config_of(lossreg.build("sam2"))}
    best = min(line["val/total_loss"] for line in lines(folder / "ours", "val"))
    assert checkpoint["best_meter_values"]["val/total_loss"] == pytest.approx(best)


def sorted_names(number, found):
    """The names of all videos, in the order of the steps that had them."""
    names = sorted((row[1], row[2]) for row in found if row[0] == 0)
    assert {name for _, name in names} == {f"{video}/7" for video in range(number)}
    return [name for _, name in names]


def resumed(folder):
    """Three epochs, and the same in two parts."""
    terms = [{"name": "dice", "points": [[0, 1.0], [6, 0.0]]}, {"name": "focal", "points": [[0, 0.0], [6, 20.0]]}]
    loss = OURS | {"name": "scheduled", "params": {"terms": terms}}
    whole = fit(f"{folder}/whole", loss | {"records": f"{folder}/whole/records"}, epochs=3)
    parts = loss | {"records": {"directory": f"{folder}/parts/records", "run": "night"}}
    fit(f"{folder}/parts", parts, epochs=2, val=False)
    return whole["model"], fit(f"{folder}/parts", parts, epochs=3)["model"]


def test_resuming_goes_on_with_the_same_records(folder):
    """The same parameters, steps of the schedule and rows of single frames."""
    ((whole, parts),) = spawn(resumed, folder, processes=1)
    for one, other in zip(whole, parts, strict=True):
        assert one == pytest.approx(other, abs=1e-6)
    expected = rows(folder / "whole" / "records", "train")
    assert len(expected) == 3 * 4 * 2
    assert expected[0][2] == "0/7/0"
    found = rows(folder / "parts" / "records", "train")
    assert [row[:3] for row in found] == [row[:3] for row in expected]
    assert [row[3] for row in found] == pytest.approx([row[3] for row in expected])


def learned(folder):
    """A loss that learns, on this rank's videos."""
    return fit(folder, LEARNS, number=6, val=False)["loss"]


def test_a_loss_that_learns_is_trained_and_equal_on_all_ranks(folder):
    """With the learning rate of the model."""
    first, second = spawn(learned, folder)
    assert first == second
    assert all(abs(value) > 0.001 for value in first[0])


def stopped(folder):
    """A training with a monitor that stops it."""
    rule = {"_target_": "lossreg.health.Plateau", "span": 4, "action": "stop"}
    monitor = {"rules": [rule], "every": 1}
    return fit(folder, OURS | {"monitor": monitor}, epochs=9, lr=0.0)["epoch"]


def test_a_monitor_stops_the_training(folder):
    """After an epoch, with a checkpoint and a last validation; the event is in the trainer's log."""
    (epoch,) = spawn(stopped, folder, processes=1)
    assert 0 < epoch < 8
    assert "Plateau" in (folder / "logs" / "log.txt").read_text()
    assert len(lines(folder, "train")) == epoch + 1
    assert (folder / "checkpoints" / f"checkpoint_{epoch + 1}.pt").exists()


def refused(folder):
    """The messages for a trainer without a loss of ours, and for reports without records."""
    found = []
    for loss, options in ((THEIRS, {}), (OURS, {"reports": "reports"})):
        with pytest.raises(InstantiationException) as caught:
            fit(folder, loss, **options)
        found.append(str(caught.value.__cause__))
        torch.distributed.destroy_process_group()
    return found


def test_what_the_trainer_refuses(folder):
    """Before anything is trained."""
    (messages,) = spawn(refused, folder, processes=1)
    assert "Sam2Trainer finds no loss; write loss.all._target_: lossreg.integrations.sam2.Sam2Loss" in messages[0]
    assert "reports need records: write loss.all.records: runs/7/records" in messages[1]
