"""The monitor and the records of a Tracked loss, from the short forms of their arguments."""

import json
import warnings

import pytest
import torch

from lossreg import HealthError, InputError
from lossreg.health import Collapse, HealthWarning, LossMonitor, NonFinite
from lossreg.integrations import Tracked
from lossreg.integrations.observers import input_kind

from ..trainers.data import MIX, mix

pytest.importorskip("duckdb", reason="records need the extra")

from lossreg.records import RecordConfig, RecordWriter, aggregate_by_dataset
from lossreg.records.reader import connect

X = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
Y = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(1)) > 0.5
NAN = torch.full((4, 1, 8, 8), float("nan"), requires_grad=True)


def rules(tracked):
    return [type(rule).__name__ for rule in tracked.monitor.rules]


def train(tracked, logits, steps=50):
    for _ in range(steps):
        tracked(logits, Y)


def test_a_monitor_by_action():
    """The default rules; after NaN one stops, one raises, one warns."""
    stopping = Tracked("dice", monitor="stop")
    assert len(rules(stopping)) > 5
    train(stopping, NAN)
    assert stopping.should_stop
    assert "NonFinite" in {event.rule for event in stopping.events()}
    assert stopping.events() == []
    with pytest.raises(HealthError):
        train(Tracked("dice", monitor="raise"), NAN)
    warning = Tracked("dice", monitor="warn")
    with pytest.warns(HealthWarning):
        train(warning, NAN)
    assert not warning.should_stop


def test_a_monitor_by_rules():
    """By name, by object, one or several; and by the arguments of a monitor, as a config has them."""
    assert rules(Tracked("dice", monitor="Collapse")) == ["Collapse"]
    assert rules(Tracked("dice", monitor=Collapse())) == ["Collapse"]
    assert rules(Tracked("dice", monitor=["Collapse", NonFinite()])) == ["Collapse", "NonFinite"]
    made = Tracked("dice", monitor={"rules": ["NonFinite"], "every": 3, "action": "stop"})
    assert (rules(made), made.monitor.every, made.monitor.action) == (["NonFinite"], 3, "stop")
    mine = LossMonitor([Collapse()])
    assert Tracked("dice", monitor=mine).monitor is mine
    assert Tracked("dice").monitor is None


@pytest.mark.parametrize(
    "given, message",
    [
        ("Colapse", "did you mean 'Collapse'"),
        ("zzz", "allowed are warn, stop, raise, .*NonFinite"),
        (["stop"], "monitor has no rule 'stop'"),
        (3, r"monitor must be a LossMonitor, 'warn', 'stop', 'raise', rules or their names"),
        ({"evry": 3}, "did you mean 'every'"),
    ],
)
def test_wrong_monitors_are_refused(given, message):
    """When the loss is made."""
    with pytest.raises(InputError, match=message):
        Tracked("dice", monitor=given)


def test_the_monitor_sees_training_alone():
    """Predictions and targets with it, and the ids of the context; validation is no update."""
    tracked = Tracked("dice", monitor={"every": 1, "rules": ["NonFinite"], "action": lambda event: None})
    tracked.context.begin(step=7, sample_ids=list("abcd"))
    with torch.no_grad():
        tracked(NAN, Y)
    assert tracked.events() == []
    tracked(NAN, Y)
    (event,) = tracked.events()
    assert (event.rule, event.step) == ("NonFinite", 7)
    assert event.sample_ids == ("a", "b", "c", "d")


def test_a_collapsed_prediction_is_noticed():
    """The monitor sees the logits that the loss got, after the adapter."""
    tracked = Tracked("dice", adapt={"key": "logits"}, monitor={"every": 2, "action": lambda event: None})
    for _ in range(20):
        tracked({"logits": torch.full((4, 1, 8, 8), -30.0, requires_grad=True)}, Y)
    assert {event.rule for event in tracked.events()} & {"Collapse", "ConstantPrediction", "Saturation"}


def test_ignored_pixels_are_ignored_by_the_monitor_too():
    """With the loss's own ignore_index: 255 is no class to it."""
    config = {"name": "cross_entropy", "params": {"ignore_index": 255}}
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    target = torch.full((2, 4, 4), 255)
    target[:, :2] = 1
    tracked = Tracked(config, monitor={"every": 1})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tracked(logits, target)


def test_the_input_of_a_loss_is_known_by_its_contract():
    """Of the first loss that has one, at any depth; nothing of a module that no config built."""
    assert input_kind(Tracked(MIX).loss) == "logits"
    assert input_kind(torch.nn.BCELoss()) == ""


