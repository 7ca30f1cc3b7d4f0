"""The lists of examples: those that surely lose more than their contemporaries, those seen too seldom, and the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lossreg.records.database import identifier
from lossreg.records.examples import example_rows
from lossreg.records.ranking.confidence import HIGH, SURE
from lossreg.records.ranking.rank import ORDER
from lossreg.records.ranking.scores import SCORE
from lossreg.records.reader import own_columns
from lossreg.records.record_schema import OWN

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Example = dict[str, Any]

EXAMPLE = "run, split, dataset, key, lone"  # the identity of an example
CHOSEN = """(SELECT unnest(range(len($key))) AS number, unnest($run::VARCHAR[]) AS run,
    unnest($split::VARCHAR[]) AS split, unnest($dataset::VARCHAR[]) AS dataset, unnest($key::VARCHAR[]) AS key,
    unnest($lone::BIGINT[]) AS lone) AS chosen"""  # examples as the parameters of a query, with their numbers
_OF_PART = " AND ".join(f"chosen.{name} IS NOT DISTINCT FROM nullif(every.{name}, '')" for name in ("run", "split"))
SAME = f"""{_OF_PART} AND chosen.dataset = every.dataset AND chosen.key = every.key
    AND chosen.lone IS NOT DISTINCT FROM every.lone"""
NAMED, _BY_PATH = 2, 1  # kinds: with a sample_id, with a path alone
_FIELDS = f"{EXAMPLE}, kind, looks, score, error, deviation, mean, control, colour"
# Every example of the ranking, with its colour in the map. A control is known to be bad: its colour shows that first.
RANKED = f"""(SELECT * REPLACE (CASE WHEN looks > 1 THEN deviation END AS deviation), CASE WHEN control THEN 'control'
    WHEN verdict = '{SURE}' THEN 'sure' WHEN verdict = '{HIGH}' THEN 'unsure' ELSE '' END AS colour FROM ranked)"""


def lists(connection: DuckDBPyConnection, top_k: int) -> dict[str, dict[str, Any]]:
    """Find the first of each list, and how many there are."""
    counts = dict(connection.execute("SELECT verdict, count(*) FROM ranked GROUP BY ALL").fetchall())
    found = {}
    for name, verdict in (("sure", SURE), ("unsure", HIGH), ("next", "")):
        first = _examples(connection, f"WHERE verdict = '{verdict}' ORDER BY {ORDER} LIMIT {top_k}")
        found[name] = {"count": counts.get(verdict, 0), "items": first}
    lowest = _examples(connection, f"WHERE verdict = '' ORDER BY score, {EXAMPLE} LIMIT {top_k}")
    shown = {_identity(example) for example in found["next"]["items"]}
    items = [example for example in lowest if _identity(example) not in shown]
    return found | {"lowest": {"count": len(items), "items": items}}


def by_dataset(connection: DuckDBPyConnection, datasets: Sequence[str], each: int) -> dict[str, list[Example]]:
    """Find the examples with the highest scores in each of some data sets."""
    first = f"row_number() OVER (PARTITION BY dataset ORDER BY {ORDER}) <= {each}"
    among = "WHERE dataset IN (SELECT unnest(?::VARCHAR[]))"
    found: dict[str, list[Example]] = {name: [] for name in datasets}
    for example in _examples(connection, f"{among} QUALIFY {first} ORDER BY {ORDER}", [list(datasets)]):
        found[example["dataset"]].append(example)
    return found


def levels(connection: DuckDBPyConnection) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Compute the own level of each data set, by run, split and name, and how many of its examples are named."""
    level = f"sum(CAST(round(height * {SCORE}) AS HUGEINT)) / {SCORE} / count(*)"  # the same in any order
    rows = connection.execute(
        f"SELECT nullif(run, ''), nullif(split, ''), dataset, {level}, count(*) FILTER (verdict = '{SURE}')"
        " FROM ranked GROUP BY ALL"
    ).fetchall()
    return {(run, split, dataset): {"level": level, "sure": sure} for run, split, dataset, level, sure in rows}


def describe(connection: DuckDBPyConnection, examples: Sequence[Example]) -> None:
    """Add to examples what the records say of them: path, caption, and the user's own columns."""
    own = own_columns(connection)
    columns = "".join(f", min({identifier(OWN + name)})" for name in own)
    rows = connection.execute(
        f"SELECT number, min(path), min(caption){columns} FROM {example_rows(connection)} AS every"
        f" JOIN {CHOSEN} ON {SAME} GROUP BY number",
        chosen(examples),
    ).fetchall()
    said = {number: values for number, *values in rows}
    for number, example in enumerate(examples):
        path, caption, *values = said[number]
        named, by_path = example["kind"] == NAMED, example["kind"] == _BY_PATH
        example |= {
            "sample_id": example["key"] if named else None,
            "path": example["key"] if by_path else path,
            "caption": caption,
            "own": dict(zip(own, values, strict=True)),  # apart: their names are the user's
        }
        example["name"] = example["sample_id"] or example["path"] or "without a name"


def chosen(examples: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Make the parameters of a query with CHOSEN."""
    return {name: [example[name] for example in examples] for name in EXAMPLE.split(", ")}


def _examples(connection: DuckDBPyConnection, rest: str, parameters: Sequence[Any] = ()) -> list[Example]:
    found = connection.execute(f"SELECT {_FIELDS} FROM {RANKED} {rest}", parameters)
    names = [column[0] for column in found.description or ()]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def _identity(example: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(example[name] for name in EXAMPLE.split(", "))


def not_finite(connection: DuckDBPyConnection, top_k: int) -> list[Example]:
    """Find the examples with the most losses that are NaN or infinite."""
    found = connection.execute(
        "SELECT run, split, dataset, min(sample_id) AS sample_id, min(path) AS path, min(caption) AS caption,"
        " count(*) FILTER (isnan(loss)) AS nan, count(*) FILTER (isinf(loss)) AS infinite, min(step) AS first_step,"
        " coalesce(bool_or(control), false) AS control"
        " FROM records WHERE NOT isfinite(loss) GROUP BY run, split, dataset, coalesce(sample_id, path),"
        " CASE WHEN coalesce(sample_id, path) IS NULL THEN row_id END"
        f" ORDER BY count(*) DESC, run, split, dataset, sample_id, path, first_step LIMIT {top_k}"
    )
    names = [column[0] for column in found.description or ()]
    rows = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
    return [row | {"name": row["sample_id"] or row["path"] or "without a name"} for row in rows]
