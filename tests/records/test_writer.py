"""The writer of records: added rows are read unchanged, and nothing waits for the device before a shard is written."""

import copy
import gc
import math
import os
import pickle
import re
import subprocess
import sys
import tracemalloc
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import lossreg
from lossreg import InputError, Loss, LossOutput, RecordsError, ShapeError, Term
from lossreg.records import RecordConfig, RecordWriter, aggregate_by_dataset
from lossreg.records.record_schema import COLUMNS

duckdb = pytest.importorskip("duckdb", reason="the extra records is not installed")
np = pytest.importorskip("numpy", reason="the extra records is not installed")

NAN = float("nan")


def read(directory, columns="*", order="step, sample_id"):
    """All rows of a directory, as an independent reader sees them."""
    query = f"SELECT {columns} FROM read_parquet('{directory}/*.parquet', union_by_name=true) ORDER BY {order}"
    return duckdb.connect().sql(query).fetchall()


def names(directory):
    return sorted(path.name for path in Path(directory).iterdir())


class Fixed(Loss):
    """Two terms of three examples."""

    def terms(self):
        return {
            "a": Term(torch.tensor([[1.0, 3.0], [5.0, 7.0], [0.0, 2.0]]), weight=2.0),
            "b": Term(torch.tensor([1.0, 2.0, 6.0]), "example"),
        }


def test_rows_are_read_as_added(tmp_path):
    """Every column, with its type, of a loss with two components."""
    with RecordWriter(tmp_path / "deep" / "er", run="night 7", rank=2) as writer:
        writer.add(
            Fixed().evaluate(),
            sample_ids=["x", 5, None],
            dataset=["coco", "ade", None],
            split="train",
            step=10**10,
            epoch=3,
            path=[Path("a/x.png"), "b.png", None],
            caption=["a dog", "", None],
            weight=[1, 2.5, 1],
            condition=[0.25, None, 7],
            draw=2,
            unconditional=[True, False, None],
            control=False,
        )
        assert writer.waiting == 3
    assert writer.waiting == 0
    directory = tmp_path / "deep" / "er"
    assert read(directory, order="loss") == [
        ("night 7", 2, 10**10, 3, "train", "coco", "x", "a/x.png", "a dog", 1.0, 5.0, 0.25, 2, True, False, 2.0, 1.0),
        ("night 7", 2, 10**10, 3, "train", None, None, None, None, 1.0, 8.0, 7.0, 2, None, False, 1.0, 6.0),
        ("night 7", 2, 10**10, 3, "train", "ade", "5", "b.png", "", 2.5, 14.0, None, 2, False, False, 6.0, 2.0),
    ]
    types = duckdb.connect().sql(f"DESCRIBE SELECT * FROM read_parquet('{directory}/*.parquet')").fetchall()
    assert {row[0]: row[1] for row in types} == {**COLUMNS, "loss_a": "DOUBLE", "loss_b": "DOUBLE"}
    assert list(COLUMNS) == [row[0] for row in types][: len(COLUMNS)]
    (name,) = names(directory)
    assert name.startswith("night-7.rank00002.")
    assert name.endswith(".000000.parquet")
    assert len(name.split(".")) == 5


@pytest.mark.parametrize(
    "losses",
    [
        [0.5, NAN, math.inf],
        (0.5, NAN, math.inf),
        np.array([0.5, NAN, math.inf]),
        np.array([0.5, NAN, math.inf], dtype=np.float32),
        torch.tensor([0.5, NAN, math.inf]),
        torch.tensor([0.5, NAN, math.inf], dtype=torch.float64, requires_grad=True),
        torch.tensor([0.5, NAN, math.inf], dtype=torch.bfloat16),
        [torch.tensor(0.5), torch.tensor(NAN), torch.tensor(math.inf)],
    ],
    ids=str,
)
def test_losses_of_any_kind(tmp_path, losses):
    """NaN and infinities are kept: neither is NULL."""
    with RecordWriter(tmp_path) as writer:
        writer.add(losses)
    found = read(tmp_path, "loss, loss IS NULL, weight, run, rank, step, dataset", "loss")
    assert [row[1:] for row in found] == [(False, 1.0, writer.run, 0, None, None)] * 3
    assert found[0][0] == 0.5
    assert found[1][0] == math.inf
    assert math.isnan(found[2][0])


