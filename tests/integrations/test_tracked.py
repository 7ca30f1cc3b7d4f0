"""The loss that every trainer's file shares."""

import copy
import gc
import io
import pickle
import weakref
from collections import Counter

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import lossreg
from lossreg import InputError, InvalidConfigError
from lossreg.integrations import Tracked

from ..trainers.data import MIX, mix

LEARNED = {"name": "uncertainty_weighting", "params": {"terms": ["focal", "dice"]}}
SCHEDULED = {
    "name": "scheduled",
    "params": {"terms": [{"name": "dice", "points": [[0, 1.0], [10, 0.0]]}, {"name": "focal", "points": [[0, 0.0]]}]},
}


def batch(size=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(size, 1, 16, 16, generator=generator).requires_grad_()
    return logits, torch.rand(size, 1, 16, 16, generator=generator) > 0.5


def test_a_call_is_the_training_scalar_with_its_gradient():
    """Both are those of the formulas, written in plain PyTorch."""
    x, y = batch()
    total = Tracked(MIX)(x, y)
    assert total.shape == ()
    (found,) = torch.autograd.grad(total, x)
    expected = mix(x, y)["total_loss"].mean()
    torch.testing.assert_close(total, expected)
    torch.testing.assert_close(found, torch.autograd.grad(expected, x)[0])


def test_the_loss_is_computed_once():
    """Total, components, means and the last output come from one call of the loss."""
    calls = []

    class Counted(lossreg.Loss):
        def terms(self, input, target):
            calls.append(1)
            return {"part": lossreg.Term((input - target.float()).abs().flatten(1).mean(1))}

    tracked = Tracked(Counted())
    tracked(*batch())
    tracked.read(), tracked.latest()
    assert len(calls) == 1


def test_the_total_is_a_tensor_of_its_own():
    """Trainers scale it in place: the kept output, the means and the gradient of the unscaled total stay right."""
    x, y = batch()
    tracked = Tracked(MIX)
    total = tracked(x, y)
    before = total.item()
    total *= 8
    assert tracked.last.total.item() == tracked.latest()["train/total_loss"].item() == before
    assert tracked.read()["train/total_loss"] == pytest.approx(before)


def test_what_is_kept_holds_no_graph():
    """The inputs of the last call are free, and the object can be copied."""
    tracked = Tracked(MIX)
    tracked(*batch())
    kept = [tracked.last.total, tracked.last.per_example, *tracked.latest().values()]
    assert not any(value.requires_grad for value in kept)


def test_the_means_weigh_examples():
    """Batches of 4, 4 and 1: the means are those over the 9 examples, not over the 3 batches."""
    tracked, rows = Tracked(MIX), []
    for seed, size in enumerate((4, 4, 1)):
        x, y = batch(size, seed)
        tracked(x, y)
        rows.append(mix(x.detach(), y))
    expected = {f"train/{name}": torch.cat([row[name] for row in rows]).double().mean().item() for name in rows[0]}
    assert tracked.read() == pytest.approx(expected, rel=1e-6)
    assert list(expected) == ["train/total_loss", "train/loss_focal", "train/loss_dice"]


def test_a_read_begins_again():
    """The next means are those of later calls; without one there is nothing."""
    tracked = Tracked("dice")
    tracked(*batch())
    assert tracked.read()
    assert tracked.read() == {}
    x, y = batch(seed=1)
    tracked(x, y)
    assert tracked.read()["train/loss_dice"] == pytest.approx(mix(x.detach(), y)["loss_dice"].mean().item())


def test_calls_without_gradients_are_validation():
    """Each split has means of its own; the context names another, and a prefix replaces the split's."""
    tracked = Tracked("dice")
    tracked(*batch())
    with torch.no_grad():
        tracked(*batch())
        tracked.context.begin(split="test")
        tracked(*batch())
    with torch.inference_mode():
        tracked(*batch())
    assert list(tracked.read("train")) == ["train/total_loss", "train/loss_dice"]
    assert list(tracked.read("val", "eval_")) == ["eval_total_loss", "eval_loss_dice"]
    assert list(tracked.read("test")) == ["test/total_loss", "test/loss_dice"]
    assert list(tracked.latest("val", "")) == ["total_loss", "loss_dice"]


def test_means_of_training_outlive_inference_mode():
    """Calls under inference_mode and outside of it add to the same sums."""
    tracked = Tracked("dice")
    tracked.context.begin(split="val")
    with torch.inference_mode():
        tracked(*batch())
    tracked(*batch())
    assert tracked.read("val")["val/total_loss"] == pytest.approx(mix(*batch())["loss_dice"].mean().item())


def test_calls_that_count_nowhere():
    """Neither in the means nor in the records nor for the monitor; the total is there all the same."""
    tracked = Tracked("dice", monitor={"every": 1})
    with tracked.context.paused():
        assert tracked(*batch()).item() > 0
    assert tracked.read() == {}
    assert "updates=0" in repr(tracked.monitor)
    tracked(*batch())
    assert "updates=1" in repr(tracked.monitor)
    tracked.reset()
    assert tracked.read() == {}


def test_padding_counts_nowhere():
    """A sampler repeats examples at the end of the last batch: the context has the number of genuine ones."""
    x, y = batch(4)
    tracked = Tracked(MIX)
    tracked.context.begin(size=3)
    tracked(x, y)
    expected = mix(x.detach()[:3], y[:3])["total_loss"].mean().item()
    assert tracked.read()["train/total_loss"] == pytest.approx(expected)
    tracked.context.begin(size=0)
    tracked(x, y)
    assert tracked.read() == {}


@pytest.mark.parametrize("size", [-1, 2.5, "3"])
def test_a_size_that_counts_no_examples_is_refused(size):
    """A negative one would leave out examples and weigh the batch by less than nothing."""
    tracked = Tracked("dice")
    tracked.context.begin(size=size)
    with pytest.raises(InputError, match="size must be the number of genuine examples, an integer >= 0, got"):
        tracked(*batch())


def test_a_sum_keeps_its_total():
    """Under reduction "sum" the total is the sum over a batch; the mean of totals weighs them by examples."""
    tracked = Tracked("dice")
    summed = Tracked({"name": "dice", "params": {"reduction": "sum"}})
    tracked(*batch(4)), summed(*batch(4))
    assert summed.read()["train/total_loss"] == pytest.approx(4 * tracked.read()["train/total_loss"])


def test_a_loss_of_the_whole_batch_and_any_module_are_metered():
    """Their totals are weighted by the number of examples in the inputs, which may be passed by name."""
    named = Tracked(nn.BCEWithLogitsLoss())
    for loss in (Tracked({"name": "dice", "params": {"batch": True}}), Tracked(nn.BCEWithLogitsLoss()), named):
        values = []
        for size in (4, 2):
            x, y = batch(size, seed=size)
            total = loss(input=x, target=y.float()) if loss is named else loss(x, y.float())
            values.append(total.item())
        assert loss.read()["train/total_loss"] == pytest.approx((4 * values[0] + 2 * values[1]) / 6)


def test_components_that_change_have_means_of_their_own():
    """A component that only some batches have is the mean over these."""

    class Sometimes(lossreg.Loss):
        def terms(self, input, target):
            values = input.flatten(1).mean(1)
            return {"always": lossreg.Term(values)} | ({"rare": lossreg.Term(values)} if len(values) == 2 else {})

    tracked = Tracked(Sometimes())
    tracked(torch.full((3, 1), 1.0, requires_grad=True), None)
    tracked(torch.full((2, 1), 6.0, requires_grad=True), None)
    found = tracked.read()
    assert found == {"train/total_loss": 27 / 5, "train/loss_always": 15 / 5, "train/loss_rare": 6.0}


def test_sam2_names_are_not_doubled():
    """The components of `sam2` begin with loss_ already: train/loss_mask, and not train/loss_loss_mask."""
    outputs = [
        {
            "multistep_pred_multimasks_high_res": [torch.randn(2, 3, 8, 8, requires_grad=True)],
            "multistep_pred_ious": [torch.rand(2, 3)],
            "multistep_object_score_logits": [torch.randn(2, 1)],
        }
    ]
    tracked = Tracked("sam2", monitor="warn")
    tracked(outputs, torch.rand(1, 2, 8, 8) > 0.5).backward()
    keys = ["train/total_loss", *(f"train/loss_{name}" for name in ("mask", "dice", "iou", "class"))]
    assert list(tracked.read()) == keys == list(tracked.latest())


def test_the_state_dict_is_that_of_the_loss():
    """In a model, too: a checkpoint loads with and without Tracked, strictly."""
    plain, tracked = nn.Module(), nn.Module()
    plain.loss, tracked.loss = lossreg.build(LEARNED), Tracked(LEARNED)
    with torch.no_grad():
        plain.loss.log_variances += 1
    assert list(tracked.state_dict()) == list(plain.state_dict()) == ["loss.log_variances"]
    tracked.load_state_dict(plain.state_dict())
    assert tracked.loss.loss.log_variances.tolist() == [1, 1]
    assert [name for name, _ in tracked.named_parameters()] == ["loss.log_variances"]
    assert Tracked(MIX).state_dict() == {}


def test_parameters_are_those_of_the_loss():
    """After each change: a move, an optimiser, a functional call."""
    tracked = Tracked(LEARNED)
    optimizer = torch.optim.SGD(tracked.parameters(), lr=1.0)
    tracked(*batch()).backward()
    optimizer.step()
    assert all(value != 0 for value in tracked.loss.log_variances.tolist())
    tracked.double()
    assert tracked.loss.log_variances.dtype == torch.float64
    changed = {"log_variances": torch.full((2,), 3.0)}
    called = torch.func.functional_call(tracked, changed, batch())
    part = {name: value.item() for name, value in tracked.last.components.items()}
    expected = (part["focal"] + part["dice"]) * torch.tensor(-3.0).exp().item() + 3
    assert called.item() == pytest.approx(expected)
    buffered = Tracked(nn.CrossEntropyLoss(torch.tensor([1.0, 2.0])))
    assert [value.dtype for value in buffered.half().loss.buffers()] == [torch.float16]


def test_the_mode_reaches_the_loss():
    """As if it were a child: eval() and train() change both."""
    tracked = Tracked(nn.Sequential(nn.Flatten(), nn.Dropout(0.5)))
    assert not tracked.eval().loss.training
    assert not tracked.loss[1].training
    assert tracked.train().loss.training
    assert tracked.loss[1].training


COPIES = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda tracked: pickle.loads(pickle.dumps(tracked)),
    "torch.save": lambda tracked: torch.load(_saved(tracked), weights_only=False),
    "averaged": lambda tracked: torch.optim.swa_utils.AveragedModel(tracked).module,
}


