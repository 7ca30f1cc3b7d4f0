"""The shards of an evaluation on Ray: its plan, its temporary folders, and the parts that are done."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from itertools import count
from pathlib import Path

import duckdb

from lossreg.errors import InputError
from lossreg.messages import printable
from lossreg.records.atomic_write import write_text
from lossreg.records.database import open_database
from lossreg.records.record_schema import SUFFIX
from lossreg.records.shards import new_session, shard_name

_FOLDER = ".ray-"  # begins the names of the temporary folders of Ray, which a killed job leaves
_PLAN = "parts.json"


def temporary_folder(directory: Path) -> Path:
    """Name a new folder for the files of Ray, which `adopt` makes shards of."""
    return directory / f"{_FOLDER}{new_session()}"


def done_parts(directory: Path) -> set[int]:
    """List the numbers of the parts that have a shard."""
    return {_number(shard) for shard in _shards(directory)}


def begin(directory: Path, plan: Mapping[str, object]) -> str:
    """Return the session of the job, new or from its earlier run: all shards are those of one writer."""
    file = directory / _PLAN
    if file.exists():
        earlier = json.loads(file.read_text())
        if earlier["plan"] != plan:
            raise InputError(
                f"{printable(str(directory))} was started with {earlier['plan']}, and this is {dict(plan)};"
                " give the same data, part_size and draws, or delete the directory"
            )
        return str(earlier["session"])
    if _shards(directory):
        raise InputError(
            f"{printable(str(directory))} has records that Ray did not write; delete the directory or change job_name"
        )
    directory.mkdir(parents=True, exist_ok=True)
    session = new_session()
    write_text(file, json.dumps({"plan": plan, "session": session}))
    return session


def adopt(directory: Path, run: str, session: str) -> int:
    """Make shards of the complete files from Ray, and delete the others; return the number of these."""
    incomplete = 0
    numbers = count(max(map(_number, _shards(directory)), default=-1) + 1)
    for folder in sorted(directory.glob(f"{_FOLDER}*")):
        for file in sorted(folder.rglob(f"*{SUFFIX}")):
            names = dict(name.split("=") for name in file.parent.relative_to(folder).parts)
            rows = _complete_rows(file)
            if rows is None or rows != int(names.get("rows", rows)):
                incomplete += 1
                continue
            number = int(names["part"]) if names else next(numbers)
            with file.open("rb") as written:
                os.fsync(written.fileno())
            os.replace(file, directory / shard_name(run, 0, session, number))
        shutil.rmtree(folder)
    return incomplete


def _complete_rows(file: Path) -> int | None:
    """Count the rows of a Parquet file; None if it was cut short, and so has no footer."""
    try:
        with open_database(threads=1) as connection:
            found = connection.execute("SELECT num_rows FROM parquet_file_metadata(?)", [str(file)]).fetchone()
    except duckdb.Error:
        return None
    return None if found is None else int(found[0])


def done_ids(directory: Path) -> frozenset[str]:
    """Read the sample_ids of all shards."""
    shards = [str(shard) for shard in _shards(directory)]
    if not shards:
        return frozenset()
    with open_database() as connection:
        found = connection.execute("SELECT DISTINCT sample_id FROM read_parquet(?)", [shards]).fetchall()
    return frozenset(row[0] for row in found)


def _shards(directory: Path) -> list[Path]:
    return sorted(path for path in directory.glob(f"*{SUFFIX}") if not path.name.startswith("."))


def _number(shard: Path) -> int:
    return int(shard.name.split(".")[-2])
