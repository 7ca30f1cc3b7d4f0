"""Ten million records: aggregates and flagged captions, each with its time and the memory of a fresh process."""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

from lossreg.records.aggregate import aggregate_by_dataset
from lossreg.records.captions import flag_bad_captions
from lossreg.records.reader import connect

SHARDS = 20
SECONDS, GIGABYTES = 45.0, 1.5  # of the summary, and of the captions


def write_records(directory: Path, rows: int) -> None:
    """Write shards of five datasets, with every example in two epochs, and captions of 40 characters, a few bad."""
    items = max(rows // 2, 1)
    words = "['red', 'blue', 'green', 'old', 'young'][CAST(1 + hash(item) % 5 AS BIGINT)]"
    with duckdb.connect() as connection:
        connection.execute("SET enable_progress_bar = false")
        for shard in range(SHARDS):
            first, last = rows * shard // SHARDS, rows * (shard + 1) // SHARDS
            name = str(directory / f"job.rank00000.{1:016x}abcd.{shard:06d}.parquet").replace("'", "''")
            connection.execute(f"""
                COPY (
                    SELECT 'job' AS run, CAST(0 AS INTEGER) AS rank, row // 256 AS step,
                        CAST(row // {items} AS INTEGER) AS epoch, 'train' AS split, 'dataset ' || (item % 5) AS dataset,
                        'sample ' || item AS sample_id, '/data/images/' || item || '.jpg' AS path,
                        CASE hash(item) % 1000 WHEN 0 THEN '' WHEN 1 THEN 'a a a ' || item WHEN 2 THEN 'nan ' || item
                            WHEN 3 THEN 'a photo' ELSE 'a photo of one ' || {words} || ' tree in park ' || item
                        END AS caption, CAST(1 AS DOUBLE) AS weight,
                        -ln((1 + hash(row) % 1000000007) / 1000000009) AS loss, loss / 3 AS loss_dice,
                        loss - loss_dice AS loss_focal
                    FROM (SELECT CAST(range AS BIGINT) AS row, row % {items} AS item FROM range({first}, {last}))
                ) TO '{name}' (FORMAT parquet, COMPRESSION zstd)""")


def measure(directory: Path, memory_limit: str, threads: int) -> None:
    """Print seconds and peak memory of each step, in a process that does nothing else."""
    with connect(directory, memory_limit=memory_limit, threads=threads) as records:
        for name, step in (("aggregate_by_dataset", aggregate_by_dataset), ("flag_bad_captions", flag_bad_captions)):
            begun, used = time.perf_counter(), time.process_time()
            step(records)
            _print(name, time.perf_counter() - begun, time.process_time() - used)


def _print(name: str, seconds: float, processor: float) -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "linux" else 2**30)
    print(json.dumps({"step": name, "seconds": seconds, "processor_seconds": processor, "peak_gb": peak}), flush=True)


def main() -> None:
    """Write the records, measure in a fresh process, and compare with the bars."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--memory-limit", default="1GB")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--directory", type=Path, help="existing shards to measure; default: write new ones")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        measure(given.directory, given.memory_limit, given.threads)
        return
    with TemporaryDirectory() as folder:
        directory = given.directory or Path(folder)
        if given.directory is None:
            write_records(directory, given.rows)
        command = [sys.executable, __file__, "--measure", "--directory", str(directory)]
        command += ["--memory-limit", given.memory_limit, "--threads", str(given.threads)]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    over = False
    for line in output.splitlines():
        found = json.loads(line)
        print(
            f"{found['step']:22}{found['seconds']:8.1f} s{found['processor_seconds']:8.1f} s of processors"
            f"{found['peak_gb']:8.2f} GB"
        )
        over |= found["seconds"] > SECONDS or found["peak_gb"] > GIGABYTES
    if over:
        sys.exit(f"over the bar of {SECONDS} s and {GIGABYTES} GB")


if __name__ == "__main__":
    main()
