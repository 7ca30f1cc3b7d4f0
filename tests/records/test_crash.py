"""Writers that are killed, and disks that are full: every shard reads, and no row is lost that was written."""

import json
import os
import subprocess
import sys

import pytest

duckdb = pytest.importorskip("duckdb", reason="the extra records is not installed")
pytest.importorskip("numpy", reason="the extra records is not installed")

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")

KILLS = 50

# Starts and kills writers one after the other; each reports on a pipe the number of its rows that are written.
# It imports no torch, so that a child is there at once.
KILLER = """
import json, os, random, signal, sys, time
from lossreg.records import RecordConfig, RecordWriter
from lossreg.records.shards import write_shard

directory, kills = sys.argv[1], int(sys.argv[2])
random.seed(7)


def write(child, pipe):
    writer = RecordWriter(directory, run="run", config=RecordConfig(flush_rows=10**9))
    os.write(pipe, b"0\\n")
    row = 0
    while True:
        for _ in range(random.randint(1, 12)):
            ids = [f"{child}-{number}" for number in range(row, row + 250)]
            writer.add([float(number) for number in range(row, row + 250)], sample_ids=ids, caption=ids, step=row)
            row += 250
        writer.flush()
        os.write(pipe, f"{row}\\n".encode())


reported = []
for child in range(kills):
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(reading)
        random.seed(child)
        write(child, writing)
    os.close(writing)
    output = os.read(reading, 2)
    time.sleep(random.uniform(0, 0.5))
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    while more := os.read(reading, 65536):
        output += more
    os.close(reading)
    reported.append(int(output.split()[-1]))
print(json.dumps(reported))
"""


@pytest.mark.tools  # over 10 s: 50 writers start and are killed
def test_writers_that_are_killed_leave_whole_shards(tmp_path):
    """At 50 moments: every shard reads, no row is duplicated, and no row is lost that was reported as written."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", KILLER, str(tmp_path), str(KILLS)],
        capture_output=True,
        text=True,
        check=True,
    )
    reported = json.loads(done.stdout)
    found = (
        duckdb.connect()
        .sql(
            f"""SELECT split_part(sample_id, '-', 1)::INT AS child, count(*), count(DISTINCT sample_id),
        max(loss)::INT + 1,
        count(*) FILTER (caption = sample_id AND split_part(sample_id, '-', 2)::DOUBLE = loss)
        FROM read_parquet('{tmp_path}/*.parquet') GROUP BY child"""
        )
        .fetchall()
    )
    rows = {child: count for child, count, *_ in found}
    for _, count, distinct, following, sound in found:
        assert count == distinct == following == sound  # the first rows of that writer, each once, none left out
    assert len(reported) == KILLS
    assert all(rows.get(child, 0) >= count for child, count in enumerate(reported))
    # Some writers were killed before a first shard, some while one was written.
    assert sum(count > 0 for count in reported) > KILLS / 3
    assert [path for path in tmp_path.iterdir() if path.name.endswith(".part")]


ENDED = """
import os, signal, sys
from lossreg.records import RecordWriter

signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
with RecordWriter(sys.argv[1]) as writer:
    writer.add([1.0, 2.0])
    os.kill(os.getpid(), signal.SIGTERM)
    signal.pause()
"""


@pytest.mark.tools
def test_a_job_that_is_ended_by_a_signal_writes_its_rows(tmp_path):
    """SIGTERM kills as SIGKILL does, unless the script makes an exit of it, as in docs/howto/records.md."""
    assert subprocess.run([sys.executable, "-c", ENDED, str(tmp_path)], timeout=300, check=False).returncode == 1
    found = duckdb.connect().sql(f"SELECT loss FROM read_parquet('{tmp_path}/*.parquet') ORDER BY 1").fetchall()
    assert found == [(1.0,), (2.0,)]


FULL = """
import resource, signal, sys
from lossreg.records import RecordWriter
from lossreg import RecordsError

directory = sys.argv[1]
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
writer = RecordWriter(directory)
for step in range(20):
    writer.add([float(step)] * 100, step=step, caption=[f"{step * 7919 + i * 104729:x}" * 3 for i in range(100)])
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, most))
for _ in range(2):
    try:
        writer.flush()
    except RecordsError as error:
        print(error)
    print(writer.waiting)
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
writer.flush()
print(writer.waiting)
"""


@pytest.mark.tools
def test_a_file_that_cannot_grow(tmp_path):
    """As on a full disk: the error names the directory and the reason, nothing is left, and the rows are kept."""
    pytest.importorskip("resource", reason="limits are those of POSIX")
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=True)
    first, waiting, second, still, written = done.stdout.splitlines()
    assert first == second == f"{tmp_path}: records cannot be written: File too large"
    assert (waiting, still, written) == ("2000", "2000", "0")
    assert [path.suffix for path in tmp_path.iterdir()] == [".parquet"]
    rows = duckdb.connect().sql(
        f"SELECT count(*), count(DISTINCT step), sum(loss) FROM read_parquet('{tmp_path}/*.parquet')"
    )
    assert rows.fetchall() == [(2000, 20, 19000.0)]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no device that is always full here")
def test_a_disk_that_is_full(tmp_path, monkeypatch):
    """The error has the words of the system: the temporary file is a device without space."""
    from uuid import UUID

    from lossreg import RecordsError
    from lossreg.records import RecordWriter
    from lossreg.records.shards import shard_name

    writer = RecordWriter(tmp_path)
    writer.add([1.0])
    writer._session = "18"
    name = shard_name(writer.run, writer.rank, "18", 0)
    monkeypatch.setattr("lossreg.records.atomic_write.uuid4", lambda: UUID(int=0))  # names the temporary file
    (tmp_path / f".{name}.000000000000.part").symlink_to("/dev/full")
    with pytest.raises(RecordsError) as caught:
        writer.flush()
    assert str(caught.value) == f"{tmp_path}: records cannot be written: No space left on device"
    assert list(tmp_path.iterdir()) == []
    writer.flush()
    assert duckdb.connect().sql(f"SELECT loss FROM read_parquet('{tmp_path}/*.parquet')").fetchall() == [(1.0,)]
