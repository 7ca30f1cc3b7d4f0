"""Generated files of the site: they change on disk only when their text does."""

from __future__ import annotations

from pathlib import Path


def write(path: Path, text: str) -> bool:
    """Write a text file; return False, and leave the file alone, if it has this text."""
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return True
