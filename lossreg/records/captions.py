"""Captions that are probably wrong: empty, short, long, repeated words, placeholders, the same for several images."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from string import ascii_lowercase, digits
from typing import TYPE_CHECKING, Any

from lossreg.errors import InputError
from lossreg.messages import printable
from lossreg.records.examples import EXAMPLE, Key, check_top_k, details, example_rows
from lossreg.records.float_sql import mean
from lossreg.records.reader import Records, connect

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

RULES = ("empty", "short", "long", "repeated_tokens", "suspicious_tokens", "duplicates")

# Regular expressions of RE2. Of scripts that write no spaces, every character is a token.
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


@dataclass(frozen=True)
class CaptionRules:
    """Which captions to flag.

    A token is a run of letters, marks and digits of any script, in lower case: "nan" is none of "banana". Chinese,
    Japanese, Thai, Lao, Khmer, Burmese and Tibetan have no spaces between words: there, every character is a token, so
    that `short`, `long` and `repeated` count characters.

    Args:
        short: flag fewer tokens than this; >= 0.
        long: flag more tokens than this; >= 0. CLIP reads 75.
        repeated: flag a token that stands so often in a row; >= 2.
        suspicious: flag these tokens. Each is one token in lower case, as above.
        rules: those to apply, of empty, short, long, repeated_tokens, suspicious_tokens and duplicates.
    Raises:
        InputError: a value that none of them can have.
    """

    short: int = 3
    long: int = 75
    repeated: int = 3
    suspicious: tuple[str, ...] = (
        "nan", "none", "null", "undefined", "todo", "fixme", "tbd", "placeholder", "untitled", "lorem", "ipsum",
    )  # fmt: skip
    rules: tuple[str, ...] = RULES

    def __post_init__(self) -> None:
        for name, least in (("short", 0), ("long", 0), ("repeated", 2)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 2**31:
                raise InputError(f"{name} is an integer >= {least}, got {value!r:.80}")
        for name in ("suspicious", "rules"):
            object.__setattr__(self, name, _texts(name, getattr(self, name)))
        for token in self.suspicious:
            if token != token.lower() or not re.fullmatch(r"[^\W_]+", token):
                raise InputError(f"suspicious: {token!r:.80} is no token; expected letters and digits in lower case")
        if unknown := [rule for rule in self.rules if rule not in RULES]:
            raise InputError(f"rules: {unknown[0]!r:.80} is none; there are {', '.join(RULES)}")

    @classmethod
    def of(cls, given: CaptionRules | Mapping[str, Any] | None) -> CaptionRules:
        """Rules from rules, from a mapping of their fields, or the default ones.

        Raises:
            InputError: it is none of these, or has a field that rules have not.
        """
        if given is None or isinstance(given, CaptionRules):
            return given or cls()
        if not isinstance(given, Mapping):
            raise InputError(f"heuristics are CaptionRules, a mapping of their fields, or None, got {given!r:.80}")
        names = [field.name for field in fields(cls)]
        for name in given:
            if name not in names:
                near = get_close_matches(str(name), names, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names)}"
                raise InputError(f"heuristics: no field is called {printable(repr(name)):.80}; {hint}")
        return cls(**given)


def flag_bad_captions(
    records: Records, heuristics: CaptionRules | Mapping[str, Any] | None = None, top_k: int = 20
) -> dict[str, Any]:
    """Count the captions that break a rule, and name those with the highest losses.

    An example is judged once for each caption it has, over all epochs. No caption is an empty one, where others of the
    dataset have one; a dataset without captions is not judged. What is only spaces is empty, and breaks no other rule.
    Duplicates are captions of several examples that differ in spaces and case at most.

    Args:
        records: as for `aggregate_by_dataset`.
        heuristics: the rules, as `CaptionRules` or a mapping of its fields; the default ones if None.
        top_k: how many to name for each rule, 0 to 100,000.
    Returns:
        {"checked": captions judged, "rules": {rule: {"count": n, "examples": [...]}}}, of plain data that JSON holds.
        An example has dataset, sample_id, path, caption and loss: the mean of its finite ones with this caption, null
        without any. They are ordered by loss, descending, null last; then by dataset, sample_id, path and caption.
    Raises:
        InputError: rows that cannot be records, or rules or a top_k that cannot be.
        RecordsError: a directory that cannot be read.
    """
    rules = CaptionRules.of(heuristics)
    check_top_k(top_k)
    with connect(records) as connection:
        examples = example_rows(connection)
        try:
            checked = _judge(connection, examples, rules)
            found = _flagged(connection, examples, [rule for rule in RULES if rule in rules.rules], top_k)
        finally:  # the connection may be the caller's
            for table in ("shared", "judged", "flagged"):
                connection.execute(f"DROP TABLE IF EXISTS {table}")
    return {"checked": checked, "rules": found}


def _judge(connection: DuckDBPyConnection, examples: str, rules: CaptionRules) -> int:
    """Make the table `flagged` of captions that break a rule; the number of all that were judged.

    One pass finds the captions that several items or spellings share, by hashes alone; what is not shared is one
    caption of one item. A second pass takes the shared ones and those that may break a rule, and groups these as text.
    Captions whose hashes are equal by chance are taken, too; two items whose hashes are (one in 2^64) count as one.
    """
    rows = f"""(SELECT *, {_TIDY} FROM (SELECT * REPLACE (coalesce(caption, '') AS caption) FROM {examples}
        WHERE dataset IN (SELECT DISTINCT dataset FROM records WHERE caption IS NOT NULL)))"""
    connection.execute(f"""
        CREATE TEMP TABLE shared AS SELECT CASE WHEN several THEN tidy END AS tidy, count(*) AS number FROM (
            SELECT tidy, min(item) < max(item) OR min(caption) < max(caption) AS several
            FROM (SELECT hash(tidy) AS tidy, hash({EXAMPLE}) AS item, hash(caption) AS caption FROM {rows})
            GROUP BY tidy)
        GROUP BY ALL""")
    connection.execute(f"""
        CREATE TEMP TABLE judged AS SELECT {EXAMPLE}, kind, caption, tidy, shared, loss FROM (
            SELECT {EXAMPLE}, max(kind) AS kind, caption, tidy, shared, {mean("finite")} AS loss FROM (
                SELECT *, hash(tidy) IN (SELECT tidy FROM shared WHERE tidy IS NOT NULL) AS shared FROM {rows})
            WHERE shared OR {_needs_tokens(rules)} OR tidy = '' GROUP BY ALL)""")
    tests = {rule: test for rule, test in _tests(rules).items() if rule in rules.rules} or {"none": "false"}
    flags = ", ".join(f"coalesce({test}, false) AS {rule}" for rule, test in tests.items())
    connection.execute(f"""
        CREATE TEMP TABLE flagged AS
        WITH several AS (
            SELECT tidy FROM (SELECT tidy, hash({EXAMPLE}) AS item FROM judged WHERE shared AND tidy <> '')
            GROUP BY tidy HAVING min(item) < max(item)),
        split AS (
            SELECT *, CASE WHEN {_needs_tokens(rules)} THEN regexp_extract_all(tidy, '{_TOKEN}') END AS tokens
            FROM judged)
        SELECT {EXAMPLE}, kind, caption, loss, {flags} FROM split WHERE {" OR ".join(tests)}""")
    ((checked,),) = connection.execute("""
        SELECT coalesce((SELECT number FROM shared WHERE tidy IS NULL), 0)
            + (SELECT count(*) FROM judged WHERE shared)""").fetchall()
    return int(checked)


def _tests(rules: CaptionRules) -> dict[str, str]:
    """For each rule, whether a caption breaks it, as SQL. Without `tokens` it does not."""
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
    """Whether a caption may break a rule about tokens, as SQL. It costs a tenth of finding the tokens."""
    most = 100  # repetitions in an expression
    tests = {"long": f"length(tidy) > {rules.long}"}
    if rules.short:
        enough = f"(?:{_LETTER}+{_GAP}+){{{min(rules.short - 1, most)}}}{_LETTER}"
        tests["short"] = f"NOT regexp_matches(tidy, '{enough}')" if rules.short <= most else "true"
    # So many tokens in a row that begin with the same letter. Other letters than these are too many to list.
    begins = "|".join(
        f"(?:{c}[a-z0-9]*[^a-z0-9]+){{{min(rules.repeated, 5) - 1}}}{c}" for c in ascii_lowercase + digits
    )
    tests["repeated_tokens"] = f"strlen(tidy) > length(tidy) OR regexp_matches(tidy, '(?:^|[^a-z0-9])(?:{begins})')"
    if rules.suspicious:
        tests["suspicious_tokens"] = f"regexp_matches(tidy, '{'|'.join(rules.suspicious)}')"
    return f"({' OR '.join(test for rule, test in tests.items() if rule in rules.rules) or 'false'})"


def _flagged(connection: DuckDBPyConnection, examples: str, rules: list[str], number: int) -> dict[str, Any]:
    """How many captions break each rule, and the first by their losses."""
    if not rules:
        return {}
    order = "struct_pack(last := loss IS NULL, by := coalesce(-loss, 0), dataset, kind, key, caption, lone, loss)"
    parts = (f"count(*) FILTER ({rule}), min({order}, {max(number, 1)}) FILTER ({rule})" for rule in rules)
    (row,) = connection.execute(f"SELECT {', '.join(parts)} FROM flagged").fetchall()
    first = {rule: (row[2 * place + 1] or [])[:number] for place, rule in enumerate(rules)}
    chosen = {_key(one) for found in first.values() for one in found}
    known = dict(details(connection, examples, list(chosen)))
    return {
        rule: {"count": row[2 * place], "examples": [_example(one, known[_key(one)]) for one in first[rule]]}
        for place, rule in enumerate(rules)
    }


def _key(found: Mapping[str, Any]) -> Key:
    return Key(found["dataset"], found["key"], found["lone"])


def _example(found: Mapping[str, Any], item: Mapping[str, Any]) -> dict[str, Any]:
    names = {name: item[name] for name in ("dataset", "sample_id", "path")}
    return names | {"caption": found["caption"], "loss": found["loss"]}


def _texts(name: str, given: object) -> tuple[str, ...]:
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise InputError(f"{name} is a list of texts, got {given!r:.80}")
    texts = tuple(given)
    if wrong := [text for text in texts if not isinstance(text, str)]:
        raise InputError(f"{name} is a list of texts, got {wrong[0]!r:.80} in it")
    return texts