def test_double_precision_is_kept(tmp_path):
    """Beside batches of single precision, in one shard."""
    third = 1 / 3
    with RecordWriter(tmp_path) as writer:
        writer.add(torch.tensor([third], dtype=torch.float64), step=0)
        writer.add(torch.tensor([0.5]), step=1)
        writer.add([third], step=2)
    assert read(tmp_path, "loss") == [(third,), (0.5,), (third,)]


def test_components_come_and_go(tmp_path):
    """NULL where a batch has none, NaN where it is NaN."""
    total, other = torch.tensor(1.0), torch.tensor([2.0])
    with RecordWriter(tmp_path) as writer:
        writer.add(LossOutput(total, {}, other, {"x.y": torch.tensor([NAN])}), step=0)
        writer.add(other, step=1, epoch=1)
        writer.add(LossOutput(total, {}, other, {"z": other}), step=2)
    found = read(tmp_path, 'epoch, "loss_x.y", "loss_z"')
    assert math.isnan(found[0][1])
    assert [found[0][::2], *found[1:]] == [(None, None), (1, None, None), (None, None, 2.0)]


def test_a_copy_is_kept(tmp_path):
    """Trainers scale losses in place, and loaders fill their arrays again."""
    tensor, array = torch.tensor([1.0]), np.array([2.0])
    with RecordWriter(tmp_path) as writer:
        writer.add(tensor, step=0)
        writer.add(array, step=1)
        tensor.mul_(100)
        array *= 100
    assert read(tmp_path, "loss") == [(1.0,), (2.0,)]


def test_a_loss_of_the_whole_batch_is_refused(tmp_path):
    """The message has the reason and the remedy."""
    x = torch.randn(2, 1, 4, 4)
    output = lossreg.build({"name": "dice", "params": {"batch": True}}).evaluate(x, (x > 0).float())
    writer = RecordWriter(tmp_path)
    with pytest.raises(InputError) as caught:
        writer.add(output)
    assert str(caught.value) == (
        "this LossOutput has no values per example: a term with a weight is of the whole batch, or the loss is no"
        " lossreg.Loss; record a loss that splits, such as dice without batch=True, or (B,) values"
    )


LOSSES = torch.tensor([1.0, 2.0])


