"""evaluate_dataset and run_dataset_evaluation in one process: results, files and errors."""

import json
import math
import tracemalloc

import pytest
import torch

pytest.importorskip("duckdb", reason="duckdb is not installed, so there are no records")

import numpy as np
from torch import nn
from torch.utils.data import DataLoader

from lossreg import InputError, build
from lossreg.records import evaluate_dataset, run_dataset_evaluation
from lossreg.records.evaluation.compute_fn import joined
from lossreg.records.evaluation.evaluate import _summarise, write_rows
from lossreg.records.row_validation import chunks


def halves(batch):
    """One row for each number."""
    return [{"loss": number / 2, "sample_id": str(number), "dataset": "ab"[number % 2]} for number in batch]


class Recorder:
    """A compute_fn that remembers its batches."""

    def __init__(self):
        self.batches = []

    def __call__(self, batch):
        self.batches.append(batch)
        return halves(batch)


def test_a_model_is_evaluated_on_a_dataset(tmp_path):
    """A convolution and a loss over a DataLoader: means by dataset, and a table and a report of them."""
    torch.manual_seed(0)
    model, loss = nn.Conv2d(3, 1, 1), build({"name": "bce", "params": {"reduction": "none"}})
    images, masks = torch.rand(10, 3, 8, 8), (torch.rand(10, 1, 8, 8) > 0.5).float()
    data = [
        {"image": images[i], "mask": masks[i], "name": f"photo{i}.png", "dataset": "coco" if i < 4 else "voc"}
        for i in range(10)
    ]

    def compute(batch):
        assert not torch.is_grad_enabled()
        losses = loss(model(batch["image"]), batch["mask"])
        return {
            "loss": losses,
            "path": batch["name"],
            "dataset": batch["dataset"],
            "caption": ["a photo"] * len(losses),
        }

    found = evaluate_dataset(
        compute, DataLoader(data, batch_size=3), out_csv=tmp_path / "rows.csv", out_json=tmp_path / "report.json"
    )
    each = nn.functional.binary_cross_entropy_with_logits(model(images), masks, reduction="none").mean((1, 2, 3))
    assert found["overall"]["count"] == 10
    assert found["overall"]["mean"] == pytest.approx(each.mean().item(), rel=1e-6)
    assert found["datasets"]["coco"]["mean"] == pytest.approx(each[:4].mean().item(), rel=1e-6)
    worst = found["datasets"]["voc"]["highest"][0]
    assert (worst["path"], worst["caption"]) == (f"photo{4 + int(each[4:].argmax())}.png", "a photo")
    lines = (tmp_path / "rows.csv").read_text().splitlines()
    assert lines[0].startswith("path,dataset,caption,loss,sample_id,")
    assert len(lines) == 11
    assert json.loads((tmp_path / "report.json").read_text())["overall"]["count"] == 10
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.json", "rows.csv"]


def test_rows_of_every_kind_give_the_same():
    """A list, a generator, columns as lists, as arrays and as tensors; integers or text as ids."""
    kinds = [
        halves,
        lambda batch: (row for row in halves(batch)),
        lambda batch: {"loss": [n / 2 for n in batch], "sample_id": batch, "dataset": ["ab"[n % 2] for n in batch]},
        lambda batch: {
            "loss": np.array(batch) / 2,
            "sample_id": np.array(batch),
            "dataset": np.array(["ab"[n % 2] for n in batch]),
        },
        lambda batch: {
            "loss": torch.tensor(batch) / 2,
            "sample_id": torch.tensor(batch),
            "dataset": tuple("ab"[n % 2] for n in batch),
        },
    ]
    first, *others = (evaluate_dataset(kind, [[0, 1], [2], [3, 4, 5]]) for kind in kinds)
    assert first["overall"]["mean"] == 1.25
    assert first["datasets"]["b"]["maximum"] == 2.5
    for other in others:
        assert other == first