def _saved(tracked):
    file = io.BytesIO()
    torch.save(tracked, file)
    file.seek(0)
    return file


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_is_whole(how, tmp_path):
    """It has its own parameters, and the monitor, means and records of its own go on."""
    pytest.importorskip("duckdb")
    tracked = Tracked(LEARNED, monitor={"every": 2}, records=tmp_path)
    tracked.context.begin(step=3, sample_ids=list("abcd"))
    tracked(*batch()).backward()
    made = COPIES[how](tracked)
    assert made.last.total.item() == tracked.last.total.item()
    assert made.loss.log_variances is not tracked.loss.log_variances
    assert next(made.parameters()) is made.loss.log_variances
    made.context.begin(step=4, sample_ids=list("abcd"))
    made(*batch())
    made.close(), tracked.close()
    assert made.read()["train/total_loss"] == pytest.approx(tracked.read()["train/total_loss"])
    assert lossreg.records.aggregate_by_dataset(tmp_path)["overall"]["count"] == 8


def test_the_last_call_of_validation_has_values_per_class():
    """Also in a copy. Those of a training step would keep its inputs: an error explains how to compute them."""
    x, y = batch()
    tracked, loss = Tracked("dice"), lossreg.build("dice")
    expected = loss.evaluate(x, y).per_class["dice"]
    with torch.no_grad():
        tracked(x, y)
    again = copy.deepcopy(tracked)
    assert torch.equal(tracked.last.per_class["dice"], expected)
    assert torch.equal(again.last.per_class["dice"], expected)
    tracked(x, y)
    for each in (tracked, copy.deepcopy(tracked)):
        with pytest.raises(InputError, match=r"are not kept, .* read lossreg\.evaluate\(.* torch\.no_grad"):
            _ = each.last.per_class
    assert torch.equal(lossreg.evaluate(tracked.loss, x, y).per_class["dice"], expected)


