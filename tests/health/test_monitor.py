"""The monitor: its windows, its events, their receivers, and the training that it leaves alone."""

import copy
import gc
import importlib
import json
import logging
import pickle
import re
import subprocess
import sys
import time
import warnings

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import lossreg
from lossreg.health import (
    Collapse,
    ComponentDominance,
    HealthError,
    HealthEvent,
    HealthWarning,
    JsonLines,
    LossMonitor,
    NonFinite,
    Rule,
    Spike,
    default_rules,
    to_log,
)

LOSS = torch.tensor(0.5)
NAN = torch.tensor(torch.nan)


def collapsed(channels=1):
    """Make a prediction of nothing, and targets of a quarter foreground."""
    target = torch.zeros(4, channels, 8, 8)
    target[..., :4, :4] = 1
    return torch.full((4, channels, 8, 8), -9.0) + torch.randn(4, channels, 8, 8), target


def quiet(**options):
    """Make a monitor that gives its events to the caller alone."""
    return LossMonitor(**{"sinks": [], "action": lambda event: None, **options})


# ---- windows


def test_events_come_with_every_nth_update():
    """And none in between; the step is that of the update."""
    monitor = quiet(rules=[NonFinite(cooldown=0)], every=3)
    steps = [[event.step for event in monitor.update(NAN, step=step)] for step in range(10, 19)]
    assert steps == [[], [], [10], [], [], [13], [], [], [16]]


def test_steps_are_counted_where_they_are_not_given():
    """From 1, across windows."""
    monitor = quiet(rules=[NonFinite(cooldown=0)], every=2)
    steps = [event.step for loss in (LOSS, NAN, LOSS, NAN) for event in monitor.update(loss)]
    assert steps == [2, 4]


def test_an_event_has_rule_step_evidence_samples_and_hint():
    """As fields and as text; it is frozen."""
    logits, target = collapsed()
    monitor = quiet(rules=[Collapse(needed=1, of=1)], every=1)
    (event,) = monitor.update(LOSS, prediction=logits, target=target, step=7, sample_ids=["a", "b", "c", "d"])
    assert (event.rule, event.severity, event.kind, event.step, event.rank) == ("Collapse", "error", "fault", 7, 0)
    assert event.sample_ids == ("a", "b", "c", "d")
    assert str(event).startswith("Collapse at step 7 (error, fault): all zeros, classes [{class 0, predicted ")
    assert str(event).endswith(" Samples: a, b, c, d.")
    with pytest.raises(AttributeError):
        event.step = 8


def test_flush_and_close_read_what_is_left():
    """A closed monitor takes nothing more, and may be closed again."""
    monitor = quiet(rules=[NonFinite(cooldown=0)], every=100)
    monitor.update(NAN)
    assert [event.step for event in monitor.flush()] == [1]
    assert monitor.flush() == []
    monitor.update(NAN)
    assert [event.step for event in monitor.close()] == [2]
    assert monitor.close() == []
    with pytest.raises(
        lossreg.InputError, match=r"the monitor is closed: call update\(\) before close\(\), or make another monitor"
    ):
        monitor.update(NAN)


def test_a_with_block_closes_and_reports():
    """Also if the training ends in an error."""
    events = []

    def training():
        with quiet(rules=[NonFinite()], sinks=[events.append]) as monitor:
            monitor.update(NAN)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        training()
    assert [event.rule for event in events] == ["NonFinite"]
    with quiet(rules=[NonFinite()], sinks=[events.append]) as monitor:
        monitor.update(NAN)
    assert len(events) == 2


def test_a_step_that_goes_back_ends_a_window():
    """Earlier losses are not compared with, and an event is not reported again at once."""
    monitor = quiet(rules=[NonFinite(), Spike(least=2, span=10)], every=10)
    for step in range(100, 110):
        monitor.update(torch.tensor(0.1 + 0.01 * (step % 3)), step=step)
    monitor.update(NAN, step=110)
    events = monitor.update(torch.tensor(9.0), step=50)
    assert [(event.rule, event.step) for event in events] == [("NonFinite", 110)]
    for step in range(51, 59):
        assert monitor.update(torch.tensor(9.0), step=step) == []
    assert monitor.update(NAN, step=59) == []


