"""Accelerate: the same keys, rows and parameters on one process and on two."""

import json
import math
from pathlib import Path

import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, Subset

import lossreg
from lossreg import InputError
from lossreg.integrations import Tracked
from lossreg.records import aggregate_by_dataset

from ..pages import run_blocks
from .data import MIX, Pictures, loader, net, plain_loop, trainer
from .ranks import spawn

trainer("accelerate")
from accelerate import Accelerator, skip_first_batches  # noqa: E402
from accelerate.data_loader import prepare_data_loader  # noqa: E402
from accelerate.state import AcceleratorState, GradientState  # noqa: E402

from lossreg.integrations.accelerate import begin, log  # noqa: E402

PAGE = Path(__file__).parents[2] / "docs" / "trainers" / "accelerate.md"
LEARNED = {"name": "uncertainty_weighting", "params": {"terms": ["focal", "dice"]}}
IDS = {"sample_ids": "id"}


@pytest.fixture(autouse=True)
def reset():
    """Accelerate keeps its state in its classes."""
    forget()
    yield
    forget()


def forget():
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


def fit(folder="run", number=16, batch_size=4, accumulate=1, config=MIX, lr=0.1, prepared=True, **options):
    """Train net() for an epoch, and evaluate it."""
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=accumulate, **options)
    tracked = Tracked(config, records=Path(folder) / "records")
    model = net()
    optimizer = torch.optim.SGD([*model.parameters(), *tracked.parameters()], lr)
    model, optimizer, batches, val = accelerator.prepare(
        model, optimizer, loader(number, batch_size), loader(18, batch_size)
    )
    loss = accelerator.prepare(tracked) if prepared else tracked
    for step, batch in enumerate(batches):
        begin(accelerator, loss, batch, step=step, epoch=0, batch_keys=IDS)
        with accelerator.accumulate(model, loss):
            accelerator.backward(loss(model(batch["image"]), batch["mask"]))
            optimizer.step()
            optimizer.zero_grad()
    means = log(accelerator, loss, "train", step=step)
    with torch.no_grad():
        for batch in val:
            begin(accelerator, loss, batch, epoch=0, batch_keys=IDS)
            loss(model(batch["image"]), batch["mask"])
    means |= log(accelerator, loss, "val", step=step)
    tracked.close()
    return {
        "means": means,
        "parameters": [p.tolist() for p in accelerator.unwrap_model(model).parameters()],
        "learned": [p.tolist() for p in tracked.parameters()],
    }


def is_close(found, model):
    for one, other in zip(found, model.parameters(), strict=True):
        torch.testing.assert_close(torch.tensor(one), other.detach())
    return True


def means(expected, split):
    return pytest.approx({f"{split}/{name}": value for name, value in expected.items()}, rel=1e-5)


@pytest.mark.parametrize("accumulate", [1, 4])
def test_one_process_is_the_plain_loop(folder, accumulate):
    """Values, parameters and keys, also where gradients are accumulated."""
    plain = plain_loop(lr=0.1, accumulate=accumulate)
    found = fit(folder, accumulate=accumulate)
    assert is_close(found["parameters"], plain.model)
    assert {k: v for k, v in found["means"].items() if "train" in k} == means(plain.means, "train")
    assert set(found["means"]) == {
        f"{s}/{k}" for s in ("train", "val") for k in ("total_loss", "loss_focal", "loss_dice")
    }


def fit_in_each(folder):
    """Train with two examples in each process, without accumulation and with."""
    found = []
    for accumulate in (1, 2):
        forget()
        found.append(fit(Path(folder) / str(accumulate), 16, 2, accumulate))
    return found


def test_two_processes_are_one_with_both_batches(folder):
    """Two examples on each are the batch of four; uneven validation is the mean over its 18 examples, each once."""
    ranks = spawn(fit_in_each, folder)
    for number, accumulate in enumerate((1, 2)):
        forget()
        one = fit(folder / "one", accumulate=accumulate)
        for found in (rank[number] for rank in ranks):
            assert found["means"] == pytest.approx(one["means"], rel=1e-5)
            assert list(found["means"]) == list(one["means"])
            for a, b in zip(found["parameters"], one["parameters"], strict=True):
                torch.testing.assert_close(torch.tensor(a), torch.tensor(b))
        rows = aggregate_by_dataset(folder / str(accumulate) / "records", together=True)["overall"]
        assert (rows["count"], rows["items"]) == (34, 18)


class Stream(IterableDataset):
    """Pictures one after the other; with a length or not."""

    def __init__(self, number):
        self.data = Pictures(number)

    def __iter__(self):
        return (self.data[n] for n in range(len(self.data)))


