"""Every executor gives the same summary of the same losses; one that was killed is started again and gives it, too."""

import json
import math
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest

duckdb = pytest.importorskip("duckdb", reason="duckdb is not installed, so there are no records")

from torch.utils.data import DataLoader  # noqa: E402

from lossreg import InputError  # noqa: E402
from lossreg.errors import MissingLibraryError  # noqa: E402
from lossreg.records import rank_examples, run_dataset_evaluation  # noqa: E402
from lossreg.records.evaluation.evaluate import write_rows  # noqa: E402
from lossreg.records.evaluation.ray_data import RayExecutor, _RowsOfBatch  # noqa: E402
from lossreg.records.row_validation import chunks  # noqa: E402

from .executor_job import BATCH, COUNT, PART, RANKED, Examples, Model, evaluate  # noqa: E402
from .tolerance import same  # noqa: E402

pytestmark = pytest.mark.tools

JOB = Path(__file__).with_name("executor_job.py")
PARTS = math.ceil(COUNT / PART)
needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed: pip install 'lossreg[ray]'")


def start(out, *command):
    """A process of the script, with its output in a file, and no network."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    with (out / f"{command[-1]}.out").open("w") as output:
        return subprocess.Popen([sys.executable, *command, out], env=environment, stdout=output, stderr=output)


def finished(process, out, name):
    """Wait for a process that must end well; one that hangs is ended."""
    try:
        process.wait(600)
    finally:
        process.terminate()
    assert process.returncode == 0, (out / f"{name}.out").read_text()[-3000:]


def left_behind(out, name):
    """A shard of a process that was killed, with losses that no summary may have."""
    directory = out / f"{name}_000000007.records"
    directory.mkdir()
    write_rows(chunks([{"loss": 1e6, "sample_id": "0", "run": name, "rank": 2, "step": 7}]), directory, name, 2)


def summary(out, name):
    """The summary of an executor, but for the name of the job."""
    text = (out / f"{name}_000000007.json").read_text()
    return json.loads(text.replace(f"{name}_000000007", "").replace(f'"{name}"', '"job"'))


def drawn(out, name):
    """The rows of an evaluation with draws, each once: (sample_id, draw, condition, loss), and the other columns."""
    shards = f"{out}/{name}_000000007.records/*.parquet"
    columns = "sample_id, draw, condition, loss, control, camera, size, late, loss_late"
    query = f"SELECT DISTINCT {columns} FROM read_parquet('{shards}', union_by_name=true) ORDER BY ALL"
    return duckdb.connect().execute(query).fetchall()


def log(out, name):
    """The calls of the models: (process, "made") or (process, index)."""
    return [tuple(line.split()) for line in (out / f"{name}.log").read_text().splitlines()]


def rows(out, name):
    """The number of rows in the shards."""
    shards = f"{out}/{name}_000000007.records/*.parquet"
    return duckdb.connect().execute(f"SELECT count(*) FROM read_parquet('{shards}')").fetchone()[0]


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """The folder of an evaluation in this process."""
    out = tmp_path_factory.mktemp("local")
    left_behind(out, "local")
    path = run_dataset_evaluation(
        Model,
        DataLoader(Examples(), BATCH),
        job_name="local",
        step=7,
        out_dir=out,
        init={"log": str(out / "local.log")},
    )
    assert path == out / "local_000000007.json"
    assert evaluate(out, "drawn", "local", DataLoader(Examples(), BATCH + 1), draws=2) is None
    assert evaluate(out, "ranked", "local", DataLoader(Examples(RANKED), BATCH)) is None
    return out


@pytest.fixture(scope="module")
def torchrun(tmp_path_factory):
    """The folder of evaluations by two ranks."""
    out = tmp_path_factory.mktemp("torchrun")
    left_behind(out, "torchrun")
    command = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", JOB, "torchrun")
    finished(start(out, *command), out, "torchrun")
    return out


@pytest.fixture(scope="module")  # over 10 s: a Ray cluster starts, dies and starts again
def killed(tmp_path_factory):
    """The folder of a job on Ray that was killed, and the parts that it had completed. One of them was torn."""
    if find_spec("ray") is None:
        pytest.skip("ray is not installed: pip install 'lossreg[ray]'")
    out = tmp_path_factory.mktemp("ray")
    process = start(out, JOB, "ray-killed")

    def written():
        return sorted(out.glob("*.records/.ray-*/part=*/rows=*/*.parquet"))

    end = time.monotonic() + 600
    while len(written()) < 4 and process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert not (out / "parts_000000007.json").exists()
    time.sleep(1)  # the workers go when they see that their driver has gone
    torn, *_ = written()
    torn.write_bytes(torn.read_bytes()[:-100])
    whole = {int(file.parent.parent.name[len("part=") :]) for file in written() if file.read_bytes()[-4:] == b"PAR1"}
    assert 3 <= len(whole) < PARTS
    return out, whole, {process for process, _ in log(out, "parts")}


@pytest.fixture(scope="module")
def on_ray(killed):
    """The job was started again."""
    out, _, _ = killed
    finished(start(out, JOB, "ray"), out, "ray")


def ranking(out):
    """The ranking of the same 2,000 records by an executor, and the plain means, which are rounded."""
    found = rank_examples(out / "ranked_000000007.records", top_k=RANKED)
    return replace(found, examples=[replace(one, mean=None) for one in found.examples]), [
        one.mean for one in found.examples
    ]


def errors_of(file):
    """The errors that the script met, by what it tried."""
    return json.loads(file.read_text())


def test_the_summary_is_that_of_the_losses(local):
    """Against plain Python: 103 examples, one of them NaN; an earlier shard is not counted."""
    losses = [(index * 37 % 101) / 7 + 0.1 for index in range(COUNT) if index != 50]
    weights = [1.0 + index % 2 for index in range(COUNT) if index != 50]
    overall = summary(local, "local")["overall"]
    assert (overall["count"], overall["nan"], overall["items"]) == (102, 1, 103)
    weighted = math.fsum(w * loss for w, loss in zip(weights, losses, strict=True)) / sum(weights)
    assert overall["mean"] == pytest.approx(weighted, rel=1e-14)
    assert overall["maximum"] == max(losses) == 100 / 7 + 0.1
    assert {process for process, _ in log(local, "local")} == {str(os.getpid())}


def test_torchrun_gives_the_same(local, torchrun):
    """Two ranks of 52: padding is written and does not count, nor does an earlier run."""
    errors = [errors_of(torchrun / f"rank{rank}.json") for rank in (0, 1)]
    assert [(each["again"], each["ranked"]) for each in errors] == [(None, None)] * 2
    assert rows(torchrun, "torchrun") == 104
    found = summary(torchrun, "torchrun")
    assert found.pop("left_out") == {"job": 1}
    assert same(found | {"left_out": {}}, summary(local, "local"), 100)


def test_ranks_have_the_same_conditions_and_noise(local, torchrun):
    """Two draws of each example, in other batches and processes: the same losses to the bit."""
    found = drawn(local, "drawn")
    assert len(found) == 2 * COUNT
    others = {row[0]: row[4:] for row in found}
    assert others["7"] == (True, "left", 7 * 2**33, None, None)
    assert others["100"] == (False, None, 100 * 2**33, 50.0, 50.0)
    assert drawn(torchrun, "drawn") == drawn(local, "drawn")
    assert summary(torchrun, "drawn")["overall"]["count"] == 2 * COUNT


def test_a_rank_that_fails_stops_the_others(torchrun):
    """The one with its own error, the other with one that names it; neither waits, and nothing is summarised."""
    first, second = (errors_of(torchrun / f"rank{rank}.json")["fails"] for rank in (0, 1))
    assert second == "RuntimeError: no photo 51"
    assert first == ("RankError: rank 1 of 2 failed, so that rank 0 stops as well; see the output of rank 1")
    assert not (torchrun / "fails_000000007.json").exists()


def test_ranks_give_the_same_ranking(local, torchrun):
    """To the last bit: the sums are of whole numbers. Every fiftieth example is high, and stands in front."""
    (found, means), (other, other_means) = ranking(local), ranking(torchrun)
    assert {int(one.sample_id) % 50 for one in found.examples[:10]} == {0}
    assert [one.looks for one in found.examples] == [4] * 500
    assert found.reliability > 0.1
    assert other == found
    assert other_means == pytest.approx(means, rel=1e-14)


@needs_ray
@pytest.mark.usefixtures("on_ray")
def test_ray_gives_the_same_ranking(local, killed):
    """To the last bit, from two actors. The files of Ray have the version of the columns, as all shards have."""
    out, _, _ = killed
    (found, means), (other, other_means) = ranking(local), ranking(out)
    assert other == found
    assert other_means == pytest.approx(means, rel=1e-14)
    shards = [str(path) for path in out.glob("*.records/*.parquet")]
    versions = duckdb.execute(
        "SELECT count(DISTINCT file_name) FROM parquet_kv_metadata(?) WHERE key = 'lossreg_schema' AND value = '2'",
        [shards],
    ).fetchall()
    assert versions == [(len(shards),)]


@needs_ray
@pytest.mark.usefixtures("on_ray")
def test_ray_gives_the_same_though_it_was_killed(local, killed):
    """The second job computes the unfinished parts, with one model per actor, and no row is duplicated.

    All other cases of the cluster are here, because starting one takes longer than all the rest.
    """
    out, whole, before = killed
    errors = errors_of(out / "ray.json")
    assert errors["parts"] is None
    assert same(summary(out, "parts"), summary(local, "local"), 100)
    assert rows(out, "parts") == COUNT
    after = [(process, word) for process, word in log(out, "parts") if process not in before]
    again = sorted(int(word) for _, word in after if word != "made")
    assert again == [index for index in range(COUNT) if index // PART not in whole]
    assert sorted(process for process, word in after if word == "made") == sorted({process for process, _ in after})
    assert not list(out.glob("*.records/.ray-*"))

    # A finished job computes nothing: its model, which would fail at once, is not even made.
    assert errors["finished"] is None

    # A ray.data.Dataset is streamed and, after a failure, started again: written rows are left out by their ids.
    assert "RuntimeError: no photo 70\n" in errors["stream fails"]
    assert "lossreg: compute_fn failed in batch 17, counted from 0" in errors["stream fails"]
    assert errors["stream"] is None
    assert same(summary(out, "stream"), summary(local, "local"), 100)
    assert rows(out, "stream") == COUNT

    # Draws are those of one process, of parts and of a stream; a finished job cannot go on with others.
    # Batches without some columns, and those with them, may be one file.
    assert (errors["drawn"], errors["drawn stream"], errors["drawn in one file"]) == (None, None, None)
    assert errors["ranked"] is None
    assert drawn(out, "drawn") == drawn(out, "drawn-stream") == drawn(out, "drawn-file") == drawn(local, "drawn")
    assert [rows(out, name) for name in ("drawn", "drawn-stream", "drawn-file")] == [2 * COUNT] * 3
    assert len(list(out.glob("drawn-file_*.records/*.parquet"))) == 1
    assert re.search(
        r"was started with {'examples': 103, 'part_size': 8, 'draws': 2, .*}, and this is .*'draws': 4",
        errors["more draws"],
    )

    # Parts of another size than the job was started with; an order that is another each time.
    assert errors["other parts"] == (
        f"InputError: {out}/parts_000000007.records was started with {{'examples': 103, 'part_size': 8}}, and this is"
        " {'examples': 103, 'part_size': 4}; give the same data, part_size and draws, or delete the directory"
    )
    assert errors["shuffled"] == (
        "InputError: executor 'ray' cuts the dataset into parts by index: give a DataLoader with a batch_size and"
        " without shuffle or sampler, or the dataset"
    )


@needs_ray
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Ray's own settings, as it is imported
def test_data_that_ray_cannot_take(tmp_path):
    """The error comes before a cluster is started."""
    with pytest.raises(InputError, match=r"takes a ray.data.Dataset, a dataset or sequence .*, got <generator"):
        run_dataset_evaluation(len, (x for x in "ab"), job_name="job", step=7, out_dir=tmp_path, executor="ray")
    left_behind(tmp_path, "job2")
    with pytest.raises(InputError, match="has records that Ray did not write; delete the directory or change job_name"):
        run_dataset_evaluation(len, [1, 2], job_name="job2", step=7, out_dir=tmp_path, executor="ray")


@needs_ray
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Ray's own settings, as it is imported
def test_batches_of_one_file_may_have_different_columns(tmp_path):
    """What a batch does not have is NULL, and an integer beside a float is one. Text beside numbers is an error."""
    import pyarrow as pa

    from lossreg.records.evaluation.ray_sink import Files

    files = Files(tmp_path / "files", 4)
    task = SimpleNamespace(task_idx=3)
    files.write([pa.table({}), pa.table({"loss": pa.array([], pa.float64())})], task)
    assert not files.folder.exists()
    first, second = {"loss": [1.0, 2.0], "size": [8, None], "camera": ["a", "b"]}, {"late": [True], "size": [0.5]}
    files.write([pa.table(first), pa.table({}), pa.table(second)], task)
    (file,) = files.folder.iterdir()
    found = duckdb.sql(f"SELECT loss, size, camera, late FROM '{file}'").fetchall()
    assert found == [(1.0, 8.0, "a", None), (2.0, None, "b", None), (None, 0.5, None, True)]
    ((key, version),) = duckdb.sql(
        f"SELECT key, value FROM parquet_kv_metadata('{file}') WHERE key = 'lossreg_schema'"
    ).fetchall()
    assert (key, version) == (b"lossreg_schema", b"2")
    with pytest.raises(InputError, match=r"another type than in an earlier batch; give one type: .* Field size "):
        files.write([pa.table(first), pa.table({"size": ["big"]})], task)
    assert list(files.folder.iterdir()) == [file]


def test_rows_of_a_ray_dataset_have_ids():
    """In the batch and in what comes back."""
    rows = _RowsOfBatch(lambda batch: [{"loss": 1.0}], None, {"run": "job"}, frozenset())
    with pytest.raises(InputError, match=r"a Ray dataset needs a column sample_id, .*; it has image, mask"):
        list(rows({"image": [1], "mask": [1]}))
    import numpy as np

    with pytest.raises(InputError, match="a row of compute_fn has no sample_id; return that of the batch"):
        list(rows({"sample_id": np.array(["a"])}))


def test_without_ray_the_error_says_what_to_install(monkeypatch, tmp_path):
    """Before anything is written."""
    monkeypatch.setattr("lossreg.messages.find_spec", lambda name: None)
    with pytest.raises(MissingLibraryError) as caught:
        run_dataset_evaluation(len, [1, 2], job_name="job", step=7, out_dir=tmp_path, executor="ray")
    assert str(caught.value) == "executor 'ray': ray is not installed; pip install 'lossreg[ray]'"
    assert not list(tmp_path.iterdir())


def test_torchrun_without_torchrun(monkeypatch, tmp_path):
    """No process group, and nothing to make one of."""
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InputError) as caught:
        run_dataset_evaluation(len, [], job_name="job", step=7, out_dir=tmp_path, executor="torchrun")
    assert str(caught.value) == (
        "executor 'torchrun': torch.distributed is not initialised, and the environment has no RANK,"
        " WORLD_SIZE, MASTER_ADDR, MASTER_PORT; start the script with torchrun, or use executor='local'"
    )


@pytest.mark.parametrize("name", ["actors", "part_size", "batch_size", "cpus", "gpus"])
def test_the_settings_of_ray_have_a_least_value(name):
    """Below it, the error names it."""
    with pytest.raises(InputError, match=rf"RayExecutor: {name} must be >= \d, got -1"):
        RayExecutor(**{name: -1})