def test_after_a_stop_a_step_that_goes_back_starts_another_training():
    """In which the same finding stops again, and windows of the old one do not count."""
    monitor = quiet(rules=[NonFinite()], every=1, action="stop")
    for _ in range(2):
        assert [event.rule for event in monitor.update(NAN, step=110)] == ["NonFinite"]
        assert monitor.should_stop
        assert monitor.update(LOSS, step=50) == []
        assert not monitor.should_stop


@pytest.mark.parametrize("batches", [1, 5, 40])
def test_the_number_of_a_batch_in_its_epoch_will_do_as_a_step(batches):
    """Windows of one epoch may be too few for a verdict; those of several are judged together."""
    logits, target = collapsed()
    monitor = quiet(rules=[Collapse()])
    events = []
    for _ in range(20):
        for step in range(batches):
            events += monitor.update(LOSS, prediction=logits, target=target, step=step)
    events += monitor.flush()
    for _ in range(2):
        monitor.update(LOSS, prediction=logits, target=target, step=0)
        events += monitor.flush()
    assert {event.rule for event in events} == {"Collapse"}
    assert len(events) <= 2  # its cooldown goes on, too


@pytest.mark.parametrize("batch, every", [(1, 50), (1, 1), (1, 25), (4, 10), (2, 7), (8, 50)])
def test_empty_targets_are_told_at_every_size_of_batch_and_window(batch, every):
    """A window of few examples is judged together with those before it; all are reported soon."""
    monitor = quiet(every=every)
    target = torch.zeros(batch, 1, 4, 4)
    events = []
    for step in range(1, max(150 // batch, 3 * every) + 1):
        events += monitor.update(
            LOSS + 1 / step, prediction=torch.randn(batch, 1, 4, 4), target=target, step=step, sample_ids=range(batch)
        )
    assert {(event.rule, event.severity, event.kind) for event in events} == {("EmptyTargets", "error", "data")}
    assert events[0].evidence["examples"] >= 73


def test_a_stop_ends_with_its_training():
    """A step that goes back begins another one."""
    monitor = quiet(rules=[NonFinite()], every=1, action="stop")
    monitor.update(NAN, step=5)
    monitor.update(LOSS, step=6)
    assert monitor.should_stop
    monitor.update(LOSS, step=0)
    assert not monitor.should_stop


def test_a_spike_is_measured_by_the_windows_before():
    """Here of ten updates each."""
    monitor = quiet(rules=[Spike()], every=10)
    losses = [0.5 + 0.01 * (step % 7) for step in range(1, 60)] + [8.0]
    (event,) = [event for loss in losses for event in monitor.update(torch.tensor(loss))]
    assert (event.rule, event.step) == ("Spike", 60)


def test_everything_but_the_output_is_a_keyword():
    """So that prediction and target, or step and ids, cannot be exchanged."""
    logits, target = collapsed()
    with pytest.raises(TypeError, match="positional"):
        quiet().update(LOSS, logits, target)


def test_a_monitor_shows_its_rules_and_its_state():
    """As text for notebooks; should_stop cannot be set."""
    monitor = quiet(rules=[NonFinite(action="stop"), Spike()], every=1)
    assert repr(monitor) == "LossMonitor([NonFinite, Spike], every=1, updates=0, should_stop=False)"
    monitor.update(NAN)
    assert repr(monitor) == "LossMonitor([NonFinite, Spike], every=1, updates=1, should_stop=True)"
    with pytest.raises(AttributeError):
        monitor.should_stop = False


# ---- actions


def test_a_warning_by_default():
    """A HealthWarning for warnings and errors, a line of the log for information."""
    with pytest.warns(HealthWarning, match=r"NonFinite at step 1 \(error, fault\): updates 1, loss nan"):
        LossMonitor([NonFinite()], every=1, sinks=[]).update(NAN)


def test_information_is_logged(caplog):
    """So that it interrupts nothing."""
    monitor = LossMonitor(every=1, sinks=[])
    with caplog.at_level(logging.INFO, "lossreg.health"):
        (event,) = monitor.update(torch.tensor(0.0))
    assert (event.rule, event.kind) == ("ZeroLoss", "unknown")
    assert caplog.messages == [str(event)]


def test_an_action_may_raise(tmp_path):
    """The error carries the event, pickles, and comes after the sinks."""
    monitor = LossMonitor([NonFinite(action="raise")], every=1, sinks=[JsonLines(tmp_path / "events.jsonl")])
    with pytest.raises(HealthError, match="NonFinite at step 3") as caught:
        monitor.update(NAN, step=3)
    assert isinstance(caught.value, lossreg.LossregError)
    assert caught.value.event.step == 3
    assert pickle.loads(pickle.dumps(caught.value)).event == caught.value.event
    assert monitor.should_stop
    assert len((tmp_path / "events.jsonl").read_text().splitlines()) == 1


@pytest.mark.parametrize("action", ["raise", "stop"])
def test_only_errors_end_a_training(action):
    """Unless the rule itself has that action."""
    monitor = LossMonitor(every=1, sinks=[], action=action)
    (event,) = monitor.update(torch.tensor(0.0))
    assert (event.severity, monitor.should_stop) == ("info", False)
    logged = lossreg.LossOutput(torch.tensor(0.5), {"dice": torch.tensor(0.5), "edge": NAN})
    with pytest.warns(HealthWarning, match=r"NonFinite at step 2 \(warning"):
        monitor.update(logged)
    assert not monitor.should_stop
    own = LossMonitor([NonFinite(action="stop")], every=1, sinks=[])
    own.update(logged)
    assert own.should_stop


def test_a_stop_is_a_flag(caplog):
    """And a line of the log."""
    monitor = LossMonitor([NonFinite()], every=1, sinks=[], action="stop")
    monitor.update(LOSS)
    assert not monitor.should_stop
    monitor.update(NAN)
    assert monitor.should_stop
    assert "NonFinite at step 2" in caplog.text


def test_a_callable_of_the_event():
    """A rule's own action goes before the monitor's."""
    own, common = [], []
    rules = [NonFinite(action=own.append), NonFinite()]
    events = LossMonitor(rules, every=1, sinks=[], action=common.append).update(NAN)
    assert own == [events[0]]
    assert common == [events[1]]


# ---- sinks


def test_events_are_lines_of_strict_json(tmp_path):
    """NaN is text; lines are added to existing ones."""
    path = tmp_path / "new" / "events.jsonl"
    for step in (1, 2):
        quiet(rules=[NonFinite()], every=1, sinks=[JsonLines(path)]).update(NAN, step=step, sample_ids=[f"ü{step}"])
    lines = [json.loads(line, parse_constant=lambda name: pytest.fail(name)) for line in path.read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
    assert lines[0]["evidence"]["loss"] == "nan"
    assert set(lines[0]) == {"rule", "severity", "step", "evidence", "hint", "sample_ids", "kind", "rank"}


def test_a_sink_that_raises_is_disabled_with_one_warning():
    """The others and the training go on."""
    events = []

    def broken(event):
        raise OSError("disk full")

    monitor = quiet(rules=[NonFinite(cooldown=0)], every=1, sinks=[broken, events.append])
    with pytest.warns(HealthWarning, match=r"the sink .*broken raised OSError: disk full; it is disabled"):
        monitor.update(NAN)
    monitor.update(NAN)
    assert len(events) == 2


def test_a_rule_that_raises_is_disabled_with_one_warning():
    """Such as a rule of the user's own."""

    class Broken(Rule):
        def check(self, window):
            raise KeyError("accuracy")

    monitor = quiet(rules=[Broken(), NonFinite(cooldown=0)], every=1)
    with pytest.warns(HealthWarning, match=r"the rule Broken raised KeyError: 'accuracy'; it is disabled"):
        assert [event.rule for event in monitor.update(NAN)] == ["NonFinite"]
    assert [event.rule for event in monitor.update(NAN)] == ["NonFinite"]


def test_events_are_logged_by_severity(caplog):
    """to_log is a sink."""
    with caplog.at_level(logging.INFO, "lossreg.health"):
        for severity in ("info", "warning", "error"):
            to_log(HealthEvent("Mine", severity, 1, {}, "do"))
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING", "ERROR"]


def test_evidence_and_samples_are_cut_and_made_ready_for_json():
    """A rule of the user's own may put any object there."""
    evidence = {"a": [float("inf"), -float("inf")], 3: {"b": torch.float32}, "c": True, "d": None}
    event = HealthEvent("Mine", "info", 1, evidence, "do", tuple(map(str, range(99))))
    assert event.evidence == {"a": ["inf", "-inf"], "3": {"b": "torch.float32"}, "c": True, "d": None}
    assert len(event.sample_ids) == 16
    json.dumps(event.as_dict(), allow_nan=False)


# ---- arguments


@pytest.mark.parametrize(
    "options, message",
    [
        ({"rules": Collapse()}, r"rules must be a list, such as \[Collapse\(\), NonFinite\(\)\], got Collapse\("),
        ({"rules": [Collapse]}, "rules must be instances of lossreg.health.Rule, such as Collapse"),
        ({"every": 0}, "every must be a number of updates >= 1, got 0"),
        ({"action": "shout"}, "action must be 'warn', 'raise', 'stop' or a callable of an event, got 'shout'"),
        ({"activation": "relu"}, "activation must be one of 'auto', 'sigmoid', 'softmax', 'none', got 'relu'"),
        (
            {"loss": torch.nn.MSELoss()},
            "loss must be a lossreg.Loss, because its terms are differentiated, got MSELoss",
        ),
    ],
)
def test_arguments_are_checked(options, message):
    """When the monitor is made."""
    with pytest.raises(lossreg.InputError, match=message):
        LossMonitor(**options)


STEPS = [5.5, "5", torch.tensor(5), True * 1.0]


@pytest.mark.parametrize("step", STEPS, ids=map(repr, STEPS))
def test_a_step_is_an_integer(step):
    """Reading a tensor on a device would block; NumPy's integers are fine."""
    with pytest.raises(lossreg.InputError, match="step must be an integer, such as the number of the update, got"):
        quiet().update(NAN, step=step)
    numpy = pytest.importorskip("numpy", reason="NumPy is not installed, so there are none of its integers")
    (event,) = quiet(rules=[NonFinite()], every=1).update(NAN, step=numpy.int64(5))
    assert type(event.step) is int


def test_a_refused_update_changes_nothing():
    """It is not counted and does not start again: pending updates stay, and the next one is added."""
    logits, target = collapsed()
    monitor = quiet(rules=[NonFinite()], every=3)
    monitor.update(LOSS, step=7)
    for _ in range(5):
        with pytest.raises(lossreg.ShapeError):
            monitor.update(LOSS, prediction=logits, target=target[..., :2], step=1)
    assert monitor.update(LOSS, prediction=logits, target=target, step=8) == []
    assert [event.step for event in monitor.update(NAN, prediction=logits, target=target, step=9)] == [9]
    counted = quiet(rules=[NonFinite()], every=1)
    with pytest.raises(lossreg.ShapeError):
        counted.update(LOSS, prediction=logits, target=target[..., :2])
    assert [event.step for event in counted.update(NAN)] == [1]


def copied(monitor):
    return pickle.loads(pickle.dumps(monitor))


@pytest.mark.parametrize("copying", [copy.deepcopy, copied])
def test_a_copy_is_a_monitor_of_its_own(copying, tmp_path):
    """Trainers copy callbacks, and pickle them for the processes that they start."""
    monitor = LossMonitor([NonFinite(cooldown=0)], every=2, sinks=[JsonLines(tmp_path / "events")], action="stop")
    monitor.update(LOSS)
    twin = copying(monitor)
    assert [event.step for event in twin.update(NAN)] == [2]
    assert (twin.should_stop, monitor.should_stop) == (True, False)
    assert twin._updates == 2
    assert monitor._updates == 1


# ---- nothing else is changed, and nothing blocks


class Blocking(TorchDispatchMode):
    """Counts operations that block until a device is done, if the tensors are on one."""

    names = ("_local_scalar_dense", "nonzero", "equal", "is_nonzero", "unique", "masked_select", "bincount")

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        self.count += any(name in str(function) for name in self.names)
        self.count += "_to_copy" in str(function) and (options or {}).get("device") is not None
        return function(*arguments, **(options or {}))


class Copies(TorchFunctionMode):
    """Counts copies to the host."""

    names = ("cpu", "item", "numpy", "__bool__", "__float__", "__int__", "__index__")

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_function__(self, function, types, arguments=(), options=None):
        self.count += getattr(function, "__name__", "") in self.names
        return function(*arguments, **(options or {}))


INPUTS = {
    "masks": (torch.randn(4, 1, 8, 8), torch.ones(4, 1, 8, 8), {}),
    "ignored pixels": (torch.randn(4, 3, 8, 8), torch.randint(3, (4, 8, 8)), {"ignore_index": 2}),
    "soft": (torch.randn(4, 3, 8, 8), torch.rand(4, 3, 8, 8), {"activation": "softmax"}),
}


@pytest.mark.parametrize("logits, target, options", INPUTS.values(), ids=INPUTS)
def test_nothing_blocks_within_a_window_and_one_copy_ends_it(logits, target, options):
    """None in nine updates; one copy with the tenth."""
    loss = lossreg.build("bce_dice_focal" if target.ndim == 4 else "cross_entropy")
    output = lossreg.evaluate(loss, logits, target)
    monitor = quiet(every=10, **options)
    with Blocking() as blocking, Copies() as copies:
        for _ in range(9):
            monitor.update(output, prediction=logits, target=target, sample_ids=range(4))
    assert (blocking.count, copies.count) == (0, 0)
    with Blocking() as blocking, Copies() as copies:
        monitor.update(output, prediction=logits, target=target, sample_ids=range(4))
    assert (blocking.count, copies.count) == (0, 1)


def test_components_are_differentiated_once_per_window():
    """With the window's last update."""
    steps = []

    class Counting(lossreg.Loss):
        def option_names(self):
            return ("step",)

        def terms(self, input, target, *, step):
            steps.append(step)
            return {"square": lossreg.Term((input - target).square().mean((1, 2, 3)), per="example")}

    logits, target = collapsed()
    monitor = quiet(every=3, loss=Counting())
    for step in range(10, 17):
        monitor.update(LOSS, prediction=logits, target=target, step=step)
    assert steps == [12, 15]


@pytest.mark.parametrize(
    "wrap",
    [
        torch.nn.DataParallel,
        lambda loss: torch.compile(loss, backend="eager"),
        lambda loss: torch.optim.swa_utils.AveragedModel(torch.nn.DataParallel(loss)),
    ],
    ids=["parallel", "compiled", "averaged"],
)
def test_a_wrapper_of_the_loss_is_looked_through(wrap):
    """The terms of the loss in it are differentiated: trainers wrap the losses that they prepare."""
    rule = ComponentDominance(needed=1, of=1)
    config = {"name": "weighted_sum", "params": {"terms": [{"name": "bce", "weight": 1e6}, "dice"]}}
    logits, target = torch.randn(4, 1, 8, 8), torch.ones(4, 1, 8, 8)
    found = []
    for loss in (lossreg.build(config), wrap(lossreg.build(config))):
        monitor = quiet(every=1, rules=[rule], loss=loss)
        (event,) = monitor.update(lossreg.evaluate(loss, logits, target), prediction=logits, target=target)
        found.append(event.evidence)
    assert found[0]["component"] == "bce"
    assert found[1] == pytest.approx(found[0])


def test_the_counters_count():
    """So that the test above can fail."""
    one = torch.ones(2)
    with Blocking() as blocking, Copies() as copies:
        one.nonzero()
        float(one[0])
        one.cpu()
    assert blocking.count >= 2
    assert copies.count >= 2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_nothing_blocks_on_cuda():
    """CUDA's own check raises at any synchronisation."""
    loss = lossreg.build("bce_dice_focal")
    logits, target = torch.randn(4, 1, 64, 64, device="cuda"), torch.ones(4, 1, 64, 64, device="cuda")
    output = lossreg.evaluate(loss, logits, target)
    monitor = quiet(every=10, loss=loss, ignore_index=255)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(9):
            monitor.update(output, prediction=logits, target=target)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert monitor.update(output, prediction=logits, target=target) == []


def test_a_training_is_the_same_with_a_monitor():
    """To the last bit: gradients, random numbers, requires_grad and mode."""

    def weights(monitor):
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Conv2d(1, 1, 3, padding=1), torch.nn.Dropout(0.5))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        loss = lossreg.build({"name": "point_sampled", "params": {"loss": "bce"}})
        for _ in range(6):
            logits, target = model(torch.randn(2, 1, 16, 16)), torch.rand(2, 1, 16, 16)
            output = lossreg.evaluate(loss, logits, target)
            if monitor:
                monitor(loss).update(output, prediction=logits, target=target)
            optimizer.zero_grad()
            output.total.backward()
            optimizer.step()
            assert model.training
            assert logits.requires_grad
        return model[0].weight

    one = None

    def monitor(loss):
        nonlocal one
        one = one or quiet(every=2, loss=loss)
        return one

    assert torch.equal(weights(None), weights(monitor))


def test_nothing_grows():
    """A few numbers per update within a window; between windows the losses that rules compare with."""

    def tensors():
        gc.collect()
        return {id(item): item for item in gc.get_objects() if issubclass(type(item), torch.Tensor)}

    monitor = quiet(every=5)
    logits, target = torch.randn(4, 1, 32, 32, requires_grad=True), torch.ones(4, 1, 32, 32)
    before = tensors()
    for _ in range(24):
        monitor.update(logits.mean(), prediction=logits * 1, target=target)
    kept = [tensor for key, tensor in tensors().items() if key not in before]
    assert len(kept) == 4  # one per update of the window
    assert all(tensor.grad_fn is None and tensor.numel() < 60 for tensor in kept)
    del kept
    for _ in range(401):
        monitor.update(LOSS)
    assert len(monitor._history) <= 100
    assert tensors().keys() == before.keys()


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad, lambda: torch.autocast("cpu", torch.bfloat16)])
def test_it_works_in_every_mode(mode):
    """With the same events; tensors made in inference mode are read outside of it."""
    loss = lossreg.build("bce_dice_focal")
    monitor = quiet(every=2, loss=loss, rules=[Collapse(needed=1, of=1)])
    for _ in range(2):
        with mode():
            logits, target = collapsed()
            monitor.update(lossreg.evaluate(loss, logits, target), prediction=logits, target=target)
            assert len(monitor._pending) < 2
    with mode():
        monitor.update(lossreg.evaluate(loss, logits, target), prediction=logits, target=target)
    assert [event.rule for event in monitor.flush()] == []  # its cooldown
    assert monitor._updates == 3


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions(dtype):
    """Statistics are in float32 at least."""
    logits, target = collapsed()
    monitor = quiet(rules=[Collapse(needed=1, of=1)], every=1)
    (event,) = monitor.update(LOSS.to(dtype), prediction=logits.to(dtype), target=target)
    assert event.evidence["classes"][0]["predicted"] < 0.001