@pytest.mark.parametrize(
    "losses, options, message",
    [
        (
            torch.tensor(1.0),
            {},
            "losses have shape (), expected one per example, (B,); give the result of lossreg.evaluate",
        ),
        (torch.ones(2, 3), {}, "losses have shape (2, 3), expected one per example"),
        (np.ones((2, 3)), {}, "column 'loss' has shape (2, 3), expected one value per row: (n,)"),
        (torch.tensor([True]), {}, "losses must be real numbers, got torch.bool"),
        (torch.tensor([1j]), {}, "losses must be real numbers, got torch.complex64"),
        (1.0, {}, "column 'loss' is 1.0 (float); expected a list, an array or a tensor with one value per row"),
        ([1.0, None], {}, "row 1, column 'loss': expected a number, also NaN or infinite, got None (NoneType)"),
        (
            LossOutput(LOSSES.mean(), {}, LOSSES, {"a": torch.ones(3)}),
            {},
            "loss_a has shape (3,), and there are 2 losses; expected (2,)",
        ),
        (LOSSES, {"sample_ids": ["a"]}, "sample_id: got 1, and there are 2 losses; give one per example"),
        (LOSSES, {"sample_ids": "ab"}, "column 'sample_id' is 'ab' (str); expected a list"),
        (LOSSES, {"sample_ids": [1.5, 2]}, "row 0, column 'sample_id': expected text, an integer or None, got 1.5"),
        (LOSSES, {"caption": ["a", 5]}, "row 1, column 'caption': expected text or None, got 5 (int)"),
        (LOSSES, {"path": [Path("a"), 5]}, "row 1, column 'path': expected text, a path or None, got 5 (int)"),
        (LOSSES, {"dataset": Path("a")}, "row 0, column 'dataset': expected text or None"),
        (LOSSES, {"dataset": 5}, "row 0, column 'dataset': expected text or None, got 5 (int)"),
        (LOSSES, {"split": ["a"] * 3}, "split: got 3, and there are 2 losses; give one per example"),
        (LOSSES, {"step": 1.5}, "row 0, column 'step': expected an integer of 64 bits or None, got 1.5 (float)"),
        (LOSSES, {"epoch": 2**31}, "row 0, column 'epoch': expected an integer of 32 bits or None"),
        (LOSSES, {"weight": 0}, "row 0, column 'weight': expected a finite number > 0, got 0.0 (float)"),
        (LOSSES, {"weight": [1, math.inf]}, "row 1, column 'weight': expected a finite number > 0, got inf (float)"),
        (LOSSES, {"weight": [1]}, "weight: got 1, and there are 2 losses; give one per example"),
        (
            LossOutput(LOSSES.mean(), {}, LOSSES, {"a": LOSSES, "A": LOSSES}),
            {},
            "the components of the loss: 'loss_a' and 'loss_A' differ in case alone; rename one",
        ),
    ],
)
def test_batches_that_are_refused(tmp_path, losses, options, message):
    """The message has the value and the allowed ones; the buffer stays the same."""
    with RecordWriter(tmp_path) as writer:
        writer.add([0.25])
        with pytest.raises(InputError) as caught:
            writer.add(losses, **options)
        assert str(caught.value).startswith(message)
        writer.add([0.5])
    assert read(tmp_path, "loss", "loss") == [(0.25,), (0.5,)]


def test_sizes_are_shape_errors(tmp_path):
    """As everywhere in lossreg."""
    with pytest.raises(ShapeError):
        RecordWriter(tmp_path).add(LOSSES, sample_ids=[1])


@pytest.mark.parametrize(
    "options, message",
    [
        ({"rank": -1}, "rank must be an integer >= 0, got -1 (int)"),
        ({"rank": "0"}, "rank must be an integer >= 0, got '0' (str)"),
        ({"run": 7}, "run must be text, the name of the job, got 7 (int)"),
    ],
)
def test_wrong_options(tmp_path, options, message):
    """Before anything is made."""
    with pytest.raises(InputError) as caught:
        RecordWriter(tmp_path / "new", **options)
    assert str(caught.value) == message
    assert not (tmp_path / "new").exists()


def test_the_rank_of_a_process_that_torchrun_started(tmp_path, monkeypatch):
    """Unless it is given."""
    monkeypatch.setenv("RANK", "3")
    assert RecordWriter(tmp_path).rank == 3
    assert RecordWriter(tmp_path, rank=1).rank == 1


def test_the_rank_is_that_of_the_time_of_writing(tmp_path, monkeypatch):
    """A writer may be made before the launcher or torch.distributed has numbered the processes."""
    monkeypatch.delenv("RANK", raising=False)
    writer = RecordWriter(tmp_path)
    writer.add([0.5], sample_ids=["a"])
    monkeypatch.setenv("RANK", "3")
    writer.close()
    assert ".rank00003." in next(tmp_path.iterdir()).name


def test_the_directory_is_that_of_the_time_of_making(tmp_path, monkeypatch):
    """A program that changes its directory, as trainers do, finds the rows where it wanted them."""
    monkeypatch.chdir(tmp_path)
    writer = RecordWriter("records")
    writer.add([0.5])
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    writer.close()
    assert len(list((tmp_path / "records").iterdir())) == 1