def test_inputs_that_the_monitor_cannot_read():
    """It goes on with the values of the loss, and warns once."""

    class Distance(torch.nn.Module):
        def forward(self, left, right):
            return (left - right[: len(left)]).square().mean()

    tracked = Tracked(Distance(), monitor={"every": 1, "rules": ["NonFinite"], "action": lambda event: None})
    left = torch.full((2, 3), float("nan"), requires_grad=True)
    with pytest.warns(HealthWarning, match="sees the values of the loss alone, and no predictions"):
        tracked(left, torch.zeros(3, 3))
    tracked(left, torch.zeros(3, 3))
    assert [event.rule for event in tracked.events()]


def test_records_by_directory(tmp_path):
    """Each example with its facts, components and split; the mean is that of the formula."""
    tracked = Tracked(MIX, records=tmp_path / "records")
    tracked.context.begin(step=1, epoch=0, sample_ids=list("abcd"), dataset="coco", caption="cat")
    tracked(X, Y)
    with torch.no_grad():
        tracked.context.begin(sample_ids=list("efgh"), path=[f"{name}.png" for name in "efgh"])
        tracked(X, Y)
    tracked.close()
    found = aggregate_by_dataset(tmp_path / "records", together=True)
    assert found["datasets"]["coco"]["count"] == 4
    assert found["overall"]["items"] == 8
    expected = mix(X.detach(), Y)
    assert found["overall"]["mean"] == pytest.approx(expected["total_loss"].mean().item(), rel=1e-6)
    parts = {name: expected[f"loss_{name}"].mean().item() for name in ("focal", "dice")}
    assert found["overall"]["components"] == pytest.approx(parts, rel=1e-6)


def test_records_by_a_writer(tmp_path):
    """With its own settings."""
    writer = RecordWriter(tmp_path, run="mine", config=RecordConfig(every=2))
    tracked = Tracked("dice", records=writer)
    for step in range(4):
        tracked.context.begin(step=step, sample_ids=list("abcd"))
        tracked(X, Y)
    assert tracked.records is writer
    assert Tracked("dice").records is None
    assert writer.waiting == 8
    tracked.flush()
    assert writer.waiting == 0
    with pytest.raises(InputError, match="records must be a RecordWriter, a directory, such as 'runs/7/records'"):
        Tracked("dice", records=3)


def test_records_by_the_arguments_of_a_writer(tmp_path):
    """As a config file has them: a training that is resumed gives the same run."""
    for factor in (1.0, 2.0):
        config = {"every": 2, "flush_rows": 4}
        tracked = Tracked("dice", records={"directory": tmp_path, "run": "night", "config": config})
        assert (tracked.records.run, tracked.records.config) == ("night", RecordConfig(every=2, flush_rows=4))
        for step in range(3):
            tracked.context.begin(step=step, epoch=0, sample_ids=list("abcd"))
            tracked(X * factor, Y)
        tracked.close()
    found = aggregate_by_dataset(tmp_path)["overall"]
    expected = mix(X.detach() * 2, Y)["loss_dice"].mean().item()
    assert (found["count"], found["mean"]) == (8, pytest.approx(expected, rel=1e-6))


@pytest.mark.parametrize(
    "records, message",
    [
        ({"run": "night"}, "records has no 'directory', such as 'runs/7/records', got {'run': 'night'}"),
        ({"director": "a"}, "records has no argument 'director'; did you mean 'directory'?"),
        ({"directory": "a", "zz": 1}, "records has no argument 'zz'; allowed are directory, run, rank, config"),
        (
            {"directory": "a", "config": {"evry": 1}},
            "the config of records has no argument 'evry'; did you mean 'every'?",
        ),
    ],
)
def test_wrong_arguments_of_a_writer(tmp_path, monkeypatch, records, message):
    """Nothing is made, and the message has the right ones."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        Tracked("dice", records=records)
    assert str(caught.value) == message
    assert not list(tmp_path.iterdir())


def test_records_have_what_an_example_met(tmp_path):
    """A condition that is drawn after the batch began, and columns of the user's own; padding has none."""
    tracked = Tracked("dice", records=tmp_path)
    own = {"camera": list("lrlr"), "size": 512}
    tracked.context.begin(step=0, sample_ids=list("abcd"), size=3, control=[False, True, False, False], columns=own)
    tracked.context.condition = torch.tensor([0.25, 0.5, 0.75, 1.0])
    tracked.context.unconditional = True
    tracked(X, Y)
    tracked.context.begin(step=1, sample_ids=list("abcd"), condition=7.0)
    tracked(X, Y)
    tracked.close()
    columns = "sample_id, condition, unconditional, control, own_camera, own_size"
    with connect(tmp_path) as connection:
        found = connection.execute(f"SELECT {columns} FROM records ORDER BY step, sample_id").fetchall()
    assert found[:3] == [
        ("a", 0.25, True, False, "l", 512),
        ("b", 0.5, True, True, "r", 512),
        ("c", 0.75, True, False, "l", 512),
    ]
    assert found[3:] == [(name, 7.0, None, None, None, None) for name in "abcd"]