@pytest.mark.parametrize("name", ["dice", "cross_entropy"])
def test_a_training_step_keeps_no_input(name):
    """Neither the logits nor their graph stay in memory after a step, one function or step by step."""
    tracked = Tracked(name)
    for call in (tracked, tracked.evaluate):
        x, y = batch()
        logits = torch.cat([x, -x], 1) * 2
        kept = weakref.ref(logits)
        call(logits, y[:, 0].long())
        del logits
        gc.collect()
        assert kept() is None


def test_the_config_is_found_in_it():
    """`config_of` looks into it, also where it is wrapped, and builds an equal loss from what it finds."""
    config = lossreg.config_of(Tracked(MIX))
    assert lossreg.config_of(nn.DataParallel(Tracked(MIX))) == config
    assert lossreg.build(config)(*batch()).item() == Tracked(MIX)(*batch()).item()


@pytest.mark.tools  # starts the compiler's front end
def test_a_compiled_one_is_whole():
    """One graph, no matter how often it is called, and the same means."""
    from torch._dynamo.testing import CompileCounter

    counter = CompileCounter()
    tracked, plain = Tracked(MIX), Tracked(MIX)
    compiled = torch.compile(tracked, backend=counter, fullgraph=True)
    for seed in range(6):
        torch.testing.assert_close(compiled(*batch(seed=seed)), plain(*batch(seed=seed)))
    assert tracked.read() == pytest.approx(plain.read())
    assert tracked.last.per_example.shape == (4,)
    assert counter.frame_count <= 2  # the first call has no sums to add to


