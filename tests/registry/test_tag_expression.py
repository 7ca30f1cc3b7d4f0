"""The grammar of tag expressions, against Python's own evaluation of booleans."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossreg import TagSyntaxError
from lossreg.registry.tag_expression import parse

TAGS = ["a", "b", "c_1", "d-e", "f.g", "not_here", "and", "or"]
# The code under test translates in the other direction.
PYTHON = {"&": " and ", "|": " or ", "!": " not "}

expressions = st.recursive(
    st.sampled_from(TAGS),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from([" & ", "|", "  |  ", "&"]), inner).map("".join),
        st.builds("!{}".format, st.sampled_from(TAGS)),
        st.builds("( {})".format, inner),
        st.builds("!({})".format, inner),
        st.builds("!! ({} )".format, inner),
    ),
    max_leaves=12,
).filter(lambda text: text.count("(") + text.count("!") <= 50)


def by_python(expression, tags):
    """Evaluate with Python's `not`, `and`, `or`, which bind as !, & and |."""
    words = re.sub(r"[\w.\-]+", lambda match: repr(match[0] in tags), expression)
    return eval(re.sub("[&|!]", lambda match: PYTHON[match[0]], words).strip(), {})


@given(expressions, st.sets(st.sampled_from(TAGS)))
def test_expressions_mean_what_python_means(expression, tags):
    """On any expression and any set of tags."""
    assert parse(expression)(tags) is by_python(expression, tags)


@pytest.mark.parametrize(
    "expression, tags, expected",
    [
        ("a", "a", True),
        ("a", "b", False),
        ("!a", "b", True),
        ("!!a", "a", True),
        ("a | b & c", "a", True),
        ("(a | b) & c", "a", False),
        ("!a & b", "b", True),
        ("!(a & b)", "b", True),
        (" a&b ", "ab", True),
        ("a\n&\tb", "ab", True),
    ],
)
def test_precedence_by_example(expression, tags, expected):
    """! binds tightest, then &, then |; white space is ignored."""
    assert parse(expression)(set(tags)) is expected


@pytest.mark.parametrize(
    "expression, column, what",
    [
        ("", 1, "expected a tag, got the end"),
        ("   ", 1, "expected a tag, got the end"),
        ("a &", 4, "expected a tag, got the end"),
        ("a & & b", 5, "expected a tag, got '&'"),
        ("| a", 1, "expected a tag, got '|'"),
        ("a b", 3, "expected & or |, got 'b'"),
        ("a )", 3, "expected & or |, got ')'"),
        ("(a | b", 1, "missing ) for the one opened"),
        ("a & (b | (c)", 5, "missing ) for the one opened"),
        ("()", 2, "expected a tag, got ')'"),
        ("a & $b", 5, "unexpected '$'"),
        ("a && b", 4, "expected a tag, got '&'"),
        ("a !b", 3, "expected & or |, got '!'"),
        ("!", 2, "expected a tag, got the end"),
        ("a, b", 2, "unexpected ','"),
    ],
)
def test_an_error_points_at_its_column(expression, column, what):
    """The error has a message, the expression, and a ^ below the column."""
    with pytest.raises(TagSyntaxError) as caught:
        parse(expression)
    first, shown, pointer = str(caught.value).split("\n")
    assert first == (
        f"{what} at column {column} of the tag expression; write tags joined by & and |, negated by !, grouped by ( )"
    )
    assert shown == f"  {expression}"
    assert pointer == "  " + " " * (column - 1) + "^"
    assert (caught.value.column, caught.value.expression) == (column, expression)


@given(st.text(alphabet="ab&|!() \t$,é", max_size=30))
def test_any_text_is_a_test_or_a_syntax_error(text):
    """And a test is one that Python can evaluate to the same."""
    try:
        test = parse(text)
    except TagSyntaxError as error:
        column = error.column
    else:
        column = 1
        assert test({"a", "é"}) is by_python(text.replace("\t", " "), {"a", "é"})
    assert 1 <= column <= len(text) + 1


@pytest.mark.parametrize("expression", ["(" * 5000, "!" * 51 + "a", "a" * 1001, "(a" + "&(a" * 50 + ")" * 51])
def test_length_and_nesting_are_bounded(expression):
    """A hostile expression is an error, and no stack overflow."""
    with pytest.raises(TagSyntaxError, match="at most 1000 are read, with at most 50 of"):
        parse(expression)


def test_the_bounds_themselves_are_allowed():
    """Fifty negations; a thousand characters."""
    assert parse("!" * 50 + "a")({"a"}) is True
    assert parse("a" * 1000)({"a" * 1000}) is True