def test_every_nth_step(tmp_path):
    """Steps that are divisible; without steps the calls are counted."""
    with RecordWriter(tmp_path / "a", config=RecordConfig(every=3)) as writer:
        for step in (0, 1, 2, 3, 4, 9, 10):
            writer.add([float(step)], step=step)
    assert read(tmp_path / "a", "step") == [(0,), (3,), (9,)]
    with RecordWriter(tmp_path / "b", config=RecordConfig(every=3)) as writer:
        for call in range(5):
            writer.add([float(call)])
    assert read(tmp_path / "b", "loss", "loss") == [(0.0,), (3.0,)]


def test_a_share_of_the_samples(tmp_path):
    """The same in every epoch and process; a batch without a chosen sample leaves nothing."""
    config = RecordConfig(fraction=0.5)
    for rank, epoch in ((0, 0), (1, 1)):
        with RecordWriter(tmp_path, rank=rank, config=config) as writer:
            writer.add([1.0, 2.0, 3.0, 4.0], sample_ids=list("0123"), epoch=epoch)
            waiting = writer.waiting
            writer.add([1.0, 2.0], sample_ids=list("01"), epoch=epoch)
            assert writer.waiting == waiting == 1
            writer.add([5.0, 7.0], path=["5", "4"], sample_ids=[None, 4], caption=["x", "y"], weight=[2, 3])
    expected = [("3", None, 4.0, None, 1.0), (None, "5", 5.0, "x", 2.0)]
    assert read(tmp_path, "DISTINCT sample_id, path, loss, caption, weight", "loss") == expected
    assert len(read(tmp_path)) == 4


def test_a_share_needs_names(tmp_path):
    """The message names the example, and the arguments to give."""
    writer = RecordWriter(tmp_path, config=RecordConfig(fraction=0.5))
    with pytest.raises(InputError) as caught:
        writer.add([1.0, 2.0], sample_ids=["a", None])
    assert str(caught.value) == (
        "example 1 has no name, and fraction=0.5 chooses samples by their names; give sample_ids= or path="
    )


def test_a_shard_is_written_once_enough_rows_wait(tmp_path):
    """Shards are numbered, and close writes the rest."""
    with RecordWriter(tmp_path, config=RecordConfig(flush_rows=4)) as writer:
        for step in range(5):
            writer.add([0.0, 0.0], step=step)
            assert len(names(tmp_path)) == (step + 1) // 2
    assert [name.split(".")[3] for name in names(tmp_path)] == ["000000", "000001", "000002"]
    assert len({name.split(".")[2] for name in names(tmp_path)}) == 1
    assert len(read(tmp_path)) == 10


def test_a_shard_is_written_after_some_seconds(tmp_path, monkeypatch):
    """Of the oldest row, checked when rows are added."""
    now = [100.0]
    monkeypatch.setattr("lossreg.records.writer.time.monotonic", lambda: now[0])
    with RecordWriter(tmp_path, config=RecordConfig(flush_seconds=30)) as writer:
        writer.add([0.0])
        now[0] += 29
        writer.add([0.0])
        assert names(tmp_path) == []
        now[0] += 1
        writer.add([0.0])
        assert (len(names(tmp_path)), writer.waiting) == (1, 0)
        writer.add([0.0])
        assert writer.waiting == 1


def test_nothing_is_written_where_nothing_waits(tmp_path):
    """No empty shards; empty batches are none."""
    with RecordWriter(tmp_path) as writer:
        writer.flush()
        writer.add(torch.zeros(0), sample_ids=[])
    assert names(tmp_path) == []


def test_a_later_session_sorts_later(tmp_path, monkeypatch):
    """Of a run that is resumed, also on a machine whose clock is behind. The latest rows of a step count."""
    for place, clock in enumerate([5, 3, 3, 7]):
        monkeypatch.setattr("lossreg.records.shards.time.time_ns", lambda clock=clock: clock * 10**18)
        for rank in (0, 1):
            with RecordWriter(tmp_path, run="night 7", rank=rank) as writer:
                writer.add([float(place)], sample_ids=[rank], step=9, epoch=1)
        assert aggregate_by_dataset(tmp_path, together=True)["overall"]["mean"] == place
    for rank in (0, 1):
        sessions = [int(name.split(".")[2][:16], 16) for name in names(tmp_path) if f".rank0000{rank}." in name]
        assert sessions == [5 * 10**18, 5 * 10**18 + 1, 5 * 10**18 + 2, 7 * 10**18]


