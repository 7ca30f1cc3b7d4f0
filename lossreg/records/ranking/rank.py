"""Which examples hurt: those that lose more than their contemporaries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lossreg.records.examples import ORDER_BITS, Key, check_top_k, details, example_rows
from lossreg.records.filters import Filters, filtered
from lossreg.records.float_sql import rounded
from lossreg.records.ranking.advice import Facts, advice, by_heart, looks_needed
from lossreg.records.ranking.confidence import SURE, make_verdicts
from lossreg.records.ranking.result import Controls, RankedDataset, RankedExample, RankedGroup, Ranking
from lossreg.records.ranking.scores import SCORE, make_scores
from lossreg.records.ranking.windows import equal, make_looks
from lossreg.records.reader import Records, connect

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

READ = 3  # times the number of controls: so many examples are read to find them
_NOTHING = "no row has a finite loss: there is nothing to rank"
# The order of the table `ranked`. The last digits of a mean depend on the order of the rows, so they decide nothing.
ORDER = f"score DESC, {rounded('mean', ORDER_BITS)} DESC NULLS LAST, run, split, dataset, kind, key, lone"


def rank_examples(
    records: Records,
    *,
    filters: Filters | None = None,
    top_k: int = 100,
    together: bool = False,
    memory_limit: str = "1GB",
) -> Ranking:
    """Rank examples by how much more they lose than others did at that time and noise level, over all looks at them.

    ```python
    found = rank_examples("records", top_k=20)
    print(found.reliability, found.note)
    for example in found.examples:
        print(example.sample_id, example.score, example.verdict)
    ```

    Each loss is compared with about 128 of the same time (and the same twentieth of `condition`, the same `draw` and
    `unconditional`, where these were recorded): its distance from their median, in their spread. The result is
    compared once more within the data set. A score is the mean over the looks at an example.

    Args:
        records: as for `aggregate_by_dataset`.
        filters: which rows; None for all.
        top_k: number of examples, 0 to 100,000.
        together: one ranking of all runs and splits; otherwise each has its own, and is named in its examples.
        memory_limit: of DuckDB, such as "1GB"; further data go to disk. A connection has its own.
    Raises:
        InputError: rows that cannot be records, filters that fit none, or a top_k out of range.
        RecordsError: a directory that cannot be read.
    """
    check_top_k(top_k)
    with (
        connect(records, memory_limit=memory_limit) as connection,
        filtered(connection, filters),
        ranked(connection, together=together),
    ):
        return result(connection, top_k)


@contextmanager
def ranked(connection: DuckDBPyConnection, *, together: bool = False) -> Iterator[None]:
    """Make the tables of a ranking, for queries: `ranked` has a row for each example. They are dropped at the end.

    Its columns are run, split, dataset, key, lone, kind (as in `example_rows`), looks, score, error, deviation, mean,
    control, verdict, and height: the score among all data sets.
    """
    try:
        make_looks(connection, together=together)
        make_scores(connection)
        make_verdicts(connection)
        yield
    finally:  # the connection may be the caller's
        query = "SELECT table_name, table_type FROM information_schema.tables WHERE starts_with(table_name, 'rank')"
        for name, kind in connection.execute(query).fetchall():
            connection.execute(f"DROP {'VIEW' if kind == 'VIEW' else 'TABLE'} IF EXISTS {name}")


def result(connection: DuckDBPyConnection, top_k: int) -> Ranking:
    """Return the ranking within `ranked`, with its first examples."""
    groups = _groups(connection)
    ((total, sure),) = connection.execute(
        f"SELECT count(*), count(*) FILTER (verdict = '{SURE}') FROM ranked"
    ).fetchall()
    ((not_finite,),) = connection.execute("SELECT count(*) FROM records WHERE NOT isfinite(loss)").fetchall()
    return Ranking(
        reliability=_reliability(connection),
        note=_notes(groups) if groups else _NOTHING,
        examples=tuple(_examples(connection, top_k)),
        total=total,
        sure=sure,
        not_finite=not_finite,
        controls=_controls(connection),
        groups=tuple(groups),
        datasets=tuple(_datasets(connection)),
    )


def _reliability(connection: DuckDBPyConnection) -> float | None:
    between, noise = "examples * between_", "examples * within * once"
    ((found,),) = connection.execute(
        f"SELECT sum({between}) / nullif(sum({between} + {noise}), 0) FROM rank_group WHERE reliability IS NOT NULL"
    ).fetchall()
    return None if found is None else float(found)


def _groups(connection: DuckDBPyConnection) -> list[RankedGroup]:
    known = by_heart(connection)
    rows = connection.execute(f"""
        SELECT mine.*, fixed, conditions, sure FROM rank_group AS mine
        JOIN rank_fixed ON {equal("mine", "rank_fixed", "of_run, of_split")}
        JOIN (SELECT of_run, of_split, count(condition) > 0 AS conditions FROM rank_once GROUP BY ALL) AS recorded
            ON {equal("mine", "recorded", "of_run, of_split")}
        JOIN (SELECT run, split, count(*) FILTER (verdict = '{SURE}') AS sure FROM ranked GROUP BY ALL) AS named
            ON mine.of_run IS NOT DISTINCT FROM named.run AND mine.of_split IS NOT DISTINCT FROM named.split
        ORDER BY mine.of_run, mine.of_split""")
    names = [column[0] for column in rows.description or ()]
    return [_group(dict(zip(names, row, strict=True)), known) for row in rows.fetchall()]


def _group(row: Mapping[str, Any], known: Mapping[tuple[Any, Any], tuple[int | None, int | None]]) -> RankedGroup:
    looks = row["looks"] / row["examples"]
    needed = looks_needed(row["within"], row["between_"])
    epoch, step = known.get((row["of_run"], row["of_split"]), (None, None))
    facts = Facts(
        row["fixed"], row["conditions"], row["reliability"], needed, float(row["variance"]), epoch=epoch, step=step
    )
    return RankedGroup(
        run=row["of_run"],
        split=row["of_split"],
        examples=row["examples"],
        looks=float(looks),
        sure=row["sure"],
        reliability=row["reliability"],
        looks_needed=needed,
        note=advice(facts),
    )


def _notes(groups: list[RankedGroup]) -> str:
    """Join the notes of the groups, each once, with the names of its groups if there are several."""
    by_note: dict[str, list[str]] = {}
    for group in groups:
        if group.note:
            name = ", ".join(filter(None, (group.run, group.split))) or "rows without a run"
            by_note.setdefault(group.note, []).append(name)
    if len(groups) == 1:
        return "".join(by_note)
    return "; ".join(f"{' and '.join(names)}: {note}" for note, names in by_note.items())


def _examples(connection: DuckDBPyConnection, number: int) -> Iterator[RankedExample]:
    rows = connection.execute(
        "SELECT run, split, dataset, key, lone, kind, looks, score, error, deviation, mean, control, verdict"
        f" FROM ranked ORDER BY {ORDER} LIMIT {number}"
    ).fetchall()
    fields = dict(details(connection, example_rows(connection), list({Key(*row[2:5]) for row in rows})))
    for run, split, dataset, key, lone, _, *numbers in rows:
        names = (fields[Key(dataset, key, lone)][name] for name in ("sample_id", "path", "caption"))
        yield RankedExample(run, split, dataset, *names, *numbers)


def _controls(connection: DuckDBPyConnection) -> Controls | None:
    ((count,),) = connection.execute("SELECT count(*) FROM ranked WHERE control").fetchall()
    if not count:
        return None
    query = f"SELECT control FROM ranked ORDER BY {ORDER} LIMIT {READ * count}"
    read = [control for (control,) in connection.execute(query).fetchall()]
    return Controls(count=count, first=len(read), found=sum(read))


def _datasets(connection: DuckDBPyConnection) -> list[RankedDataset]:
    # Whole numbers again: the levels of examples are added in any order.
    rows = connection.execute(f"""
        SELECT dataset, count(*), sum(CAST(round(height * {SCORE}) AS HUGEINT)) / {SCORE} / count(*) AS level,
            count(*) FILTER (verdict = '{SURE}') FROM ranked GROUP BY dataset ORDER BY level DESC, dataset""")
    return [RankedDataset(*row) for row in rows.fetchall()]
