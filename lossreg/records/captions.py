"""Captions that are probably wrong: empty, short, long, repeated words, placeholders, the same for several images."""

from __future__ import annotations

from collections.abc import Mapping
from string import ascii_lowercase, digits
from typing import TYPE_CHECKING, Any

from lossreg.records.caption_rules import RULES, CaptionRules
from lossreg.records.examples import EXAMPLE, ORDER_BITS, Key, check_top_k, details, example_rows
from lossreg.records.filters import Filters, filtered
from lossreg.records.float_sql import mean, rounded
from lossreg.records.ranking import ranked
from lossreg.records.ranking.windows import equal
from lossreg.records.reader import Records, connect

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# Regular expressions of RE2. In scripts without spaces, every character is a token.
_SCRIPTS = (
    "".join(rf"\p{{{name}}}" for name in ("Han", "Hiragana", "Katakana", "Thai", "Lao", "Khmer", "Myanmar", "Tibetan"))
    + "ー"
)
_TOKEN = rf"[{_SCRIPTS}]|(?:[^\P{{L}}{_SCRIPTS}]|[^\P{{M}}{_SCRIPTS}]|[^\P{{N}}{_SCRIPTS}])+"
_LETTER, _GAP = r"[\p{L}\p{M}\p{N}]", r"[^\p{L}\p{M}\p{N}]"
_SPACE = r"[\t-\r\x1c-\x20\x{85}\p{Z}]"  # as str.isspace
_UNTIDY = r"[^\PZ ]|[\t-\r\x1c-\x1f\x{85}]|  |^ | $"
_TIDY = f"""lower(CASE WHEN regexp_matches(caption, '{_UNTIDY}')
    THEN trim(regexp_replace(caption, '{_SPACE}+', ' ', 'g')) ELSE caption END) AS tidy"""


def flag_bad_captions(
    records: Records,
    heuristics: CaptionRules | Mapping[str, Any] | None = None,
    top_k: int = 20,
    *,
    filters: Filters | None = None,
) -> dict[str, Any]:
    """Count the captions that break a rule, and name those whose examples lose most by their ranking.

    An example is judged once for each caption it has, over all epochs, runs and splits. A missing caption is empty if
    others of the dataset have one; a dataset without captions is not judged. A caption of spaces is empty, and breaks
    no other rule. Duplicates are captions of several examples that differ in spaces and case at most.

    Args:
        records: as for `aggregate_by_dataset`.
        heuristics: `CaptionRules` or a mapping of their fields; None for the default rules.
        top_k: number of examples for each rule, 0 to 100,000.
        filters: which rows are judged; None for all.
    Returns:
        {"checked": captions judged, "rules": {rule: {"count": n, "examples": [...]}}}, of plain data that JSON holds.
        An example has dataset, sample_id, path, caption; score: how much more it loses than others did at that time, as
        in `rank_examples`; and loss: the mean of its finite ones with this caption. Both are null without a finite
        loss. Runs and splits are not summed: score and loss are the highest of theirs. Examples are ordered by score,
        then loss, descending, null last; then by dataset, sample_id, path and caption.
    Raises:
        InputError: rows that cannot be records, filters that leave no row, invalid rules, or a top_k out of range.
        RecordsError: a directory that cannot be read.
    """
    rules = CaptionRules.of(heuristics)
    check_top_k(top_k)
    with connect(records) as connection, filtered(connection, filters), ranked(connection):
        return flagged(connection, rules, top_k)


def flagged(connection: DuckDBPyConnection, rules: CaptionRules, top_k: int) -> dict[str, Any]:
    """Compute the result of `flag_bad_captions` within `ranked`."""
    examples = example_rows(connection)
    try:
        checked = _judge(connection, examples, rules)
        found = _flagged(connection, examples, [rule for rule in RULES if rule in rules.rules], top_k)
    finally:  # the connection may be the caller's
        for table in ("shared", "judged", "flagged"):
            connection.execute(f"DROP TABLE IF EXISTS {table}")
    return {"checked": checked, "rules": found}