def test_a_run_without_a_name_is_a_new_one(tmp_path):
    """Two trainings in one directory are two runs, and none of their rows is taken for one that was done again."""
    writers = [RecordWriter(tmp_path) for _ in range(2)]
    for writer in writers:
        with writer:
            writer.add([1.0], sample_ids=["a"], step=0, epoch=0)
    assert len({writer.run for writer in writers}) == 2
    assert re.fullmatch(r"20\d\d-\d\d-\d\d-\d{6}-[0-9a-f]{4}", writers[0].run)
    assert sorted(read(tmp_path, "run", "run")) == sorted((writer.run,) for writer in writers)
    assert aggregate_by_dataset(tmp_path, together=True)["overall"]["count"] == 2
    assert copy.copy(writers[0]).run == writers[0].run


class Job:
    """A job of two ranks whose processes are in this one: torch.distributed, as far as a name needs it."""

    def __init__(self):
        self.values, self.rank = {}, 0
        self.distributed_c10d = self

    def is_available(self):
        return True

    is_initialized = is_available

    def get_world_size(self):
        return 2

    def get_rank(self):
        return self.rank

    def _get_default_store(self):
        return self

    def add(self, key, number):
        self.values[key] = self.values.get(key, 0) + number
        return self.values[key]

    def set(self, key, value):
        self.values[key] = value.encode()

    def get(self, key):
        return self.values[key]


def test_the_ranks_of_a_job_have_one_run(tmp_path, monkeypatch):
    """The name of the first rank; each default run of a directory is another one."""
    job, made = Job(), []
    monkeypatch.setattr("lossreg.records.run_name._made", Counter())
    monkeypatch.setitem(sys.modules, "torch.distributed", job)
    for job.rank in (0, 1):
        monkeypatch.setattr("lossreg.records.run_name._made", Counter())  # the other process has counted none
        made.append([RecordWriter(tmp_path), RecordWriter(tmp_path), RecordWriter(tmp_path / "other")])
    second, first = [[writer.run for writer in writers] for writers in reversed(made)]
    assert first == second
    assert len(set(first)) == 3
    assert [writer.rank for writer in made[0]] == [1, 1, 1]


def test_ranks_that_cannot_agree_on_a_run_are_warned(tmp_path, monkeypatch):
    """Each would have a run of its own, and padding would count twice."""
    monkeypatch.setattr("lossreg.messages._warned", set())
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.warns(UserWarning, match="this process is one of 4, and its records have no name of a run.*give run="):
        assert RecordWriter(tmp_path).run
    assert RecordWriter(tmp_path, run="mine").run == "mine"


def test_a_training_can_go_on_without_its_records(tmp_path, monkeypatch):
    """With on_error="warn" a full disk costs rows, which are counted; what can be written is."""
    lost = tmp_path / "lost"
    writer = RecordWriter(lost, config=RecordConfig(flush_rows=2, on_error="warn"))
    lost.rmdir()
    with pytest.warns(UserWarning, match=r"lost: records cannot be written: the directory does not.*; 2 rows are lost"):
        writer.add([1.0, 2.0], step=0)
    writer.add([3.0, 4.0], step=1)  # warns once
    assert (writer.waiting, writer.lost) == (0, 4)
    lost.mkdir()
    writer.add([5.0], step=2)
    with pytest.warns(UserWarning, match="lost: 4 rows could not be written, and are missing from the records"):
        writer.close()
    writer.close()  # warns once
    assert (writer.lost, read(lost, "loss")) == (4, [(5.0,)])