def test_losses_that_are_not_finite_are_counted_apart():
    """They are in no mean."""
    found = evaluate_dataset(lambda batch: [{"loss": value} for value in batch], [[1.0, math.nan], [3.0, math.inf]])
    overall = found["overall"]
    assert (overall["count"], overall["nan"], overall["infinite"], overall["mean"]) == (2, 1, 1, 2.0)


@pytest.mark.parametrize("stop, batches", [(1, 1), (4, 1), (5, 2), (8, 2), (400, 25)])
def test_max_samples_stops_exactly(stop, batches):
    """No row more, no batch computed or taken that was not needed."""
    compute, taken = Recorder(), []

    def loader():
        for start in range(0, 100, 4):
            taken.append(start)
            yield list(range(start, start + 4))

    found = evaluate_dataset(compute, loader(), max_samples=stop)
    assert found["overall"]["count"] == min(stop, 100)
    assert found["overall"]["maximum"] == (min(stop, 100) - 1) / 2
    assert len(compute.batches) == len(taken) == batches


def test_a_fraction_is_chosen_by_seed_and_number():
    """About the share given; the same again, others with another seed; a larger fraction contains a smaller one."""
    loader = [[number] for number in range(1000)]
    drawn = {}
    for fraction, seed in ((0.1, 0), (0.1, 1), (0.3, 0)):
        compute = Recorder()
        found = evaluate_dataset(compute, loader, sample_fraction=fraction, seed=seed)
        drawn[fraction, seed] = {number for (number,) in compute.batches}
        assert found["overall"]["count"] == len(drawn[fraction, seed]) == pytest.approx(1000 * fraction, abs=40)
    again = Recorder()
    evaluate_dataset(again, iter(loader), sample_fraction=0.1)
    assert {number for (number,) in again.batches} == drawn[0.1, 0] < drawn[0.3, 0]
    assert drawn[0.1, 0] != drawn[0.1, 1]
    # As b2sum -l 64 of "0:number" has it, so that no later version draws others.
    assert sorted(drawn[0.1, 0])[:4] == [3, 7, 18, 23]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_dataloader_does_not_load_other_batches(workers):
    """The same batches as of any other iterable, also with worker processes."""

    class Numbers(torch.utils.data.Dataset):
        def __len__(self):
            return 200

        def __getitem__(self, index):
            loaded.append(index)
            return index

    def compute(batch):
        return halves(batch.tolist())

    loaded: list = []
    loader = DataLoader(Numbers(), batch_size=2, num_workers=workers)
    found = evaluate_dataset(compute, loader, sample_fraction=0.2)
    assert found == evaluate_dataset(halves, [[n, n + 1] for n in range(0, 200, 2)], sample_fraction=0.2)
    assert found["overall"]["count"] < 80
    assert len(loaded) == (found["overall"]["count"] if workers == 0 else 0)  # workers have a list of their own


@pytest.mark.tools
def test_memory_does_not_grow_with_the_rows():
    """A million rows: less is held than their losses alone would take."""

    def compute(number):
        return {"loss": np.full(10_000, float(number))}

    evaluate_dataset(compute, range(1))
    tracemalloc.start()
    found = evaluate_dataset(compute, range(100))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found["overall"]["count"] == 1_000_000
    assert found["overall"]["mean"] == 49.5
    assert peak < 7e6


def test_chunks_of_different_columns_are_joined():
    """A missing column is NULL in the rows of its chunk, text and numbers alike."""
    rows = [[{"loss": 1, "epoch": 3, "loss_dice": 0.5}], [{"loss": 2, "caption": "b"}], [{"loss": 3, "epoch": None}]]
    whole = joined([chunk for some in rows for chunk in chunks(some)])
    assert whole["loss"].tolist() == [1, 2, 3]
    assert whole["epoch"].tolist() == [3, None, None]
    assert whole["loss_dice"].tolist() == [0.5, None, None]
    assert whole["caption"].tolist() == [None, "b", None]
    assert whole["weight"].tolist() == [1, 1, 1]
    assert whole["path"] is None