@pytest.mark.tools
def test_a_compiled_step_may_hold_the_monitor():
    """It is no part of the graph, and causes no second compilation."""
    graphs = []

    def count(module, inputs):
        graphs.append(module)
        return module.forward

    events = []
    monitor = quiet(every=2, sinks=[events.append])

    @torch.compile(backend=count)
    def step(logits, target):
        loss = (logits * target).mean() * torch.nan
        monitor.update(loss, prediction=logits, target=target)
        return loss + 1

    for _ in range(6):
        step(torch.randn(2, 1, 4, 4), torch.ones(2, 1, 4, 4))
    assert len(graphs) <= 2
    assert {event.rule for event in events} == {"NonFinite"}


@pytest.mark.tools
def test_it_is_imported_without_torch():
    """So are the targets, so that `lossreg check-targets` starts at once."""
    code = "import sys, lossreg.health, lossreg.health.targets; print({'torch', 'numpy', 'PIL'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_it_is_no_part_of_a_module():
    """A model that holds one has the same checkpoint."""
    model = torch.nn.Linear(1, 1)
    model.monitor = quiet()
    assert set(model.state_dict()) == {"weight", "bias"}
    assert not hasattr(model.monitor, "state_dict")


# ---- sound trainings are silent


def test_sound_batches_are_silent():
    """Gradient accumulation, a scaled loss, a last small batch, an empty one, a perfect one, evaluation in between."""
    events = []
    loss = lossreg.build("bce_dice_focal")
    monitor = quiet(every=4, sinks=[events.append], loss=loss)
    generator = torch.Generator().manual_seed(0)
    for step in range(40):
        for micro in range(3):
            size = 1 if step % 10 == 9 and micro == 2 else 4
            size = 0 if step == 20 and micro == 1 else size
            target = (torch.rand(size, 1, 8, 8, generator=generator) > 0.7).float()
            logits = (4 * target - 2) + torch.randn(size, 1, 8, 8, generator=generator)
            if step == 30:
                logits = 200 * target - 100
            if step == 31:
                target, logits = torch.zeros_like(target), logits - 4 * target
            if size == 0:
                monitor.update(NAN, prediction=logits, target=target, step=step)
                continue
            output = lossreg.evaluate(loss, logits, target)
            scale = 65536.0 if step < 20 else 131072.0
            monitor.update(
                lossreg.LossOutput(output.total * scale, output.components, None),
                prediction=logits,
                target=target,
                step=step,
            )
    monitor.close()
    assert [str(event) for event in events] == []