def test_odd_names_and_texts(tmp_path):
    """Quotes, slashes, zero bytes, and characters that UTF-8 cannot hold, which are escaped."""
    directory = tmp_path / 'it\'s a "place" *?[x]'
    odd = ["quote ' \" --", "zero \0 byte", "tab\tnew\nline", "half \ud800", "日本語 🎈"]
    with RecordWriter(directory, run="../a/b.c*'ü") as writer:
        writer.add([1.0] * 5, caption=odd, path=[os.fsdecode(b"\xff.png")] * 5, sample_ids=range(5))
    (name,) = names(directory)
    assert name.startswith("-a-b-c-.rank00000.")
    found = duckdb.read_parquet([str(directory / name).replace("[", "[[]").replace("*", "[*]").replace("?", "[?]")])
    rows = found.select("run, caption, path").fetchall()
    assert [row[1] for row in rows] == [*odd[:3], "half \\ud800", odd[4]]
    assert {row[::2] for row in rows} == {("../a/b.c*'ü", "\\udcff.png")}


def test_a_lost_directory_is_named_and_the_rows_are_kept(tmp_path):
    """They can be written to another place, or to the same once it is there again."""
    lost, other = tmp_path / "lost", tmp_path / "other"
    writer = RecordWriter(lost)
    writer.add([1.0], step=0)
    lost.rmdir()
    for _ in range(2):
        with pytest.raises(RecordsError) as caught:
            writer.flush()
        assert (
            str(caught.value) == f"{lost}: records cannot be written: the directory does not exist, or cannot be read"
        )
        assert caught.value.directory == lost
        assert isinstance(caught.value, OSError)
    writer.add([2.0], step=1)
    writer.directory = other
    writer.close()
    assert read(other, "loss") == [(1.0,), (2.0,)]
    assert pickle.loads(pickle.dumps(caught.value)).directory == lost


def test_a_directory_that_cannot_be_made(tmp_path):
    """The error comes when the writer is created, not during training."""
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordsError) as caught:
        RecordWriter(tmp_path / "file" / "records")
    assert str(caught.value).startswith(
        f"{tmp_path}/file/records: the directory of the records cannot be created: Not a dir"
    )


@contextmanager
def read_only(directory):
    """A directory that this process may not write to. Root may write anywhere, so it is somebody else meanwhile."""
    user = os.geteuid()
    directory.chmod(0o555)
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)
        directory.chmod(0o755)


@pytest.mark.skipif(os.name != "posix", reason="users and modes are those of POSIX")
def test_a_directory_that_is_read_only():
    """The rows are kept."""
    with TemporaryDirectory() as folder:
        directory = Path(folder)
        writer = RecordWriter(directory)
        writer.add([1.0])
        with read_only(directory), pytest.raises(RecordsError) as caught:
            writer.flush()
        assert str(caught.value).startswith(f"{directory}: records cannot be written: ")
        assert "Permission denied" in str(caught.value)
        writer.close()
        assert read(directory, "loss", "loss") == [(1.0,)]


@pytest.mark.parametrize("nth, function", [(1, "replace"), (1, "fsync"), (2, "fsync")])
def test_a_failure_at_the_end_of_writing(tmp_path, monkeypatch, nth, function):
    """The disk refuses the file, its name or the directory's: nothing is left behind, and the rows are kept."""
    calls, real = [], getattr(os, function)

    def full(*given):
        calls.append(given)
        if len(calls) == nth:
            raise OSError(28, "No space left on device")
        return real(*given)

    writer = RecordWriter(tmp_path, config=RecordConfig(flush_rows=1))
    with monkeypatch.context() as patch:
        patch.setattr(os, function, full)
        with pytest.raises(RecordsError, match="records cannot be written: No space left on device"):
            writer.add([1.0], step=0)
    assert (names(tmp_path), writer.waiting) == ([], 1)
    writer.add([2.0], step=1)
    assert read(tmp_path, "loss") == [(1.0,), (2.0,)]