@pytest.mark.parametrize(
    "options, message",
    [
        ({"sample_fraction": 0}, r"sample_fraction must be a share of the batches in \(0, 1\], got 0 \(int\)"),
        ({"sample_fraction": 1.5}, r"got 1.5 \(float\)"),
        ({"sample_fraction": math.nan}, r"got nan \(float\)"),
        ({"sample_fraction": "half"}, r"got 'half' \(str\)"),
        ({"max_samples": 0}, r"max_samples must be a number of rows >= 1, or None for all, got 0 \(int\)"),
        ({"max_samples": 2.0}, r"got 2.0 \(float\)"),
        ({"compute_fn": 3}, r"compute_fn must be a function of a batch, or a class of one, got 3 \(int\)"),
    ],
)
def test_arguments_are_checked_before_anything_is_computed(options, message):
    """The message has the value and the allowed ones; the model is not run."""
    compute = Recorder()
    with pytest.raises(InputError, match=message):
        evaluate_dataset(**{"compute_fn": compute, "dataloader": [[1]], **options})
    assert compute.batches == []


@pytest.mark.parametrize(
    "returned, message",
    [
        (None, r"records must be an iterable of mappings, or a mapping of columns, got None \(NoneType\)"),
        ([0.5], r"row 0 is 0.5 \(float\), expected a mapping such as"),
        (torch.tensor([0.5]), r"row 0 is tensor\(0.5000\) \(Tensor\), expected a mapping such as"),
        ([{"los": 1}], r"unknown column 'los'; did you mean 'loss'\?"),
        ([{"loss": 1, "camera": 2}], "column 'camera' has numbers, and had text before; give one type"),
    ],
)
def test_invalid_rows_are_reported_with_the_batch(returned, message):
    """The second batch is number 1."""
    first = [{"loss": 0.5, "camera": "left"}]
    with pytest.raises(InputError, match=rf"batch 1: compute_fn returned invalid rows: .*{message}"):
        evaluate_dataset(lambda batch: first if batch == [0] else returned, [[0], [1]])


def test_an_error_of_the_model_passes_with_the_batch():
    """Its own type, so that it can be caught as such; also from within a generator."""

    def compute(batch):
        yield from halves(batch)
        if batch == [2]:
            raise FloatingPointError("overflow")

    with pytest.raises(FloatingPointError, match="overflow") as caught:
        evaluate_dataset(compute, [[0], [1], [2]])
    assert caught.value.__notes__ == ["lossreg: compute_fn failed in batch 2, counted from 0"]


def test_no_rows_are_an_error():
    """An empty loader, or none of its batches chosen."""
    with pytest.raises(InputError, match=r"there are no rows: the dataloader is empty, or sample_fraction=1.0 with"):
        evaluate_dataset(halves, [])
    with pytest.raises(InputError, match=r"sample_fraction=0.001 with seed=0 chooses none of its batches"):
        evaluate_dataset(halves, [[0]], sample_fraction=0.001)
    with pytest.raises(InputError, match="sample_fraction=1e-15 with seed=0 chooses none of its batches"):
        evaluate_dataset(halves, DataLoader([0, 1, 2]), sample_fraction=1e-15)  # nor is one searched for beyond its end


class Scaled:
    """A compute_fn with something to load."""

    def __init__(self, factor):
        self.factor = factor

    def __call__(self, batch):
        return [row | {"loss": row["loss"] * self.factor} for row in halves(batch)]


