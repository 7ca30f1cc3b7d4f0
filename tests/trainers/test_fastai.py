"""lossreg inside fastai: columns of the recorder, callbacks that follow them, predictions, records, exports."""

import random
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import lossreg
from lossreg import InputError
from lossreg.integrations import Tracked
from lossreg.records import RecordWriter, aggregate_by_dataset

from ..pages import run_blocks
from .data import MIX, Pictures, loader, mix, net, plain_loop, trainer
from .ranks import spawn

trainer("fastai.vision.all"), trainer("fastai.distributed")  # their imports warn
from fastai.callback.core import Callback, FetchPredsCallback  # noqa: E402
from fastai.callback.fp16 import AMPMode, MixedPrecision  # noqa: E402
from fastai.callback.mixup import MixUp  # noqa: E402
from fastai.callback.progress import CSVLogger  # noqa: E402
from fastai.callback.schedule import lr_find  # noqa: E402, F401
from fastai.callback.tracker import EarlyStoppingCallback, SaveModelCallback  # noqa: E402
from fastai.callback.training import GradientAccumulation  # noqa: E402
from fastai.data.core import DataLoaders, Datasets, TfmdDL  # noqa: E402
from fastai.distributed import DistributedDL, DistributedTrainer  # noqa: E402
from fastai.learner import CastToTensor, Learner, load_learner  # noqa: E402
from fastai.losses import CrossEntropyLossFlat  # noqa: E402
from fastai.optimizer import SGD, OptimWrapper  # noqa: E402
from fastai.vision.core import TensorImage, TensorMask  # noqa: E402

from lossreg.integrations.fastai import FastaiLoss, LossCallback  # noqa: E402
from lossreg.integrations.fastai.examples import facts_of_batch  # noqa: E402

PAGE = Path(__file__).parents[2] / "docs/trainers/fastai.md"
LEARNED = {"name": "uncertainty_weighting", "params": {"terms": ["focal", "dice"]}}
PARTS = ["total_loss", "loss_focal", "loss_dice"]


class Pairs(Pictures):
    """With fastai's own tensors."""

    def __init__(self, number=16, items=None):
        super().__init__(number, pairs=True)
        if items is not None:
            self.items = items

    def __getitem__(self, index):
        image, mask = super().__getitem__(index)
        return TensorImage(image), TensorMask(mask)


def data(number=16, valid=8, items=None, **options):
    options = {"bs": 4, "shuffle": False, "drop_last": False} | options
    train = TfmdDL(Pairs(number, items), **options)
    return DataLoaders(train, TfmdDL(Pairs(valid, items and items[:valid]), bs=4), device="cpu")


def learner(loss=None, callback=None, *, lr=0.0, dls=None, cbs=(), **options):
    options = {"opt_func": SGD, "wd": 0.0, "moms": None} | options
    callbacks = [callback or LossCallback(), *cbs]
    learn = Learner(dls or data(), net(), loss_func=loss or Tracked(MIX), lr=lr, cbs=callbacks, **options)
    learn.remove_cb(next(cb for cb in learn.cbs if type(cb).__name__ == "ProgressCallback"))
    learn.logger = lambda log: None
    return learn


def columns(learn):
    """The values of each column, an epoch in each."""
    names = learn.recorder.metric_names[1:]
    return {name: [row[n] for row in learn.recorder.values] for n, name in enumerate(names) if name != "time"}


