"""Examples: the rows of one sample_id or path over all epochs, their mean losses, and the ends of a ranking."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from lossreg.errors import InputError
from lossreg.records.float_sql import mean, rounded, variance

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MOST = 100_000  # examples of a ranking: they are held in memory
_BATCH = 65_536  # rows
_NAMED = 2  # the kind of examples with a sample_id
# Digits of a mean in the order of a ranking. Threads add the losses of an example in any order, which changes the last
# digits; examples that are equal in these 40 (relative 1e-12) are in the order of their names.
ORDER_BITS = 40
_SCORES = ("looks", "score", "error", "verdict")  # of a ranking

EXAMPLE = "dataset, key, lone"
# The columns that identify an example: its sample_id or, without one, its path. A row with neither is an example of its
# own, identified by row_id and ordered by its caption. If every row has a sample_id, nothing else is read.
_KEYS = {
    False: f"""coalesce(sample_id, path, caption, '') AS key,
        CASE WHEN sample_id IS NULL AND path IS NULL THEN row_id END AS lone,
        CASE WHEN sample_id IS NOT NULL THEN {_NAMED} WHEN path IS NOT NULL THEN 1 ELSE 0 END AS kind""",
    True: f"sample_id AS key, CAST(NULL AS BIGINT) AS lone, {_NAMED} AS kind",
}


class Key(NamedTuple):
    """The identity of an example."""

    dataset: str
    key: str
    lone: int | None


class Place(NamedTuple):
    """An example's place in a ranking. Places compare in its order: examples without a sample_id first in a dataset.

    Args:
        score, mean: its score and its rounded mean; if the highest come first, their negatives.
        kind: 2 with a sample_id, 1 with a path alone, 0 with neither.
    """

    score: float
    mean: float
    dataset: str
    kind: int
    key: str
    lone: int | None

    @property
    def example(self) -> Key:
        """Return the example."""
        return Key(self.dataset, self.key, self.lone)


class Ends(NamedTuple):
    """The examples with the highest and the lowest scores, in order."""

    highest: Sequence[Place] = ()
    lowest: Sequence[Place] = ()


def example_rows(connection: DuckDBPyConnection) -> str:
    """Write the query of all records with `key`, `lone`, `kind` and `finite`: the loss, or NULL if it is not finite."""
    ((rows, named),) = connection.execute("SELECT count(*), count(sample_id) FROM records").fetchall()
    finite = "CASE WHEN isfinite(loss) THEN loss END"
    return f"(SELECT *, {_KEYS[rows == named]}, {finite} AS finite FROM records)"


def ends(connection: DuckDBPyConnection, number: int) -> dict[str, Ends]:
    """Find the examples of each dataset with the highest and the lowest scores, within `ranking.ranked`, in one pass.

    Args:
        number: how many at either end.
    """
    mean = f"coalesce({{0}}{rounded('mean', ORDER_BITS)}, 'infinity')"
    place = f"struct_pack(score := {{0}}score, mean := {mean}, dataset, kind, key, lone)"
    both = (f"min({place.format(sign)}, {max(number, 1)})" for sign in ("-", ""))
    found = connection.execute(f"SELECT dataset, {', '.join(both)} FROM ranked GROUP BY dataset").fetchall()
    return {dataset: Ends(_places(first, number), _places(last, number)) for dataset, first, last in found}


def _places(found: list[dict[str, Any]], number: int) -> list[Place]:
    return [Place(*row.values()) for row in found[:number]]


def details(
    connection: DuckDBPyConnection, rows: str, chosen: Sequence[Key] | None = None, *, ranked: bool = False
) -> Iterator[tuple[Key, dict[str, Any]]]:
    """Yield the public fields of examples: all, or those chosen. They are in the order of dataset and key.

    Not all are in memory at once. The variance is that of the means of epochs (or of steps, in rows without an epoch).
    Rows of one caption without a name are in the order of their losses.

    Args:
        rows: the query from `example_rows`.
        ranked: add the looks, score, error and verdict of each, within `ranking.ranked` of one run and split; they are
            None where no loss is finite.
    """
    among = ""
    parameters: list[list[Any]] = []
    if chosen is not None:
        parameters = [list(column) for column in zip(*chosen, strict=True)] or [[], [], []]
        equal = " AND ".join(f"chosen.{name} IS NOT DISTINCT FROM rows.{name}" for name in EXAMPLE.split(", "))
        among = f"""SEMI JOIN (SELECT unnest(?::VARCHAR[]) AS dataset, unnest(?::VARCHAR[]) AS key,
            unnest(?::BIGINT[]) AS lone) AS chosen ON {equal}"""
    scores, place = "", ""
    if ranked:
        scores = "".join(f", ranked.{name}" for name in _SCORES)
        place = "LEFT JOIN ranked ON " + " AND ".join(
            f"ranked.{name} IS NOT DISTINCT FROM found.{name}" for name in EXAMPLE.split(", ")
        )
    found = connection.execute(
        f"""
        SELECT found.* REPLACE (least(greatest(found.mean, minimum), maximum) AS mean){scores}
        FROM (
            SELECT {EXAMPLE}, max(kind) AS kind, min(path) AS path, min(caption) AS caption, sum(count) AS count,
                CASE WHEN isfinite(fsum(total)) THEN fsum(total) / sum(count) END AS mean,
                min(minimum) + CAST(0 AS DOUBLE) AS minimum, max(maximum) + CAST(0 AS DOUBLE) AS maximum,
                {variance("mean")} AS variance
            FROM (
                SELECT {EXAMPLE}, max(kind) AS kind, min(path) AS path, min(caption) AS caption,
                    count(finite) AS count, fsum(finite) AS total, min(finite) AS minimum, max(finite) AS maximum,
                    {mean("finite")} AS mean
                FROM {rows} AS rows {among} GROUP BY {EXAMPLE}, epoch, CASE WHEN epoch IS NULL THEN step END)
            GROUP BY {EXAMPLE}) AS found {place}
        ORDER BY found.dataset, found.key, found.lone IS NOT NULL, found.mean""",
        parameters,
    )
    while batch := found.fetchmany(_BATCH):
        for row in batch:
            yield Key(*row[:3]), _fields(*row)


def _fields(dataset: str, key: str, lone: int | None, kind: int, *others: Any) -> dict[str, Any]:
    path, caption, *numbers = others
    fields = {"dataset": dataset, "sample_id": key if kind == _NAMED else None, "path": path, "caption": caption}
    return fields | dict(zip(("count", "mean", "minimum", "maximum", "variance", *_SCORES), numbers, strict=False))


def check_top_k(value: object) -> None:
    """Check that a ranking can have this many examples.

    Raises:
        InputError: it is no integer, or out of range.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST:
        raise InputError(f"top_k must be an integer from 0 to {MOST}, got {value!r:.80}")