def test_written_rows_are_forgotten(tmp_path):
    """The memory of the process stays as it is."""
    writer = RecordWriter(tmp_path, config=RecordConfig(flush_rows=1000))

    def rows(first):
        for step in range(first, first + 20):
            writer.add(torch.rand(500), step=step, caption=[f"caption {step} {i}" * 5 for i in range(500)])

    rows(0)
    gc.collect()
    tracemalloc.start()
    rows(20)
    gc.collect()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    writer.close()
    assert held < 200_000  # of 2 MB that were added


class Traffic(TorchDispatchMode):
    """A count of operations that wait for a device: copies to the host, values read, shapes that depend on values."""

    WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "item", "equal", "is_nonzero")

    def __init__(self):
        super().__init__()
        self.waits = []
        self.called = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.called += 1
        name = function.overloadpacket.__name__.rpartition(".")[2]
        to_host = name in ("_to_copy", "copy_") and str((kwargs or {}).get("device", "")) == "cpu"
        boolean = name == "index" and any(x is not None and x.dtype == torch.bool for x in args[1])
        if name in self.WAITS or to_host or boolean:
            self.waits.append(name)
        return function(*args, **(kwargs or {}))


def test_the_counting_of_traffic_counts():
    """Each of the ways that a value leaves a device."""
    x = torch.tensor([1.0, 2.0])
    for leave in (lambda: x[0].item(), lambda: x[x > 1], lambda: x.to("cpu", torch.float64), lambda: bool(x[0] > 0)):
        with Traffic() as traffic:
            leave()
        assert len(traffic.waits) == 1


@pytest.mark.parametrize("fraction", [1.0, 0.5])
def test_adding_waits_for_nothing(tmp_path, fraction):
    """Each call keeps its values by device operations alone; on a device without values as well."""
    loss = lossreg.build("bce_dice_focal")
    x = torch.randn(4, 1, 8, 8, requires_grad=True)
    output = loss.evaluate(x, (x > 0).float())
    options = {"dataset": "a", "caption": list("abcd"), "step": 0, "weight": [1, 2, 3, 4]}
    with RecordWriter(tmp_path, config=RecordConfig(fraction=fraction)) as writer:
        for given in (output, output.per_example, x.flatten(1).mean(1)):
            with Traffic() as traffic:
                writer.add(given, sample_ids=[0, 1, 2, 3], **options)
            assert traffic.called > 0
            assert traffic.waits == []
    meta = RecordWriter(tmp_path / "meta")
    meta.add(torch.ones(4, device="meta"), sample_ids=[0, 1, 2, 3])
    assert meta.waiting == 4
    meta._buffer.clear()  # there are no values to write


def test_one_copy_for_each_shard(tmp_path, monkeypatch):
    """However many batches and components wait."""
    copies = []
    leave = torch.Tensor.cpu
    monkeypatch.setattr(torch.Tensor, "cpu", lambda self: copies.append(self.shape) or leave(self))
    writer = RecordWriter(tmp_path)
    for step in range(50):
        writer.add(Fixed().evaluate(), step=step)
    writer.add(torch.tensor([1.0], dtype=torch.float64))
    assert copies == []
    writer.flush()
    assert copies == [(50 * 3 * 3 + 1,)]


@pytest.mark.parametrize("name", ["sample_ids", "weight", "step"])
def test_metadata_on_a_device_are_refused(tmp_path, name):
    """Reading them would wait; losses alone may be there."""
    value = torch.ones(() if name == "step" else 2, device="meta", dtype=torch.int64)
    with pytest.raises(InputError, match="is on meta, and reading it would wait for the device; give it as the loader"):
        RecordWriter(tmp_path).add(LOSSES, **{name: value})


