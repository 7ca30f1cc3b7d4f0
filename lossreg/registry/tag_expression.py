"""Boolean expressions over tags: `segmentation & (binary | multilabel) & !experimental`."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

from lossreg.errors import TagSyntaxError

TagTest = Callable[[Collection[str]], bool]

_TOKEN = re.compile(r"\s*([&|!()]|[\w.\-]+)")
_MAX_LENGTH = 1000
_MAX_NESTING = 50


def parse(expression: str) -> TagTest:
    """Turn an expression into a test of a set of tags. `!` binds tightest, then `&`, then `|`.

    Raises:
        TagSyntaxError: points at the column that cannot be read.
    """
    # Bounds the recursion below.
    if len(expression) > _MAX_LENGTH or expression.count("(") + expression.count("!") > _MAX_NESTING:
        raise TagSyntaxError(
            f"tag expression of {len(expression)} characters; at most {_MAX_LENGTH} are read, with at most"
            f" {_MAX_NESTING} of ( and !",
            expression=expression[:_MAX_LENGTH],
            column=1,
        )
    return _Parser(expression).parse()


class _Parser:
    def __init__(self, expression: str) -> None:
        self.expression = expression
        self.tokens: list[tuple[str, int]] = []
        position, end = 0, len(expression.rstrip())
        while position < end:
            match = _TOKEN.match(expression, position)
            if match is None:
                blank = len(expression[position:]) - len(expression[position:].lstrip())
                raise self.error(f"unexpected {expression[position + blank]!r}", position + blank)
            self.tokens.append((match[1], match.start(1)))
            position = match.end()
        self.tokens.append(("", end))
        self.next = 0

    def error(self, what: str, position: int) -> TagSyntaxError:
        pointer = " " * position + "^"
        return TagSyntaxError(
            f"{what} at column {position + 1} of the tag expression; write tags joined by & and |, negated by !,"
            f" grouped by ( )\n  {self.expression}\n  {pointer}",
            expression=self.expression,
            column=position + 1,
        )

    def parse(self) -> TagTest:
        test = self.any()
        token, position = self.tokens[self.next]
        if token:
            raise self.error(f"expected & or |, got {token!r}", position)
        return test

    def take(self, token: str) -> bool:
        found = self.tokens[self.next][0] == token
        self.next += found
        return found

    def any(self) -> TagTest:
        tests = [self.all()]
        while self.take("|"):
            tests.append(self.all())
        return lambda tags: any(test(tags) for test in tests)

    def all(self) -> TagTest:
        tests = [self.one()]
        while self.take("&"):
            tests.append(self.one())
        return lambda tags: all(test(tags) for test in tests)

    def one(self) -> TagTest:
        token, position = self.tokens[self.next]
        if self.take("!"):
            negated = self.one()
            return lambda tags: not negated(tags)
        if self.take("("):
            inner = self.any()
            if not self.take(")"):
                raise self.error("missing ) for the one opened", position)
            return inner
        if not token or token in "&|)":
            raise self.error(f"expected a tag, got {token!r}" if token else "expected a tag, got the end", position)
        self.next += 1
        return lambda tags: token in tags