def test_an_absent_class_is_silent():
    """With ignored regions, and a rare class."""
    events = []
    monitor = quiet(every=5, sinks=[events.append], ignore_index=255)
    generator = torch.Generator().manual_seed(0)
    for _ in range(30):
        target = (torch.rand(4, 8, 8, generator=generator) > 0.9).long()
        logits = 3 * torch.nn.functional.one_hot(target, 4).movedim(-1, 1) + torch.randn(
            4, 4, 8, 8, generator=generator
        )
        target[:, :3] = 255
        monitor.update(
            torch.nn.functional.cross_entropy(logits, target, ignore_index=255), prediction=logits, target=target
        )
    assert events == []


@pytest.mark.parametrize(
    "activation, prediction, warned",
    [
        (
            "auto",
            torch.rand(4, 1, 8, 8),
            "if the loss takes logits, .* remove the sigmoid or softmax .*; .* activation='none'",
        ),
        ("none", torch.randn(4, 1, 8, 8), "so they are not probabilities: leave out activation='none'"),
        ("none", torch.rand(4, 1, 8, 8), None),
        ("auto", torch.randn(4, 1, 8, 8), None),
        ("auto", torch.full((4, 1, 8, 8), 0.2), None),
    ],
)
def test_an_unlikely_activation_gives_one_warning(activation, prediction, warned):
    """The sigmoid of a probability is never below 0.5, so no collapse would be found. Constants may be both."""
    monitor = quiet(rules=[NonFinite()], every=1, activation=activation)
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        for _ in range(5):
            monitor.update(LOSS, prediction=prediction)
    assert len(given) == (warned is not None)
    for warning in given:
        assert warning.category is HealthWarning
        assert re.search(warned, str(warning.message))