def test_names_may_be_tensors_of_the_loader(tmp_path):
    """Numbers of examples, as loaders stack them."""
    with RecordWriter(tmp_path) as writer:
        writer.add(LOSSES, sample_ids=torch.tensor([7, 8]), step=torch.tensor(3), weight=torch.tensor([1.0, 2.0]))
        writer.add(LOSSES, sample_ids=np.array([9, 10]), step=np.int64(4), weight=np.float32(0.5))
    assert read(tmp_path, "sample_id, step, weight", "step, loss") == [
        ("7", 3, 1.0),
        ("8", 3, 2.0),
        ("9", 4, 0.5),
        ("10", 4, 0.5),
    ]


def test_a_copy_is_a_writer_of_its_own(tmp_path):
    """As in worker processes: its buffer is empty, and its shards are its own."""
    writer = RecordWriter(tmp_path, run="r", rank=1, config=RecordConfig(flush_rows=7))
    writer.add([1.0])
    for other in (copy.deepcopy(writer), pickle.loads(pickle.dumps(writer))):
        assert (other.run, other.rank, other.config, other.directory) == ("r", 1, writer.config, tmp_path)
        assert other.waiting == 0
        other.add([2.0])
        other.close()
    writer.close()
    assert read(tmp_path, "loss", "loss") == [(1.0,), (2.0,), (2.0,)]
    assert len(names(tmp_path)) == 3


@pytest.mark.tools
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_after_a_fork_no_row_is_written_twice(tmp_path):
    """Buffered rows belong to the parent; the child begins with an empty buffer."""
    writer = RecordWriter(tmp_path)
    writer.add([1.0])
    child = os.fork()
    if child == 0:
        code = 1
        try:
            writer.flush()
            assert writer.waiting == 0
            writer.add([2.0])
            writer.close()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    writer.close()
    assert read(tmp_path, "loss", "loss") == [(1.0,), (2.0,)]


@pytest.mark.tools
def test_open_writers_are_written_at_the_end(tmp_path):
    """At the end of a script, and when a writer is deleted, with a warning."""
    code = f"from lossreg.records import RecordWriter; w = RecordWriter({str(tmp_path)!r}); w.add([1.0])"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert read(tmp_path, "loss", "loss") == [(1.0,)]
    writer = RecordWriter(tmp_path)
    writer.add([2.0])
    with pytest.warns(ResourceWarning, match="a RecordWriter was not closed; use `with` or close"):
        del writer
    assert read(tmp_path, "loss", "loss") == [(1.0,), (2.0,)]


@pytest.mark.tools
def test_rows_that_cannot_be_written_at_the_end_are_reported(tmp_path):
    """With the number of lost rows and the reason; other writers are closed."""
    lost, other = tmp_path / "lost", tmp_path / "other"
    code = (
        "from lossreg.records import RecordWriter\n"
        f"first, second = RecordWriter({str(lost)!r}), RecordWriter({str(other)!r})\n"
        "first.add([1.0, 2.0]); second.add([3.0]); first.directory.rmdir()"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert f"2 rows are lost at the end of the process: {lost}: records cannot be written" in done.stderr
    assert "Traceback" not in done.stderr
    assert read(other, "loss", "loss") == [(3.0,)]


@pytest.mark.tools
def test_writing_needs_no_torch(tmp_path):
    """Lists and arrays do without, as in a job that only reads numbers."""
    code = (
        "import sys; from lossreg.records import RecordWriter\n"
        f"with RecordWriter({str(tmp_path)!r}) as w: w.add([1.0, 2.0], sample_ids=[1, 2])\n"
        "assert not {'torch', 'pandas', 'pyarrow', 'pydantic'} & set(sys.modules), sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert len(read(tmp_path)) == 2


@pytest.mark.parametrize("weight", [torch.tensor(0.5), np.array(0.5), np.float32(0.5)], ids=str)
def test_one_weight_for_all_may_have_no_dimension(tmp_path, weight):
    """As a tensor or an array of one number, it is that number."""
    with RecordWriter(tmp_path) as writer:
        writer.add([1.0, 2.0], weight=weight)
    assert read(tmp_path, "loss, weight", "loss") == [(1.0, 0.5), (2.0, 0.5)]