def assert_trained_alike(learn, plain):
    for found, expected in zip(learn.model.parameters(), plain.model.parameters(), strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("opt", [SGD, lambda params, **k: OptimWrapper(params, torch.optim.SGD, lr=k["lr"])])
def test_it_trains_as_the_plain_loop(opt):
    """On TensorImage and TensorMask, which do not mix in an operation; parameters after two epochs."""
    learn = learner(lr=0.1, opt_func=opt)
    learn.fit(2)
    assert_trained_alike(learn, plain_loop(lr=0.1, epochs=2))


def test_its_own_tensors_reach_the_loss():
    """Also without the callback of fastai that makes plain tensors of them."""
    learn = learner(lr=0.1)
    learn.remove_cbs(CastToTensor)
    seen = []
    learn.add_cb(Callback(after_pred=lambda self: seen.append(type(self.learn.yb[0]))))
    learn.fit(2)
    assert set(seen) == {TensorMask}
    assert_trained_alike(learn, plain_loop(lr=0.1, epochs=2))


def test_gradient_accumulation():
    """Until 8 examples; the callback scales the loss in place, and the means stay those of the loss."""
    learn = learner(lr=0.1, cbs=[GradientAccumulation(8)])
    learn.fit(2)
    plain = plain_loop(lr=0.1, accumulate=2, epochs=2)
    assert_trained_alike(learn, plain)
    found = columns(learn)["train/total_loss"]
    assert sum(found) / 2 == pytest.approx(plain.means["total_loss"], rel=1e-5)


def test_the_recorder_has_total_and_components():
    """Means over the examples, with uneven last batches; valid_loss of fastai agrees; the columns come once."""
    learn = learner(dls=data(10, 7))
    learn.fit(1)
    learn.loss_func(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4))  # no part of the next fit
    learn.fit(2)
    expected = {f"train/{k}": v for k, v in plain_loop(loader(10)).means.items()}
    expected |= {f"val/{k}": v for k, v in plain_loop(loader(7)).means.items()}
    found = columns(learn)
    assert list(learn.recorder.metric_names) == ["epoch", "train_loss", "valid_loss", *expected, "time"]
    for name, value in expected.items():
        assert found[name] == pytest.approx([value] * 2, rel=1e-5), name
    assert found["valid_loss"] == pytest.approx(found["val/total_loss"], rel=1e-5)


def test_a_recorder_with_metrics_of_training():
    """It writes train_ and valid_ before the names itself."""
    learn = learner(dls=data(10, 7))
    learn.recorder.train_metrics = True
    learn.fit(1)
    found = columns(learn)
    assert [name for name in found if "total" in name] == ["train_total_loss", "valid_total_loss"]
    assert found["train_loss_dice"] == pytest.approx([plain_loop(loader(10)).means["loss_dice"]], rel=1e-5)
    assert found["valid_loss_dice"] == pytest.approx([plain_loop(loader(7)).means["loss_dice"]], rel=1e-5)


def test_callbacks_follow_the_columns(folder):
    """The least total is the best: the model with it is loaded at the end; early stopping; the file of CSVLogger."""
    kept = SaveModelCallback(monitor="val/total_loss")
    stop = EarlyStoppingCallback(monitor="val/loss_dice", patience=2)
    learn = learner(lr=-1.0, path=folder)
    learn.fit(6, cbs=[kept, stop, CSVLogger()])
    found = columns(learn)["val/total_loss"]
    assert len(found) == 3
    assert kept.best == found[0] == min(found)
    assert learn.validate()[0] == pytest.approx(found[0], rel=1e-5)
    assert {"val/total_loss", "train/loss_focal"} < set((folder / "history.csv").read_text().split("\n")[0].split(","))


def test_the_names_of_the_columns_cost_no_random_number():
    """The batch for them disturbs neither the order nor the numbers of the training."""
    seen = []
    for cbs in ([LossCallback()], []):
        random.seed(0)
        torch.manual_seed(0)
        learn = Learner(data(shuffle=True), net(), loss_func=Tracked(MIX), opt_func=SGD, lr=0.1, cbs=cbs)
        with learn.no_bar(), learn.no_logging():
            learn.fit(1)
        seen.append(([p.detach().clone() for p in learn.model.parameters()], torch.rand(1)))
    for one, other in zip(*[each[0] for each in seen], strict=True):
        assert torch.equal(one, other)
    assert torch.equal(seen[0][1], seen[1][1])


def test_mixed_targets():
    """MixUp of one-hot classes trains as that of class indices with fastai's own loss."""
    images, classes = torch.randn(16, 8), torch.arange(16) % 3
    ours = Tracked({"name": "cross_entropy", "params": {"task": "multiclass"}})
    found = []
    for loss, targets in ((CrossEntropyLossFlat(), classes), (ours, nn.functional.one_hot(classes).float())):
        dls = DataLoaders(*[TfmdDL(list(zip(images, targets, strict=True)), bs=4)] * 2, device="cpu")
        torch.manual_seed(0)
        cbs = [MixUp(), *[LossCallback()] * (loss is ours)]
        learn = Learner(dls, nn.Linear(8, 3), loss_func=loss, cbs=cbs)
        with learn.no_bar(), learn.no_logging():
            learn.fit(2, 0.1)
        found.append(learn.model.weight)
    torch.testing.assert_close(*found)