def test_an_evaluation_writes_shards_and_a_summary(tmp_path):
    """Named after job and step; the rows have run, rank and step."""
    import duckdb

    path = run_dataset_evaluation(
        Scaled, [[0, 1], [2]], job_name="val run", step=12, out_dir=tmp_path / "new", init={"factor": 10}
    )
    assert path == tmp_path / "new" / "val run_000000012.json"
    assert sorted(path.name for path in path.parent.iterdir()) == [
        "val run_000000012.json",
        "val run_000000012.records",
    ]
    shards = f"{path.parent}/val run_000000012.records/*.parquet"
    query = f"SELECT run, rank, step, sample_id, loss FROM read_parquet('{shards}') ORDER BY loss"
    assert duckdb.connect().execute(query).fetchall() == [("val run", 0, 12, str(n), n * 5.0) for n in range(3)]
    assert json.loads(path.read_text())["overall"]["mean"] == 5.0


def test_evaluating_again_replaces_what_was_there(tmp_path):
    """Also where the first had more rows; one that fails leaves no summary of the one before."""
    run_dataset_evaluation(halves, [[0, 1, 2, 3]], job_name="job", step=0, out_dir=tmp_path)
    path = run_dataset_evaluation(halves, [[0, 1]], job_name="job", step=0, out_dir=tmp_path)
    assert json.loads(path.read_text())["overall"]["count"] == 2
    with pytest.raises(ZeroDivisionError):
        run_dataset_evaluation(lambda batch: 1 / 0, [[0]], job_name="job", step=0, out_dir=tmp_path)
    assert not path.exists()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"job_name": "a/b"}, r"job_name must be text without path separators .*, got 'a/b' \(str\)"),
        ({"job_name": "a\\b"}, "job_name must be text without path separators"),
        ({"job_name": ""}, "job_name must be text without path separators"),
        ({"job_name": ".."}, "job_name must be text without path separators"),
        ({"job_name": 3}, r"got 3 \(int\)"),
        ({"step": -1}, r"step must be an integer from 0 to 999,999,999, got -1 \(int\)"),
        ({"step": 10**9}, "step must be an integer from 0 to 999,999,999"),
        ({"step": 1.0}, r"got 1.0 \(float\)"),
        ({"executor": "slurm"}, r"executor must be 'local', 'torchrun', 'ray' or a RayExecutor, got 'slurm' \(str\)"),
        ({"init": {"factor": 2}}, "init has factor, but compute_fn is not a class; use functools.partial"),
        ({"compute_fn": dict}, r"compute_fn dict is a class without __call__\(self, batch\)"),
        ({"dataloader": []}, "there are no rows: the dataloader is empty, or compute_fn returned none"),
        (
            {"compute_fn": lambda batch: [{"loss": 1.0, "step": 3}]},
            "batch 0: compute_fn returned a column 'step', which the evaluation sets to 7; leave it out",
        ),
    ],
)
def test_what_an_evaluation_cannot_take(tmp_path, options, message):
    """No summary is written."""
    given = {"compute_fn": halves, "dataloader": [[0]], "job_name": "job", "step": 7, "out_dir": tmp_path}
    with pytest.raises(InputError, match=message):
        run_dataset_evaluation(**{**given, **options})
    assert not list(tmp_path.glob("*.json"))


def test_ranks_that_write_to_directories_of_their_own(tmp_path):
    """The first rank does not find the shards of the other: an error, and no summary without them."""
    write_rows(chunks([{"loss": 1.0}]), tmp_path, "job")
    with pytest.raises(InputError, match="has 1 of the 2 shards that the ranks wrote; out_dir must be"):
        _summarise(tmp_path, tmp_path / "job.json", 2)
    assert not (tmp_path / "job.json").exists()


def test_options_are_keywords(tmp_path):
    """A positional argument after the loader is a TypeError of Python."""
    with pytest.raises(TypeError, match=r"takes 2 positional arguments but 3 were given"):
        evaluate_dataset(halves, [[0]], 0.5)
    with pytest.raises(TypeError, match=r"takes 2 positional arguments but 5 were given"):
        run_dataset_evaluation(halves, [[0]], "job", 0, tmp_path)