class Sized(Stream):
    def __len__(self):
        return len(self.data)


class Numbered(Pictures):
    """With numbers as ids: what Accelerate sends to other processes is a tensor."""

    def __getitem__(self, index):
        return super().__getitem__(index) | {"id": index}


def loaders():
    """Return the ways of Accelerate to share out batches: name, loader, options, numbers of the examples."""
    batches = BatchSampler(range(18), 4, drop_last=False)
    subset = DataLoader(Pictures(18), 4, sampler=range(12))
    return [
        *((f"{n} examples", loader(n), {}, range(n)) for n in (3, 8, 11, 16, 18)),
        ("not evened", loader(18), {"even_batches": False}, range(18)),
        ("split", loader(18), {"split_batches": True}, range(18)),
        ("split, not evened", loader(17), {"split_batches": True, "even_batches": False}, range(17)),
        ("dropped", DataLoader(Pictures(18), 4, drop_last=True), {}, range(16)),
        ("dispatched", DataLoader(Numbered(18), 4), {"dispatch_batches": True}, range(18)),
        (
            "dispatched, split",
            DataLoader(Numbered(19), 4),
            {"dispatch_batches": True, "split_batches": True},
            range(19),
        ),
        ("batches by a sampler", DataLoader(Numbered(18), None, sampler=batches), {}, range(18)),
        ("a subset", subset, {}, range(12)),
        ("a stream", DataLoader(Sized(11), 4), {"dispatch_batches": False}, range(11)),
        (
            "batches of a stream, split",
            DataLoader(Sized(11), 4),
            {"split_batches": True, "dispatch_batches": False},
            range(11),
        ),
    ]


def count_examples():
    """Return the ids that the loss counted, and the mean, for each way."""
    accelerator = Accelerator(cpu=True)
    model = net()
    found = {}
    for name, batches, options, _ in loaders():
        if batches.batch_size is None and accelerator.num_processes == 1:
            continue  # Accelerate fails on it
        batches = prepare_data_loader(batches, accelerator.device, put_on_device=True, **options)
        tracked, seen = Tracked(MIX), []
        with torch.no_grad():
            for batch in batches:
                begin(accelerator, tracked, batch, batch_keys=IDS)
                tracked(model(batch["image"]), batch["mask"])
                context = tracked.context
                seen += [int(str(i).lstrip("s")) for i in context.sample_ids[: context.size]]
        found[name] = {"seen": seen, **tracked.read("val")}
    batches = prepare_data_loader(loader(18), accelerator.device, put_on_device=True)
    if accelerator.num_processes > 1:
        endless = prepare_data_loader(DataLoader(Stream(5), 2), accelerator.device, dispatch_batches=False)
        with pytest.warns(UserWarning, match="fill up its last batch count twice.*dispatch_batches=True"):
            _ = [begin(accelerator, tracked, batch) for batch in endless]
    tracked, seen = Tracked(MIX), []
    for batch in skip_first_batches(batches, 1):
        begin(accelerator, tracked, batch, batch_keys=IDS)
        seen += tracked.context.sample_ids[: tracked.context.size]
    return found, sorted(seen)


def test_each_example_counts_once_however_batches_are_shared_out():
    """Accelerate fills up the last batches with the first examples, and counts them for some of these loaders only.

    A stream without a length is warned about.
    """
    ranks = spawn(count_examples)
    for name, batches, _, numbers in loaders():
        seen = sorted(n for found, _ in ranks for n in found[name]["seen"])
        pictures = getattr(batches.dataset, "data", batches.dataset)
        assert seen == list(numbers), name
        expected = plain_loop(DataLoader(Subset(pictures, numbers), 1)).means
        for found, _ in ranks:
            assert {k: v for k, v in found[name].items() if k != "seen"} == means(expected, "val"), name
    assert sorted(n for _, seen in ranks for n in seen) == sorted(f"s{n}" for n in range(8, 18))


def test_in_one_process_all_examples_count():
    """Nothing is filled up there."""
    found, skipped = count_examples()
    for name, _, _, numbers in loaders():
        assert name not in found or sorted(found[name]["seen"]) == list(numbers), name
    assert len(skipped) == 14


def learn():
    """Train a loss that learns, on different data in each process, prepared and not; return what it learned."""
    found = []
    for prepared in (True, False):
        forget()
        found.append(fit(config=LEARNED, number=8, batch_size=2, prepared=prepared)["learned"])
    return found


