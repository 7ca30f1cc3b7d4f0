"""Items: what is the same over epochs, the mean of its losses, and which items have the highest and the lowest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import frexp
from typing import TYPE_CHECKING, Any, NamedTuple

from lossreg.errors import InputError
from lossreg.records.exact_sums import mean, variance

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MOST = 100_000  # items of a ranking: they are held in memory
_BATCH = 65_536  # rows
_NAMED = 2  # the kind of items with a sample_id

ITEM = "dataset, key, lone"
# Which item a row is of: of its sample_id or, without one, of its path. A row with neither is an item of its own, told
# apart by row_id and put in order by its caption. Where every row has a sample_id, nothing else is read.
_KEYS = {
    False: f"""coalesce(sample_id, path, caption, '') AS key,
        CASE WHEN sample_id IS NULL AND path IS NULL THEN row_id END AS lone,
        CASE WHEN sample_id IS NOT NULL THEN {_NAMED} WHEN path IS NOT NULL THEN 1 ELSE 0 END AS kind""",
    True: f"sample_id AS key, CAST(NULL AS BIGINT) AS lone, {_NAMED} AS kind",
}


class Key(NamedTuple):
    """Which item."""

    dataset: str
    key: str
    lone: int | None


class Place(NamedTuple):
    """An item's place in a ranking. Places compare in its order: those without a sample_id come first in their dataset.

    Args:
        by: the mean or, where the highest come first, its negative.
        kind: 2 with a sample_id, 1 with a path alone, 0 with neither.
    """

    by: float
    dataset: str
    kind: int
    key: str
    lone: int | None

    @property
    def item(self) -> Key:
        """Which item it is."""
        return Key(self.dataset, self.key, self.lone)


class Ranking(NamedTuple):
    """The items of a dataset: how many there are, and those with the highest and the lowest means, in order."""

    items: int
    highest: list[Place]
    lowest: list[Place]


class Items(NamedTuple):
    """Items as SQL. Their means are the same to the last bit whatever the order of the rows.

    Losses are summed as integers of 128 bits. One sum spans so many powers of two that all rows have room in it;
    losses that span more need several sums.

    Args:
        rows: the records with `key`, `lone`, `kind` and `finite`, the loss or NULL.
        sums: what to select from a group of rows: `count`, of those that are finite, and the sums.
        mean: from the columns of `sums`. Of equal losses it is just these.
    """

    rows: str
    sums: str
    mean: str


def items_of(connection: DuckDBPyConnection) -> Items:
    """The items of a connection, for the range that its losses have."""
    finite = "CASE WHEN isfinite(loss) THEN loss + CAST(0 AS DOUBLE) END"  # -0 is 0
    ((number, named, least, most),) = connection.execute(
        f"SELECT count(*), count(sample_id), min(abs(f)) FILTER (f <> 0), max(abs(f))"
        f" FROM (SELECT sample_id, {finite} AS f FROM records)"
    ).fetchall()
    span = 126 - 53 - number.bit_length()
    sums, parts = ["count(finite) AS count"], []
    # A window holds the losses from 2^low to below 2^(low + span), each of which is a multiple of 2^(low - 52).
    lows = range(frexp(most or 1.0)[1] - span, frexp(least or 1.0)[1] - 1 - span, -span)
    for window, low in enumerate(lows):
        inside = [] if low == lows[-1] else [f"abs(finite) >= {_power(low)}"]
        inside += [f"abs(finite) < {_power(low + span)}"] if window else []
        scaled = f"CAST(finite * {_scale(52 - low)} AS HUGEINT)"
        total = f"sum_{window}"
        sums.append(f"coalesce(sum(CASE WHEN {' AND '.join(inside) or 'true'} THEN {scaled} END), 0) AS {total}")
        # Whole part and rest: the float of a large sum is rounded, that of a quotient hardly.
        quotient = f"CAST({total} // count AS DOUBLE) + CAST({total} % count AS DOUBLE) / count"
        parts.append(f"({quotient}) * {_scale(low - 52)}")
    rows = f"(SELECT *, {_KEYS[number == named]}, {finite} AS finite FROM records)"
    return Items(rows, ", ".join(sums), f"CASE WHEN count > 0 THEN {' + '.join(parts)} END")


def _power(exponent: int) -> str:
    return f"CAST('{2.0**exponent!r}' AS DOUBLE)"


def _scale(exponent: int) -> str:
    """2^exponent in two factors, of which each is a float even where the product is beyond their range."""
    return f"{_power(exponent // 2)} * {_power(exponent - exponent // 2)}"


def ranking(connection: DuckDBPyConnection, items: Items, number: int) -> dict[str, Ranking]:
    """Count the items of each dataset, and find those with the highest and the lowest means, in one pass."""
    best = "min(struct_pack(by := {by}, dataset, kind, key, lone), {number}) FILTER (mean IS NOT NULL)"
    highest, lowest = (best.format(by=by, number=max(number, 1)) for by in ("-mean", "mean"))
    rows = connection.execute(f"""
        SELECT dataset, count(*), {highest}, {lowest} FROM (
            SELECT {ITEM}, kind, {items.mean} AS mean FROM (
                SELECT {ITEM}, max(kind) AS kind, {items.sums} FROM {items.rows} GROUP BY ALL))
        GROUP BY dataset""").fetchall()
    return {row[0]: Ranking(row[1], *(_places(found, number) for found in row[2:])) for row in rows}


def details(
    connection: DuckDBPyConnection, items: Items, chosen: Sequence[Key] | None = None
) -> Iterator[tuple[Key, dict[str, Any]]]:
    """What is known of items: all, or those chosen. They come by dataset and key, and are never all in memory."""
    among = ""
    parameters: list[list[Any]] = []
    if chosen is not None:
        parameters = [list(column) for column in zip(*chosen, strict=True)] or [[], [], []]
        equal = " AND ".join(f"chosen.{name} IS NOT DISTINCT FROM rows.{name}" for name in ITEM.split(", "))
        among = f"""SEMI JOIN (SELECT unnest(?::VARCHAR[]) AS dataset, unnest(?::VARCHAR[]) AS key,
            unnest(?::BIGINT[]) AS lone) AS chosen ON {equal}"""
    # The epochs (or steps) and losses of an item come as one text, which is fetched ten times as fast as a list. Lone
    # rows of one caption are in the order of their losses.
    rows = connection.execute(
        f"""
        SELECT {ITEM}, kind, path, caption, count, {items.mean} AS mean, minimum, maximum,
            CASE WHEN count > 1 THEN losses END AS losses
        FROM (
            SELECT {ITEM}, max(kind) AS kind, min(path) AS path, min(caption) AS caption, min(finite) AS minimum,
                max(finite) AS maximum, {items.sums},
                string_agg(coalesce('e' || epoch, 's' || step, '-') || ' ' || finite, ' ') AS losses
            FROM {items.rows} AS rows {among} GROUP BY {ITEM})
        ORDER BY dataset, key, lone IS NOT NULL, mean""",
        parameters,
    )
    while batch := rows.fetchmany(_BATCH):
        for dataset, key, lone, kind, path, caption, count, average, minimum, maximum, losses in batch:
            yield (
                Key(dataset, key, lone),
                {
                    "dataset": dataset,
                    "sample_id": key if kind == _NAMED else None,
                    "path": path,
                    "caption": caption,
                    "count": count,
                    "mean": average,
                    "minimum": minimum,
                    "maximum": maximum,
                    "variance": variance(_epoch_means(losses)) if losses else None,
                },
            )


def _epoch_means(losses: str) -> list[float]:
    """The mean of an item in each epoch, or in each step where no epoch was said."""
    words = losses.split(" ")
    names, values = words[::2], [float(word) for word in words[1::2]]
    if len(set(names)) == len(names):
        return values
    epochs: dict[str, list[float]] = {}
    for name, value in zip(names, values, strict=True):
        epochs.setdefault(name, []).append(value)
    return [mean(found) for found in epochs.values()]


def check_number(name: str, value: object) -> None:
    """That a ranking can have so many items.

    Raises:
        InputError: it is no integer, or out of range.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST:
        raise InputError(f"{name} is an integer from 0 to {MOST}, got {value!r:.80}")


def _places(found: list[dict[str, Any]] | None, number: int) -> list[Place]:
    return [Place(*row.values()) for row in (found or [])[:number]]