def test_a_batch_computes_the_loss_once(monkeypatch):
    """Besides one for the names of the columns: 4 of training, 2 of validation."""
    loss, calls = Tracked(MIX), []
    evaluate = type(loss.loss).evaluate
    monkeypatch.setattr(type(loss.loss), "evaluate", lambda *a, **k: calls.append(1) or evaluate(*a, **k))
    learner(loss).fit(1)
    assert len(calls) == 1 + 4 + 2


def test_validate_has_the_columns_of_validation():
    """Outside a fit, on another set; those of training are empty."""
    learn = learner()
    learn.fit(1)
    values = learn.validate(dl=TfmdDL(Pairs(6), bs=4))
    found = dict(zip(learn.recorder.metric_names[2:], values, strict=False))
    assert {name: found[f"val/{name}"] for name in PARTS} == pytest.approx(plain_loop(loader(6)).means, rel=1e-5)
    assert found["train/total_loss"] is None


def test_what_is_no_training_counts_nowhere(folder):
    """A search for a learning rate, predictions with their losses, and results that are shown."""
    loss = FastaiLoss(LEARNED, monitor={"every": 1, "action": "stop"}, records="records")
    learn = learner(loss, lr=0.1, path=folder)
    learn.lr_find(num_it=10, end_lr=1e4, show_plot=False, suggest_funcs=None)
    assert loss.loss.log_variances.tolist() == [0.0, 0.0]
    assert "updates=0" in repr(loss.monitor)
    learn.get_preds(with_loss=True)
    loss.flush()
    assert not any(Path("records").rglob("*.parquet"))
    learn.fit(1)
    assert not loss.should_stop
    assert "updates=4" in repr(loss.monitor)
    learn.get_preds()
    loss.flush()
    assert aggregate_by_dataset("records", together=True)["overall"]["count"] == 16 + 8


def test_predictions_within_a_fit_count_nowhere():
    """As of callbacks that fetch predictions after the validation: its means stay those of the validation."""
    learn = learner(dls=data(16, 7), cbs=[FetchPredsCallback(dl=TfmdDL(Pairs(3), bs=3))])
    learn.fit(1)
    assert columns(learn)["val/total_loss"] == pytest.approx([plain_loop(loader(7)).means["total_loss"]], rel=1e-5)


def test_predictions_have_an_activation():
    """Probabilities and masks of logits; the loss of each example."""
    learn = learner(FastaiLoss(MIX, ends="sigmoid"))
    probabilities, masks, decoded, losses = learn.get_preds(with_decoded=True, with_loss=True)
    logits = net()(Pictures(8).images)
    torch.testing.assert_close(probabilities.as_subclass(torch.Tensor), logits.sigmoid())
    assert torch.equal(decoded.as_subclass(torch.Tensor), logits > 0)
    torch.testing.assert_close(losses.as_subclass(torch.Tensor), mix(logits, Pictures(8).masks)["total_loss"])
    assert len(masks) == 8
    learn.loss_func(logits, Pictures(8).masks)  # calls of a user's own count again
    assert learn.loss_func.read("train", "")["total_loss"] == pytest.approx(losses.mean().item())
    assert FastaiLoss("dice", ends="softmax").decodes(torch.tensor([[0.2, 0.8]])).tolist() == [1]
    torch.testing.assert_close(FastaiLoss("dice", ends="softmax").activation(logits), logits.softmax(1))
    assert FastaiLoss("dice").decodes(FastaiLoss("dice").activation(logits)) is logits


def test_the_loss_of_each_example_must_exist():
    """The remedy of the message, to leave the option out, works; an unknown end is refused."""
    learn = learner(FastaiLoss(nn.BCEWithLogitsLoss(), adapt=lambda x, y: (x, y.float())))
    with pytest.raises(
        InputError, match="with_loss=True needs the loss of each example, which this loss has not; leav"
    ):
        learn.get_preds(with_loss=True)
    learn.get_preds()
    with pytest.raises(InputError, match="ends must be 'sigmoid', 'softmax' or None, got 'relu'"):
        FastaiLoss("dice", ends="relu")