def test_a_loss_that_learns_is_equal_in_all_processes():
    """Wrapped by Accelerate or not, and as in one process with the batches of both."""
    one = fit(config=LEARNED, number=8, batch_size=4)["learned"]
    assert all(value != 0 for value in one[0])
    for rank in spawn(learn):
        for learned in rank:
            torch.testing.assert_close(torch.tensor(learned), torch.tensor(one))


def test_a_loss_that_nobody_trains_is_refused():
    """With the remedy."""
    accelerator = Accelerator(cpu=True)
    tracked, model = Tracked(LEARNED), net()
    accelerator.prepare(model, torch.optim.SGD(model.parameters(), 0.1))
    with pytest.raises(InputError, match=r"learns log_variances.*\[\*model.parameters\(\), \*loss.parameters\(\)\]"):
        begin(accelerator, tracked, {})


def test_each_optimizer_is_asked_for_the_parameters_of_the_loss():
    """Also one that is prepared after the first batch, or by another Accelerator, as in a notebook."""
    tracked, model = Tracked(LEARNED), net()
    for _ in range(2):
        accelerator = Accelerator(cpu=True)
        begin(accelerator, tracked, {})
        accelerator.prepare(torch.optim.SGD(model.parameters(), 0.1))
        with pytest.raises(InputError, match="learns log_variances"):
            begin(accelerator, tracked, {})
        forget()
    accelerator = Accelerator(cpu=True)
    accelerator.prepare(torch.optim.SGD([*model.parameters(), *tracked.parameters()], 0.1))
    begin(accelerator, tracked, {})
    forget()
    accelerator = Accelerator(cpu=True)
    accelerator.prepare(torch.optim.SGD(model.parameters(), 0.1))
    with pytest.raises(InputError, match="learns log_variances"):
        begin(accelerator, tracked, {})


def read_together():
    """Return how many examples of each batch of 18 count beside a loader of 5, and after one of 3 was left."""
    accelerator, tracked, found = Accelerator(cpu=True), Tracked(MIX), []
    many, few, left = accelerator.prepare(loader(18), loader(5), loader(3))
    for first, second in zip(many, few, strict=False):
        for batches, batch in ((many, first), (few, second)):
            begin(accelerator, tracked, batch, loader=batches)
            found.append(tracked.context.size)
    next(iter(left))
    for batch in many:
        begin(accelerator, tracked, batch, loader=many)
        found.append(tracked.context.size)
    return found


def test_of_several_loaders_the_one_of_the_batch_is_told():
    """Accelerate knows the one that was begun last, and not of one that was left."""
    assert spawn(read_together) == [[None, 4, None, None, 2], [None, 1, None, None, 0]]


def test_only_a_tracked_loss_is_taken():
    """With what to prepare."""
    with pytest.raises(InputError, match=r"a Dice keeps no means: prepare Tracked\(loss\)"):
        begin(Accelerator(cpu=True), lossreg.build("dice"), {})


def test_a_schedule_follows_the_step_of_the_batch():
    """From weight 0 at step 0 to 1 at step 10."""
    accelerator = Accelerator(cpu=True)
    tracked = Tracked({"name": "scheduled", "params": {"terms": [{"points": [[0, 0], [10, 1]], "name": "dice"}]}})
    batch = next(iter(loader()))
    dice = lossreg.build("dice")(net()(batch["image"]), batch["mask"])
    for step, weight in ((0, 0), (5, 0.5), (10, 1)):
        begin(accelerator, tracked, batch, step=step)
        torch.testing.assert_close(tracked(net()(batch["image"]), batch["mask"]), weight * dice)


def stop(folder):
    """Train with a NaN in the third batch of the last process; return the steps done, and the events logged."""
    accelerator = Accelerator(cpu=True, log_with="tensorboard", project_dir=folder)
    accelerator.init_trackers("run")
    tracked = Tracked("dice", monitor={"rules": ["NonFinite"], "every": 1, "action": "stop"})
    model, loss, batches = accelerator.prepare(net(), tracked, loader(16, 2))
    logged = {}
    for step, batch in enumerate(batches):
        if step == 2 and accelerator.is_last_process:
            batch["image"][0] = math.nan
        begin(accelerator, loss, batch, step=step)
        accelerator.backward(loss(model(batch["image"]), batch["mask"]))
        logged |= log(accelerator, loss, step=step)
        if tracked.should_stop:
            break
    for tracker in accelerator.trackers:  # end_training would end the group before the model that holds it
        tracker.finish()
    return step, sorted(logged)


