"""Duplicate rows: padding by distributed samplers, and steps repeated after a resume."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lossreg.records.shards import NAME

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


class _Origin(NamedTuple):
    """Run, rank and session from the file name of a shard; all None if it does not match."""

    run: str | None
    rank: int | None
    session: str | None


def find_duplicates(connection: DuckDBPyConnection, shards: Sequence[Path]) -> bool:
    """Create the table `duplicates` of row_ids in the view `stored`; return whether there are any.

    File names show which shards can contain duplicates, so that the shards of one writer cost nothing.
    """
    connection.execute("CREATE TEMP TABLE duplicates (row_id BIGINT)")
    origins = [_origin(path) for path in shards]
    _find_steps(connection, origins)
    _find_padding(connection, origins)
    return connection.execute("SELECT count(*) FROM duplicates").fetchall() != [(0,)]


def _origin(path: Path) -> _Origin:
    match = NAME.fullmatch(path.name)
    return _Origin(match["run"], int(match["rank"]), match["session"]) if match else _Origin(None, None, None)


def _find_steps(connection: DuckDBPyConnection, origins: Sequence[_Origin]) -> None:
    """Find rows of a step (or epoch, without a step) that a later session of the same run and rank has as well."""
    sessions: dict[tuple[str | None, int | None], set[str | None]] = defaultdict(set)
    for origin in origins:
        sessions[origin.run, origin.rank].add(origin.session)
    several = [file for file, origin in enumerate(origins) if len(sessions[origin.run, origin.rank]) > 1]
    if not several:
        return
    connection.execute(
        "CREATE TEMP TABLE resumed AS SELECT unnest(?::BIGINT[]) AS file, unnest(?::VARCHAR[]) AS session",
        [several, [origins[file].session for file in several]],
    )
    same = ("run", "rank", "split", "dataset", "name", "epoch", "step", "draw")
    # A resumed run repeats a step completely. An epoch may be cut in two: only names identify the rows in both.
    rows = (
        "SELECT run, rank, split, dataset, coalesce(sample_id, path) AS name, epoch, step, draw, session, row_id"
        " FROM stored JOIN resumed ON file = row_id >> 40"
        " WHERE step IS NOT NULL OR (epoch IS NOT NULL AND name IS NOT NULL)"
    )
    _find(connection, rows, same, "session < best", "max(session)", "min(session) < max(session)")


def _find_padding(connection: DuckDBPyConnection, origins: Sequence[_Origin]) -> None:
    """Find rows of a sample that a lower rank of the same run has as well."""
    ranks: dict[str | None, set[int | None]] = defaultdict(set)
    for origin in origins:
        ranks[origin.run].add(origin.rank)
    several = [file for file, origin in enumerate(origins) if len(ranks[origin.run]) > 1]
    unnamed = [file for file, origin in enumerate(origins) if origin.run is None]
    if unnamed and _have_several_ranks(connection):
        several = list(range(len(origins)))
    if not several:
        return
    connection.execute("SET VARIABLE several = ?", [several])
    same = ("run", "split", "dataset", "sample_id", "epoch", "counted", "draw")
    rows = (
        "SELECT run, split, dataset, sample_id, epoch, draw, CASE WHEN epoch IS NULL THEN step END AS counted,"
        " coalesce(rank, 0) AS rank, row_id FROM stored ANTI JOIN duplicates USING (row_id)"
        " WHERE sample_id IS NOT NULL AND list_contains(getvariable('several'), row_id >> 40)"
    )
    _find(connection, rows, same, "rank > best", "min(rank)", "min(rank) < max(rank)")


def _have_several_ranks(connection: DuckDBPyConnection) -> bool:
    query = "SELECT count(*) FROM (SELECT run FROM stored GROUP BY run HAVING min(rank) IS NOT NULL AND "
    query += "min(coalesce(rank, 0)) < max(coalesce(rank, 0)))"
    return connection.execute(query).fetchall() != [(0,)]


def _find(connection: DuckDBPyConnection, rows: str, same: Sequence[str], worse: str, best: str, several: str) -> None:
    """Add to `duplicates` the rows that are worse than the best row with the same values."""
    equal = " AND ".join(f"every.{name} IS NOT DISTINCT FROM kept.{name}" for name in same)
    connection.execute(
        f"INSERT INTO duplicates WITH every AS ({rows}), kept AS"
        f" (SELECT {', '.join(same)}, {best} AS best FROM every GROUP BY ALL HAVING {several})"
        f" SELECT every.row_id FROM every JOIN kept ON {equal} WHERE {worse}"
    )