@pytest.mark.parametrize("opt", [SGD, lambda params, **k: OptimWrapper(params, torch.optim.SGD, lr=k["lr"])])
def test_a_loss_that_learns_is_trained(opt):
    """In the last group, without weight decay, also after freeze: equal to torch's SGD over model and loss."""
    loss = Tracked(LEARNED)
    learn = learner(loss, lr=0.1, opt_func=opt, splitter=lambda m: [list(m[0].parameters()), list(m[2].parameters())])
    learn.freeze()
    learn.fit(2)
    model, expected = net(), lossreg.build(LEARNED)
    optimizer = torch.optim.SGD([*model[2].parameters(), *expected.parameters()], 0.1)
    for _ in range(2):
        for image, mask in loader(pairs=True):
            optimizer.zero_grad()
            expected(model(image), mask).backward()
            optimizer.step()
    torch.testing.assert_close(loss.loss.log_variances, expected.log_variances)
    assert expected.log_variances.abs().min() > 0.01
    learn.unfreeze()
    learn.fit(1)


def test_weight_decay_spares_the_loss():
    """It would draw the log variances to 0."""
    found = []
    for wd in (0.0, 0.5):
        loss = Tracked(LEARNED)
        learn = learner(loss, lr=0.1, wd=wd)
        for parameter in learn.model.parameters():
            parameter.requires_grad_(False)
        learn.fit(1)
        found.append(loss.loss.log_variances.detach())
    torch.testing.assert_close(*found)


def test_a_loss_that_learns_needs_the_callback_from_the_beginning():
    """Given to fit alone, the optimiser lacks its parameters; the remedy of the message is what the tests above do."""
    learn = Learner(data(), net(), loss_func=Tracked(LEARNED), opt_func=SGD)
    with learn.no_bar(), pytest.raises(InputError, match=r"learns log_variances.*Learner\(..., cbs=LossCallback\(\)\)"):
        learn.fit(1, cbs=LossCallback())


def test_the_callback_needs_a_tracked_loss():
    """The message writes the line."""
    with pytest.raises(InputError, match=r"finds no loss: write Learner\(..., loss_func=Tracked\('dice'\)\)"):
        learner(nn.BCEWithLogitsLoss())


@pytest.mark.parametrize("way", ["stop", "raise"])
def test_a_monitor_stops_the_fit(way):
    """NaN in the pictures of the second batch: the fit ends, by fastai's own exception or HealthError."""
    dls = data()
    dls.train.dataset.images[5] = torch.nan
    loss, callback = Tracked(MIX, monitor={"every": 1, "action": way}), LossCallback()
    learn = learner(loss, callback, lr=0.1, dls=dls)
    if way == "raise":
        with pytest.raises(lossreg.HealthError, match="NonFinite"):
            learn.fit(3)
        return
    learn.fit(3)
    assert [event.rule for event in callback.events] == ["NonFinite"]
    assert learn.loss_callback is callback  # and learn.loss is the loss of the batch
    assert "updates=2" in repr(loss.monitor)


def test_events_have_a_column():
    """Their number in each epoch, also where other callbacks predict in it. The next fit goes on with the monitor."""
    dls, callback = data(), LossCallback()
    loss = Tracked(MIX, monitor={"every": 3, "action": lambda event: None, "rules": ["NonFinite"]})
    learn = learner(loss, callback, dls=dls, cbs=[FetchPredsCallback(dl=TfmdDL(Pairs(3), bs=3))])
    learn.fit(1)
    assert columns(learn)["health_events"] == [0]
    dls.train.dataset.images[5] = torch.nan
    learn.fit(1)
    assert columns(learn)["health_events"] == [1]
    assert "updates=8" in repr(loss.monitor)


def test_the_last_updates_are_evaluated():
    """As a fit ends: 4 batches, with an evaluation of 3."""
    dls, callback = data(), LossCallback()
    dls.train.dataset.images[15] = torch.nan
    learner(Tracked(MIX, monitor={"every": 3, "action": lambda event: None}), callback, dls=dls).fit(1)
    assert [event.rule for event in callback.events] == ["NonFinite"]


def test_a_schedule_and_records_go_on_over_fits():
    """Steps and epochs of the second fit, as of fine_tune, follow those of the first."""
    steps, epochs = [], []
    loss = Tracked(MIX)
    learn = learner(loss)
    note = Callback(
        after_pred=lambda self: (
            (self.learn.training and steps.append(loss.context.step)) or epochs.append(loss.context.epoch)
        )
    )
    learn.add_cb(note)
    learn.fit(1)
    learn.validate()
    learn.fit(2)
    assert steps == list(range(12))
    assert sorted(set(epochs)) == [0, 1, 2]
    points = [[0, 0.0], [100, 100.0]]
    scheduled = Tracked({"name": "scheduled", "params": {"terms": [{"name": "dice", "points": points}]}})
    learn = learner(scheduled)
    learn.fit(1)
    dice = [step["loss_dice"] for step in plain_loop().steps]
    assert columns(learn)["train/total_loss"] == pytest.approx([sum(n * v for n, v in enumerate(dice)) / 4], rel=1e-5)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("items", ["paths", "texts", "numbers", "none", "named"])
