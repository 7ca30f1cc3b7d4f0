"""The entry of a version in CHANGELOG.md: `## 0.2.0, 2026-11-30`, `unreleased` until it is published."""

from __future__ import annotations

import datetime
import re

FILE = "CHANGELOG.md"

_ENTRY = re.compile(r"(?m)^## (?P<version>[^,\n]+), (?P<date>.+)$")


def complaints(text: str, version: str, *, dated: bool) -> list[str]:
    """List the problems of a version's entry. dated: the version is about to be published, so it needs a date."""
    entries = list(_ENTRY.finditer(text))
    mine = next((entry for entry in entries if entry["version"] == version), None)
    if mine is None:
        known = ", ".join(entry["version"] for entry in entries) or "none"
        return [f"{FILE}: no entry of {version}, there are {known}; write '## {version}, unreleased' and what changed"]
    found = []
    if mine is not entries[0]:
        found.append(f"{FILE}: {entries[0]['version']} is above {version}; move the entry of {version} to the top")
    if not text[mine.end() :].partition("\n## ")[0].strip():
        found.append(f"{FILE}: the entry of {version} is empty; write what changed")
    if not _is_date(mine["date"]) and (dated or mine["date"] != "unreleased"):
        allowed = "a date such as 2026-11-30" + ("" if dated else ", or 'unreleased'")
        found.append(f"{FILE}: the entry of {version} has the date {mine['date']!r}; write {allowed}")
    return found


def _is_date(text: str) -> bool:
    try:
        return datetime.date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False