def test_padding_is_not_recorded(tmp_path):
    """The genuine examples come first, and so do their facts."""
    tracked = Tracked("dice", records=tmp_path)
    tracked.context.begin(step=0, sample_ids=list("abcd"), dataset="coco", size=3)
    tracked(X, Y)
    tracked.context.begin(step=1, sample_ids=list("abcd"), size=0)
    tracked(X, Y)
    tracked.close()
    found = aggregate_by_dataset(tmp_path)
    assert [example["sample_id"] for example in found["overall"]["lowest"]] != ["d"]
    assert found["overall"]["items"] == found["overall"]["count"] == 3


@pytest.mark.parametrize("size, ids", [(3, "abc"), (3, "abcd"), (0, "")])
def test_padding_is_not_monitored(size, ids):
    """No finding names an example of it, and the ids may be those of the genuine examples alone."""
    tracked = Tracked("dice", monitor={"every": 1, "rules": ["NonFinite"], "action": lambda event: None})
    logits = torch.cat([X.detach()[:3], NAN.detach()[:1]]).requires_grad_()
    tracked.context.begin(step=1, sample_ids=list(ids), size=size)
    tracked(logits, Y)
    assert "updates=1" in repr(tracked.monitor)
    (event,) = tracked.events()  # the total of the batch is NaN
    assert event.sample_ids == ()


def test_a_loss_that_does_not_split_cannot_be_recorded(tmp_path):
    """The first call is refused, with the remedy."""
    tracked = Tracked({"name": "dice", "params": {"batch": True}}, records=tmp_path)
    with pytest.raises(InputError, match="record a loss that splits"):
        tracked(X, Y)


def test_a_report_has_every_example(tmp_path):
    """Its mean, least and greatest loss so far; the name has the step in nine digits."""
    tracked = Tracked("dice", records=tmp_path / "records")
    for step, factor in enumerate((1.0, 2.0)):
        tracked.context.begin(step=step, sample_ids=list("abcd"))
        tracked(X * factor, Y)
    path = tracked.write_report(tmp_path / "reports", "job", 123)
    assert path.name == "job_000000123.json"
    items = {item["sample_id"]: item for item in json.loads(path.read_text())["items"]}
    one, two = (mix(X.detach() * factor, Y)["loss_dice"].tolist() for factor in (1, 2))
    assert list(items) == list("abcd")
    for name, low, high in zip("abcd", map(min, one, two), map(max, one, two), strict=True):
        assert items[name]["minimum"] == pytest.approx(low, rel=1e-6)
        assert items[name]["maximum"] == pytest.approx(high, rel=1e-6)
        assert items[name]["mean"] == pytest.approx((low + high) / 2, rel=1e-6)
    tracked.close()


def test_a_report_has_this_run_alone(tmp_path):
    """Those of other trainings in the directory are left out; train and val are apart."""
    with RecordWriter(tmp_path / "records") as other:
        other.add([100.0], sample_ids=["a"], step=0)
    tracked = Tracked("dice", records=tmp_path / "records")
    assert json.loads(tracked.write_report(tmp_path, "job", 1).read_text())["items"] == []
    for context in (torch.enable_grad(), torch.no_grad()):
        with context:
            tracked.context.begin(step=0, sample_ids=list("abcd"))
            tracked(X, Y)
    found = json.loads(tracked.write_report(tmp_path, "job", 2).read_text())
    assert [(each["split"], each["overall"]["count"]) for each in found["runs"]] == [("train", 4), ("val", 4)]
    assert [item["count"] for item in found["items"]] == [1] * 8
    assert all(each["overall"]["maximum"] <= 1 for each in found["runs"])


def test_a_report_before_the_first_row_is_empty(tmp_path):
    """A trainer may save before a step is recorded, which must not end the training."""
    tracked = Tracked("dice", records=RecordWriter(tmp_path / "records", config=RecordConfig(every=100)))
    tracked.context.begin(step=1, sample_ids=list("abcd"))
    tracked(X, Y)
    found = json.loads(tracked.write_report(tmp_path, "job", 1).read_text())
    assert (found["overall"]["count"], found["items"]) == (0, [])
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="the directory of the report cannot be created: Not a directory"):
        tracked.write_report(tmp_path / "file" / "reports", "job", 1)
