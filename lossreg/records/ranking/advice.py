"""Where a ranking is known not to help, and what to do."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

ENOUGH = 0.8  # reliability that is aimed at
_LOW = 0.3  # reliability below which the order is mostly chance
_BY_HEART = 1 / 3  # of the usual spread
_SEEN = 3  # looks at each example before, on average: fewer rank nobody surely
_SHARE = 0.25  # of the rows, in windows at the end that are known by heart
_PASS = "rank a run_dataset_evaluation of the whole data set by the finished model, with draws=8"


class Facts(NamedTuple):
    """What a group's advice is based on."""

    fixed: bool
    conditions: bool
    reliability: float | None
    needed: int | None
    variance: float
    epoch: int | None
    step: int | None


def looks_needed(within: float | None, between: float | None) -> int | None:
    """Compute the looks at each example for a reliability of 0.8."""
    if within is None or not between:
        return None
    needed = ENOUGH / (1 - ENOUGH) * within / between
    return math.ceil(needed) if needed < 1e9 else None


def by_heart(connection: DuckDBPyConnection) -> dict[tuple[Any, Any], tuple[int | None, int | None]]:
    """Find since which epoch and step the examples of a group hardly differ: they are known by heart.

    A group is named only if each example was seen three times before, and if a quarter of its rows is affected.
    """
    rows = connection.execute(f"""
        WITH windows AS (
            SELECT part, w, sum(differ * rows) / nullif(sum(usual * rows), 0) AS share
            FROM (SELECT *, avg(differ) OVER (PARTITION BY part, bin) AS usual FROM rank_cell) GROUP BY part, w),
        late AS (
            SELECT part, w FROM windows JOIN (
                SELECT part, coalesce(max(w) FILTER (share >= {_BY_HEART}), -1) AS last FROM windows GROUP BY part)
                USING (part) WHERE w > last),
        moments AS (
            SELECT moment.*, late.w IS NOT NULL AS late FROM rank_moment AS moment LEFT JOIN late USING (part, w)),
        counted AS (
            SELECT run, split, sum(rows) FILTER (late) AS affected, sum(rows) FILTER (NOT late) AS before,
                min(struct_pack(epoch, step)) FILTER (late) AS since
            FROM moments WHERE NOT unconditional AND draw IS NULL GROUP BY run, split)
        SELECT mine.of_run, mine.of_split, min(since) FROM rank_group AS mine
        JOIN counted ON coalesce(mine.of_run, counted.run) = counted.run
            AND coalesce(mine.of_split, counted.split) = counted.split
        GROUP BY mine.of_run, mine.of_split, mine.examples, mine.looks
        HAVING sum(before) >= {_SEEN} * mine.examples AND sum(affected) >= {_SHARE} * mine.looks""")
    return {(run, split): (since["epoch"], since["step"]) for run, split, since in rows.fetchall()}


def advice(facts: Facts) -> str:
    """Write where the ranking does not help, and what to do; "" if nothing is known against it."""
    return "; ".join(_sentences(facts))


def _sentences(facts: Facts) -> list[str]:
    found = []
    if facts.fixed:
        found.append("every look at an example has the same loss, so that repeated passes count as one look each")
    if not facts.variance:
        return [*found, "no example loses more than the others: there is nothing to rank"]
    if facts.reliability is None:
        found.append(f"every example was seen once, so that nobody can tell chance from difference: {_PASS}")
    elif facts.reliability < _LOW:
        found.append(f"reliability {facts.reliability:.2f}: the order is mostly chance; {_cure(facts)}")
    if facts.epoch is not None or facts.step is not None:
        name, since = ("epoch", facts.epoch) if facts.epoch is not None else ("step", facts.step)
        assert since is not None
        found.append(
            f"from {name} {since} on losses hardly differ, as those of examples that are known by heart: rank by the"
            f' {name}s before, with {name}s=":{since - 1}"'
        )
    return found


def _cure(facts: Facts) -> str:
    more = f"; or see each example about {facts.needed:,} times" if facts.needed else ""
    if facts.conditions:
        return _PASS + more
    return f"if the loss is computed at a random timestep or noise level, record that as `condition`; or {_PASS}{more}"
