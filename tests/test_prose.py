"""The prose of docstrings, comments and pages: plain English, one word for each thing (glossary in CONTRIBUTING.md)."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BUILT = {"build", "_build"}
HERE = ("lossreg", "plugins", "benchmarks", "docs", "examples", "release", "tests")

# Words that hide the thing that is meant: a reader has to guess it, or to read the sentence twice.
FORBIDDEN = re.compile(
    r"\b(whoever|whomever|whatever|whichever|anew|aside|lest|told|tells|said|says|asked|asks|of which|of whom"
    r"|what is|what are|what was|what it is|what they are|stands twice)\b",
    re.IGNORECASE,
)
# A function does something: its docstring begins with a verb, and not with a clause. Ruff's D401 knows fewer of these.
CLAUSE = re.compile(r"(What|Whether|Which|Where|Who|Whose|Those|How|That)\b")

pytestmark = pytest.mark.skipif(
    not (ROOT / "lossreg").is_dir(), reason="the sources lie in the checkout, and only the tests are here"
)


def files():
    """Every Python file of the checkout but this one, by its path."""
    found = [ROOT / "conftest.py", *(path for place in HERE for path in sorted((ROOT / place).rglob("*.py")))]
    return [path for path in found if path != Path(__file__) and BUILT.isdisjoint(path.relative_to(ROOT).parts)]


def docstrings(tree):
    """Pairs of a node and its docstring."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            text = ast.get_docstring(node)
            if text:
                yield node, text


def comments(text):
    """The comments of a file with their lines."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def obscure(path):
    """Every docstring and comment that uses a forbidden word, or begins as no function's docstring does."""
    text = path.read_text(encoding="utf-8")
    for node, docstring in docstrings(ast.parse(text)):
        place = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}"
        for word in FORBIDDEN.finditer(docstring):
            yield f"{place}: {word[0]!r} in a docstring"
        is_test = path.name.startswith("test_") or "tests" in path.parts
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not is_test and CLAUSE.match(docstring):
            yield f"{place}: begins with {CLAUSE.match(docstring)[0]!r}, not with a verb"
    for line, comment in comments(text):
        for word in FORBIDDEN.finditer(comment):
            yield f"{path.relative_to(ROOT)}:{line}: {word[0]!r} in a comment"


@pytest.mark.parametrize("place", ["conftest.py", *HERE])
def test_docstrings_and_comments_are_plain(place):
    """No word of the list, and no function whose docstring begins with a clause."""
    found = [each for path in files() if path.relative_to(ROOT).parts[0] == place for each in obscure(path)]
    assert found == []


FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
GENERATED = ("cli", "python")  # from docstrings, which are read above


def pages():
    """Return the pages for readers of the site that are written by hand: how-tos, explanations, reference."""
    folders = [path for kind in ("howto", "explanation", "reference") for path in (ROOT / "docs" / kind).glob("*.md")]
    found = [ROOT / "docs" / "glossary.md", ROOT / "docs" / "faq.md", *folders]
    return sorted(path for path in found if not path.name.startswith(GENERATED))


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_pages_are_plain(page):
    """Outside blocks of code, no word of the list."""
    prose = FENCE.sub(lambda block: "\n" * block[0].count("\n"), page.read_text(encoding="utf-8"))
    found = [(n, word[0]) for n, line in enumerate(prose.splitlines(), 1) for word in FORBIDDEN.finditer(line)]
    assert found == []


def main(places):
    """Print the findings below some places: `python tests/test_prose.py lossreg/config`."""
    for path in files():
        if any(path.is_relative_to(ROOT / place) for place in places):
            print(*obscure(path), sep="\n", end="\n" if [*obscure(path)] else "")


if __name__ == "__main__":
    import sys

    main(sys.argv[1:] or HERE)