def test_records_name_each_example(folder, items, workers):
    """In shuffled order, with workers and an uneven last batch; the reports follow the epochs of the fit."""
    names = {
        "paths": [Path(f"s{n}.png") for n in range(10)],
        "texts": [f"s{n}" for n in range(10)],
        "numbers": list(range(100, 110)),
        "named": [Path(f"s{n}.png") for n in range(10)],
        "none": None,
    }[items]
    callback = LossCallback(
        name_of=(lambda path: path.stem) if items == "named" else None, reports="reports", job="seg"
    )
    loss = Tracked(MIX, records="records")
    learn = learner(loss, callback, dls=data(10, 6, names, shuffle=True, num_workers=workers))
    learn.fit(2)
    rows = aggregate_by_dataset("records", top_k=100, together=True)["overall"]
    assert rows["count"] == 2 * 10 + 2 * 6
    values = mix(net()(Pictures(10).images), Pictures(10).masks)["total_loss"].tolist()
    expected = {
        "paths": {f"s{n}.png": value for n, value in enumerate(values)},
        "texts": {f"s{n}": value for n, value in enumerate(values)},
        "named": {f"s{n}": value for n, value in enumerate(values)},
        "numbers": {str(100 + n): value for n, value in enumerate(values)},
        "none": {f"{split}/{n}": v for split, k in (("train", 10), ("val", 6)) for n, v in enumerate(values[:k])},
    }[items]
    key = "path" if items == "paths" else "sample_id"
    assert {row[key]: row["mean"] for row in rows["highest"]} == pytest.approx(expected, rel=1e-5)
    assert sorted(path.name for path in (folder / "reports").iterdir()) == ["seg_000000003.json", "seg_000000006.json"]


def test_data_whose_items_have_no_names():
    """The rows of a table are numbered; a data set of whole batches names none."""
    import pandas

    def of_loader(bs, items=None):
        data = SimpleNamespace(items=items)
        loader = SimpleNamespace(dataset=data, bs=bs, _DataLoader__idxs=[3, 1, 2])
        return facts_of_batch(loader, number=1, size=1, split="val", name_of=None)

    assert of_loader(2, pandas.DataFrame({"a": [1, 2, 3, 4]})) == {"sample_ids": ["val/2"]}
    assert of_loader(2, [0.5] * 4) == {"sample_ids": ["val/2"]}
    assert of_loader(None) == {}


def test_loaders_of_torch_have_no_names():
    """Their rows have none; all else is there."""
    loss = Tracked(MIX, records="records")
    learn = learner(loss, dls=DataLoaders(loader(pairs=True), loader(6, pairs=True), device="cpu"))
    learn.fit(1)
    assert columns(learn)["val/total_loss"] == pytest.approx([plain_loop(loader(6)).means["total_loss"]], rel=1e-5)
    assert aggregate_by_dataset("records", together=True)["overall"]["count"] == 22


def test_reports_need_records():
    """The message names the argument. A validation writes no report."""
    learn = learner(callback=LossCallback(reports="reports"))
    learn.validate()
    with pytest.raises(InputError, match="a report needs the loss of each example: give records="):
        learn.fit(1)


def test_a_restart_goes_on_with_the_records(folder):
    """Cut in the second epoch, and begun again there from the saved model: each example is read once per epoch."""
    first = []

    class Cut(Callback):
        order = 60

        def after_batch(self):
            if self.training and self.epoch == 1 and self.iter == 2:
                raise KeyboardInterrupt

    def run(*cbs, **options):
        loss = Tracked(MIX, records=RecordWriter("records", run="seg"))
        learn = learner(loss, lr=0.1, path=folder, dls=data(16, 4, [f"s{n}" for n in range(16)]))
        if options:
            learn.load("model_0", with_opt=True)
            learn.add_cb(Callback(after_pred=lambda self: self.learn.training and first.append(loss.context.step)))
        try:
            learn.fit(3, cbs=[SaveModelCallback(every_epoch=True, with_opt=True), *cbs], **options)
        finally:
            loss.flush()

    with pytest.raises(KeyboardInterrupt):
        run(Cut())
    run(start_epoch=1)
    assert first == list(range(4, 12))
    found = aggregate_by_dataset("records", together=True)["overall"]
    assert (found["count"], found["items"]) == (3 * 16 + 3 * 4, 16)