def test_logits_of_a_new_network_may_lie_between_0_and_1():
    """For a while."""
    monitor = quiet(rules=[NonFinite()], every=1)
    for scale in (1, 1, 3, *[1] * 9):
        monitor.update(LOSS, prediction=scale * torch.rand(4, 1, 8, 8))


def test_many_classes_take_no_time_and_no_memory():
    """64 examples of 1000 classes, windows of 50: a part of the examples is read, and a zero loss is reported."""
    monitor = quiet(every=50)
    logits, target = torch.randn(64, 1000), torch.randint(1, 1000, (64,))
    start = time.process_time()
    for _ in range(49):
        monitor.update(torch.zeros(64), prediction=logits, target=target)
    held = sum(statistics.values.numel() for statistics in monitor._pending)
    (event,) = monitor.update(torch.zeros(64), prediction=logits, target=target)
    assert held < 49 * 11_000
    assert time.process_time() - start < 6  # 36 s where all masks are read
    assert (event.rule, event.kind) == ("ZeroLoss", "fault")


def test_the_default_rules_are_new_each_time():
    """And equal."""
    assert default_rules() == default_rules()
    assert default_rules() is not default_rules()
    assert copy.deepcopy(default_rules()) == default_rules()


def test_events_reach_the_hook_of_installed_packages(site, monkeypatch):
    """By default. A hook that raises is left out, with a warning of lossreg."""
    monkeypatch.setattr(lossreg.hooks.manager, "_complete", None)
    source = "from lossreg import hookimpl\ngot = []\n@hookimpl\ndef lossreg_health_event(event): got.append(event)\n"
    site.module("listening_hooks", source)
    site.module("bad_hooks", source.replace("got.append(event)", "1 / 0"))
    site.distribution("listening", hooks={"listening": "listening_hooks"})
    site.distribution("bad", hooks={"bad": "bad_hooks"})
    monitor = LossMonitor([NonFinite(cooldown=0)], every=1, action=lambda event: None)
    with pytest.warns(UserWarning, match="the hooks 'bad' are broken and left out: ZeroDivisionError"):
        monitor.update(NAN)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        monitor.update(NAN)
    got = importlib.import_module("listening_hooks").got
    assert [event.step for event in got][-1] == 2
