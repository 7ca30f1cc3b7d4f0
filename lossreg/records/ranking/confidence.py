"""The reliability of a ranking, and the verdict on each example: how much of it may be chance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lossreg.records.ranking.scores import SCORE
from lossreg.records.ranking.windows import equal

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

SURE = "surely among the hardest 5 %"
HIGH = "high, but not seen enough"
_HARDEST = 0.95  # quantile
_DEVIATIONS = 1.645  # one-sided 95 %
_LEAST = 3  # looks at an example that is named
_EQUAL = 1.5  # most looks over fewest, up to which they are about equal
_SHARE = 2.0**40  # of a share of 1


def make_verdicts(connection: DuckDBPyConnection) -> None:
    """Make the tables `rank_group`, of the numbers of each run and split, and `ranked`, of every example.

    Means and variances over the examples are of whole numbers too. `within` is the variance of the looks at one
    example, `between` that of the examples without it. The `share` of a look is 1 / looks where all weigh the same.
    """
    connection.execute("""
        CREATE TEMP VIEW rank_score AS SELECT *, CAST(round(total / weight) AS HUGEINT) AS score,
            CASE WHEN looks > 1 THEN greatest(0, squares - total / weight * total) ELSE 0 END AS scatter,
            weights / weight / weight AS share
        FROM rank_example""")
    connection.execute(f"""
        CREATE TEMP TABLE rank_group AS
        SELECT *, CASE WHEN within IS NOT NULL THEN greatest(0, variance - within * once) END AS between_,
            between_ / nullif(between_ + within * once, 0) AS reliability
        FROM (
            SELECT of_run, of_split, count(*) AS examples, CAST(sum(looks) AS BIGINT) AS looks,
                sum(CAST(round({_SHARE} * share) AS HUGEINT)) / {_SHARE} / count(*) AS once,
                max(share) <= {_EQUAL} * min(share) AS alike,
                sum(score) / {SCORE} / count(*) AS grand,
                (count(*) * sum(score * score) - sum(score) * sum(score)) / count(*) / count(*) / {SCORE**2}
                    AS variance,
                quantile_cont(CAST(score AS DOUBLE), {_HARDEST}) / {SCORE} AS high,
                CASE WHEN sum(looks) > count(*) THEN sum(CAST(round(scatter) AS HUGEINT)) / {SCORE**2}
                    / (sum(weight) - sum(CAST(round({_SHARE} * weight * share) AS HUGEINT)) / {_SHARE}) END AS within
            FROM rank_score GROUP BY of_run, of_split)""")
    own = "coalesce(between_ / nullif(between_ + within * share, 0), 0)"
    connection.execute(f"""
        CREATE TEMP TABLE ranked AS
        SELECT of_run AS run, of_split AS split, dataset, key, lone, kind, looks, mean, control, height, deviation,
            CASE WHEN alike THEN score ELSE shrunk END AS score, sqrt(within * share * if(alike, 1, own)) AS error,
            CASE WHEN looks >= {_LEAST} AND shrunk - {_DEVIATIONS} * sqrt(within * share * own) > bar THEN '{SURE}'
                WHEN variance > 0 AND score >= high THEN '{HIGH}' ELSE '' END AS verdict
        FROM (
            SELECT *, grand + own * (score - grand) AS shrunk, grand + sqrt(reliability) * (high - grand) AS bar
            FROM (
                SELECT one.* REPLACE (one.score / {SCORE} AS score), one.level / weight / {SCORE} AS height,
                    sqrt(scatter / weight) / {SCORE} AS deviation, {own} AS own,
                    alike, within, reliability, grand, high, variance
                FROM rank_score AS one JOIN rank_group AS mine ON {equal("one", "mine", "of_run, of_split")}))""")