def test_an_exported_learner_has_its_loss(folder):
    """The config travels, and predictions have their activation."""
    source = Pairs(8)
    sets = Datasets(list(range(8)), [[lambda n: source[n][0]], [lambda n: source[n][1]]], splits=[range(6), [6, 7]])
    learn = learner(
        FastaiLoss(MIX, ends="sigmoid", monitor="warn", records="records"),
        path=folder,
        dls=sets.dataloaders(bs=2, device="cpu"),
    )
    learn.fit(1)
    learn.export("export.pkl")
    loaded = load_learner(folder / "export.pkl")
    assert lossreg.config_of(loaded.loss_func) == lossreg.config_of(learn.loss_func)
    probabilities, _ = loaded.get_preds(dl=TfmdDL(Pairs(3), bs=3))
    torch.testing.assert_close(probabilities.as_subclass(torch.Tensor), net()(Pictures(3).images).sigmoid())
    _, decoded, probability = learn.predict(3)
    torch.testing.assert_close(probability.as_subclass(torch.Tensor), net()(Pictures(4).images)[3].sigmoid())
    assert torch.equal(decoded.as_subclass(torch.Tensor), probability.as_subclass(torch.Tensor) > 0.5)
    learn.loss_func.flush()
    assert aggregate_by_dataset("records", together=True)["overall"]["count"] == 6 + 2


def test_mixed_precision(monkeypatch):
    """bfloat16 by fastai's callback, which knows CUDA alone: here it is given autocast of the CPU."""
    import fastai.callback.fp16 as module

    monkeypatch.setattr(module, "autocast", lambda device, dtype: torch.autocast("cpu", dtype))
    learn = learner(lr=0.1, cbs=[MixedPrecision(AMPMode.BF16)])
    learn.fit(1)
    assert learn.loss_func.last.total.dtype == torch.float32
    assert columns(learn)["train/total_loss"] == pytest.approx([plain_loop(lr=0.1).means["total_loss"]], rel=0.02)


def job(number):
    """Train on 2 ranks; fastai's loader broadcasts the order with CUDA alone, and here it is the same on both."""
    DistributedDL._broadcast = lambda self, order, source: order
    loss = Tracked(LEARNED, records=RecordWriter("records", run="seg"))
    learn = learner(
        loss,
        lr=0.1,
        dls=data(number, 3, [f"s{n}" for n in range(number)], bs=2),
        cbs=[DistributedTrainer(cpu=True, sync_bn=False)],
    )
    learn.fit(2)
    loss.close()
    weights = [p.tolist() for p in learn.model.parameters()]
    return {"columns": columns(learn), "learned": loss.loss.log_variances.tolist(), "weights": weights}


def test_two_processes():
    """Both have the same parameters, also of the loss, and the same means; padding counts nowhere."""
    first, second = spawn(job, 7, seconds=300)
    assert first["learned"] == second["learned"]
    assert first["weights"] == second["weights"]
    assert first["columns"]["val/total_loss"] == pytest.approx(second["columns"]["val/total_loss"])
    found = aggregate_by_dataset("records", top_k=100, together=True)["overall"]
    assert (found["count"], found["items"]) == (2 * 7 + 2 * 3, 7)
    # The oracle: ranks have 4 and 3 of 7 examples, in batches of 2, and the average gradient.
    model, loss = net(), lossreg.build(LEARNED)
    optimizer = torch.optim.SGD([*model.parameters(), *loss.parameters()], 0.1)
    images, masks = Pictures(7).images, Pictures(7).masks
    for _ in range(2):
        for batches in (([0, 1], [4, 5]), ([2, 3], [6, 0])):
            optimizer.zero_grad()
            for rows in batches:
                (loss(model(images[rows]), masks[rows]) / 2).backward()
            optimizer.step()
    np.testing.assert_allclose(first["learned"], loss.log_variances.tolist(), rtol=1e-4)
    total = loss(model(images[:3]), masks[:3]).item()  # of validation: 3 examples and 1 of padding
    assert first["columns"]["val/total_loss"][-1] == pytest.approx(total, rel=1e-4)


def test_the_page(folder, monkeypatch):
    """Its blocks run, and print what they show."""
    run_blocks(PAGE, folder, monkeypatch)