def _judge(connection: DuckDBPyConnection, examples: str, rules: CaptionRules) -> int:
    """Make the table `flagged` of captions that break a rule; return the number of all judged captions.

    A first pass finds the captions that several examples or spellings share, by hashes alone; any other is one caption
    of one example. A second pass takes the shared captions and those that may break a rule, and groups these as text.
    Captions with equal hashes are compared as text; examples with equal hashes (one in 2^64) count as one.
    """
    rows = f"""(SELECT *, {_TIDY} FROM (SELECT * REPLACE (coalesce(caption, '') AS caption) FROM {examples}
        WHERE dataset IN (SELECT DISTINCT dataset FROM records WHERE caption IS NOT NULL)))"""
    connection.execute(f"""
        CREATE TEMP TABLE shared AS SELECT CASE WHEN several THEN tidy END AS tidy, count(*) AS number FROM (
            SELECT tidy, min(example) < max(example) OR min(caption) < max(caption) AS several
            FROM (SELECT hash(tidy) AS tidy, hash({EXAMPLE}) AS example, hash(caption) AS caption FROM {rows})
            GROUP BY tidy)
        GROUP BY ALL""")
    connection.execute(f"""
        CREATE TEMP TABLE judged AS
        SELECT {EXAMPLE}, max(kind) AS kind, caption, tidy, shared, max(loss) AS loss FROM (
            SELECT {EXAMPLE}, max(kind) AS kind, caption, tidy, shared, {mean("finite")} AS loss FROM (
                SELECT *, hash(tidy) IN (SELECT tidy FROM shared WHERE tidy IS NOT NULL) AS shared FROM {rows})
            WHERE shared OR {_needs_tokens(rules)} OR tidy = '' GROUP BY {EXAMPLE}, caption, tidy, shared, run, split)
        GROUP BY ALL""")
    tests = {rule: test for rule, test in _tests(rules).items() if rule in rules.rules} or {"none": "false"}
    flags = ", ".join(f"coalesce({test}, false) AS {rule}" for rule, test in tests.items())
    connection.execute(f"""
        CREATE TEMP TABLE flagged AS
        WITH several AS (
            SELECT tidy FROM (SELECT tidy, hash({EXAMPLE}) AS example FROM judged WHERE shared AND tidy <> '')
            GROUP BY tidy HAVING min(example) < max(example)),
        split AS (
            SELECT *, CASE WHEN {_needs_tokens(rules)} THEN regexp_extract_all(tidy, '{_TOKEN}') END AS tokens
            FROM judged)
        SELECT {EXAMPLE}, kind, caption, loss, {flags} FROM split WHERE {" OR ".join(tests)}""")
    ((checked,),) = connection.execute("""
        SELECT coalesce((SELECT number FROM shared WHERE tidy IS NULL), 0)
            + (SELECT count(*) FROM judged WHERE shared)""").fetchall()
    return int(checked)


def _tests(rules: CaptionRules) -> dict[str, str]:
    """Write the condition of each rule as SQL. Without `tokens`, no rule about tokens is broken."""
    suspicious = ", ".join(f"'{token}'" for token in rules.suspicious)
    in_a_row = f"repeat(t || ' ', {rules.repeated})"
    return {
        "empty": "tidy = ''",
        "short": f"tidy <> '' AND len(tokens) < {rules.short}",
        "long": f"len(tokens) > {rules.long}",
        "repeated_tokens": f"len(list_filter(list_distinct(tokens), lambda t:"
        f" contains(' ' || array_to_string(tokens, ' ') || ' ', ' ' || {in_a_row}))) > 0",
        "suspicious_tokens": f"list_has_any(tokens, CAST([{suspicious}] AS VARCHAR[]))",
        "duplicates": "tidy IN (FROM several)",
    }


def _needs_tokens(rules: CaptionRules) -> str:
    """Write the condition under which a caption may break a rule about tokens, as SQL.

    Without it, all captions are split into tokens: twice the time and 1.7 times the memory at a million rows.
    """
    most = 100  # repetitions in an expression
    tests = {"long": f"length(tidy) > {rules.long}"}
    if rules.short:
        enough = f"(?:{_LETTER}+{_GAP}+){{{min(rules.short - 1, most)}}}{_LETTER}"
        tests["short"] = f"NOT regexp_matches(tidy, '{enough}')" if rules.short <= most else "true"
    # That number of tokens in a row that begin with the same letter. Letters beyond ASCII are too many to list.
    begins = "|".join(
        f"(?:{c}[a-z0-9]*[^a-z0-9]+){{{min(rules.repeated, 5) - 1}}}{c}" for c in ascii_lowercase + digits
    )
    tests["repeated_tokens"] = f"strlen(tidy) > length(tidy) OR regexp_matches(tidy, '(?:^|[^a-z0-9])(?:{begins})')"
    if rules.suspicious:
        tests["suspicious_tokens"] = f"regexp_matches(tidy, '{'|'.join(rules.suspicious)}')"
    return f"({' OR '.join(test for rule, test in tests.items() if rule in rules.rules) or 'false'})"


def _flagged(connection: DuckDBPyConnection, examples: str, rules: list[str], number: int) -> dict[str, Any]:
    """Count the captions that break each rule, and find the first by their scores."""
    if not rules:
        return {}
    by = f"by := coalesce(-score, 'infinity'), mean := coalesce({rounded('-loss', ORDER_BITS)}, 'infinity')"
    order = f"struct_pack({by}, dataset, kind, key, caption, lone, loss, score)"
    parts = (f"count(*) FILTER ({rule}), min({order}, {max(number, 1)}) FILTER ({rule})" for rule in rules)
    scores = f"(SELECT {EXAMPLE}, max(score) AS score FROM ranked GROUP BY ALL) AS scored"
    rows = f"(SELECT flagged.*, score FROM flagged LEFT JOIN {scores} ON {equal('flagged', 'scored', EXAMPLE)})"
    (row,) = connection.execute(f"SELECT {', '.join(parts)} FROM {rows}").fetchall()
    first = {rule: (row[2 * place + 1] or [])[:number] for place, rule in enumerate(rules)}
    chosen = {_key(one) for found in first.values() for one in found}
    fields = dict(details(connection, examples, list(chosen)))
    return {
        rule: {"count": row[2 * place], "examples": [_example(one, fields[_key(one)]) for one in first[rule]]}
        for place, rule in enumerate(rules)
    }


def _key(found: Mapping[str, Any]) -> Key:
    return Key(found["dataset"], found["key"], found["lone"])


def _example(found: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    names = {name: fields[name] for name in ("dataset", "sample_id", "path")}
    return names | {"caption": found["caption"], "score": found["score"], "loss": found["loss"]}