@pytest.mark.tools
@pytest.mark.filterwarnings("ignore:The .grad attribute")  # which torch.compile reads
def test_a_compiled_one_monitors_and_records(tmp_path):
    """They stay outside of the graphs."""
    tracked = Tracked("dice", monitor={"every": 2}, records=tmp_path)
    compiled = torch.compile(tracked, backend="eager")
    for step in range(4):
        tracked.context.begin(step=step, sample_ids=list("abcd"))
        compiled(*batch(seed=step))
    tracked.close()
    assert "updates=4" in repr(tracked.monitor)
    assert lossreg.records.aggregate_by_dataset(tmp_path)["overall"]["items"] == 4


def test_a_schedule_gets_the_step_of_the_context():
    """No trainer passes it. An explicit one has precedence; without any, the error names the context."""
    x, y = batch()
    tracked = Tracked(SCHEDULED)
    with pytest.raises(InputError, match="context"):
        tracked(x, y)
    dice = mix(x.detach(), y)["loss_dice"].mean().item()
    tracked.context.begin(step=5)
    assert tracked(x, y).item() == pytest.approx(dice / 2)
    assert tracked(x, y, step=10).item() == 0
    tracked.context.begin()  # the step stays
    assert tracked(x, y).item() == pytest.approx(dice / 2)
    assert Tracked("dice")(x, y).item() == pytest.approx(dice)


@pytest.mark.tools
def test_a_compiled_schedule_is_one_graph_for_all_steps():
    """The step of the context is no constant of the graph: beyond the compiler's limit, a model would run slowly."""
    from torch._dynamo.testing import CompileCounter

    counter = CompileCounter()
    tracked, plain = Tracked(SCHEDULED), Tracked(SCHEDULED)
    compiled = torch.compile(tracked, backend=counter, fullgraph=True)
    for step in range(1, 12):
        tracked.context.begin(step=step), plain.context.begin(step=step)
        torch.testing.assert_close(compiled(*batch()), plain(*batch()))
    assert counter.frame_count <= 2  # the first call has no sums to add to


class Reads(TorchDispatchMode):
    """Count the operations that wait for a device: reads of a value, copies between devices, shapes from values."""

    WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "equal")

    def __init__(self):
        super().__init__()
        self.found = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        moves = name == "_to_copy" and (kwargs or {}).get("device") is not None
        if name in self.WAITING or moves or name == "copy_":
            self.found[name] += 1
        return function(*args, **(kwargs or {}))


def test_a_step_waits_for_no_device(tmp_path):
    """Meters, monitor and records read nothing beyond what the loss itself reads, until the means are read."""
    x, y = batch()
    loss = lossreg.build(MIX)
    lossreg.evaluate(loss, x, y).total.backward()
    with Reads() as bare:
        lossreg.evaluate(loss, x, y).total.backward()
    tracked = Tracked(MIX, monitor={"every": 100}, records=tmp_path)
    tracked.context.begin(step=0, sample_ids=list("abcd"))
    tracked(x, y).backward()
    with Reads() as watched:
        tracked(x, y).backward()
    tracked.close()
    assert watched.found == bare.found
    with Reads() as read:
        tracked.read()
    assert read.found  # this one reads: the counter notices it


def test_half_precision_is_metered_in_float64():
    """The means of a bfloat16 model under autocast are those of its float32 losses."""
    x, y = batch()
    tracked = Tracked("dice")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        total = tracked(x.to(torch.bfloat16), y)
    assert total.dtype == torch.float32
    expected = mix(x.detach().to(torch.bfloat16).float(), y)["loss_dice"].mean().item()
    assert tracked.read()["train/total_loss"] == pytest.approx(expected, rel=1e-5)


def test_wrong_arguments_name_what_is_allowed(tmp_path):
    """Each message gives the remedy."""
    with pytest.raises(InputError, match="Tracked already"):
        Tracked(Tracked("dice"))
    with pytest.raises(InvalidConfigError, match="did you mean 'dice'"):
        Tracked("dicee")
    for name in ("loss", "adapt"):
        with pytest.raises(InputError, match=rf"{name} of a Tracked loss stays .*: put another Tracked\(...\)"):
            setattr(Tracked("dice"), name, nn.Dropout())
    with pytest.raises(InputError, match=r"a report needs .* give records=, such as 'runs/7/records'"):
        Tracked("dice").write_report(tmp_path, "job", 1)


def test_without_a_call_there_is_nothing_to_show():
    """Neither a last output nor means."""
    tracked = Tracked("dice")
    assert tracked.last is None
    assert tracked.latest() == tracked.read() == {}
    assert not tracked.should_stop
    assert tracked.events() == []
    tracked.close()


def test_its_text_names_the_loss():
    """In the print of a model."""
    assert repr(Tracked("dice")).startswith("Tracked(Dice")