def scalars(folder):
    """Return the steps of each scalar that TensorBoard has."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder)).Reload()
    return {tag: [event.step for event in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def test_the_monitor_stops_all_processes_and_trackers_show_why(folder):
    """At the step of the NaN, which one process has."""
    step, logged = stop(folder)
    assert step == 2
    assert logged == ["health/NonFinite", "train/loss_dice", "train/total_loss"]
    steps = [0, 1, 2]
    assert scalars(folder / "run") == {"train/total_loss": steps, "train/loss_dice": steps, "health/NonFinite": [2]}
    assert [step for step, _ in spawn(stop, folder / "two")] == [2, 2]


def resumed(folder, until=None, accelerate_from=0):
    """Train for an epoch, with a checkpoint after two batches; or go on from it."""
    accelerator = Accelerator(cpu=True, mixed_precision="bf16")
    tracked = Tracked(LEARNED, records={"directory": Path(folder) / "records", "run": "night"})
    model = net()
    optimizer = torch.optim.SGD([*model.parameters(), *tracked.parameters()], 0.1)
    model, loss, optimizer, batches = accelerator.prepare(model, tracked, optimizer, loader(18))
    if accelerate_from:
        accelerator.load_state(str(Path(folder) / "state"))
        batches = skip_first_batches(batches, accelerate_from)
    for step, batch in enumerate(batches, accelerate_from):
        begin(accelerator, loss, batch, step=step, epoch=0, batch_keys=IDS)
        accelerator.backward(loss(model(batch["image"]), batch["mask"]))
        optimizer.step()
        optimizer.zero_grad()
        if step == 1 and not accelerate_from:
            accelerator.save_state(str(Path(folder) / "state"))
            (Path(folder) / "state" / "loss.json").write_text(json.dumps(lossreg.config_of(loss)))
        if step == until:
            break
    tracked.write_report(Path(folder) / "reports", "night", step)
    return [p.tolist() for p in tracked.parameters()]


def test_a_training_goes_on_from_its_state(folder):
    """In half precision. The loss is in the state, its config beside it, and no row is lost or counted twice."""
    whole = resumed(folder / "whole")
    forget()
    resumed(folder / "cut", until=2)
    forget()
    assert resumed(folder / "cut", accelerate_from=2) == whole
    for name in ("whole", "cut"):
        rows = aggregate_by_dataset(folder / name / "records", together=True)["overall"]
        assert (rows["count"], rows["items"]) == (18, 18)
    assert sorted(p.name for p in (folder / "cut" / "reports").iterdir()) == [
        "night_000000002.json",
        "night_000000004.json",
    ]
    saved = lossreg.read_config(folder / "cut" / "state" / "loss.json")
    assert lossreg.config_of(lossreg.build(saved)) == saved
    assert saved["name"] == "uncertainty_weighting"


def cut_and_resumed(folder):
    """Train in one go, and with a break; return what the loss learned."""
    found = []
    for name, until, start in (("whole", None, 0), ("cut", 1, 0), ("cut", None, 2)):
        forget()
        found.append(resumed(Path(folder) / name, until, start))
    return found


def test_two_processes_go_on_from_their_state(folder):
    """The last batches, which are filled up, after `skip_first_batches` too."""
    for whole, _, again in spawn(cut_and_resumed, folder):
        assert again == whole
    rows = aggregate_by_dataset(folder / "cut" / "records", together=True)["overall"]
    assert (rows["count"], rows["items"]) == (18, 18)


def test_a_loss_without_parameters_is_saved_and_loaded(folder):
    """`prepare` lists it with the models."""
    accelerator = Accelerator(cpu=True)
    _, loss = accelerator.prepare(net(), Tracked("dice"))
    accelerator.save_state(str(folder / "state"))
    accelerator.load_state(str(folder / "state"))
    assert accelerator.unwrap_model(loss) is loss


def test_the_model_may_return_its_logits_in_a_mapping():
    """Also in half precision, where Accelerate converts what it returns."""
    accelerator = Accelerator(cpu=True, mixed_precision="bf16")

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net()

        def forward(self, image):
            return {"logits": self.net(image)}

    model, loss = accelerator.prepare(Model(), Tracked("dice", adapt={"key": "logits"}))
    batch = next(iter(loader()))
    expected = lossreg.build("dice")(net()(batch["image"]), batch["mask"])
    torch.testing.assert_close(loss(model(batch["image"]), batch["mask"]), expected, atol=1e-2, rtol=0)


def test_the_page_runs(folder, monkeypatch):
    """In order, as a user would paste it."""
    run_blocks(PAGE, folder, monkeypatch)
