"""Docstrings: their sections, and the descriptions of arguments."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossreg.parameters.docstring import Math, arguments, mathematics, sections

TEXT = """Down-weight easy pixels by (1 - p_t)^gamma.

        loss = -alpha_t (1 - p_t)^gamma log p_t
        alpha_t = alpha

    Args:
        gamma: focusing exponent, >= 0: dimensionless.
            0 gives cross-entropy.
        alpha (float, optional): weight: of positives.
        empty:
    Shapes:
        input (N, C, *) logits.
        terms: {"focal": (N, C)}.
    Numerics: float32 or wider.
    Source: Lin et al. 2017, eq. 5.
    """


def test_sections_by_heading():
    """Each section of a docstring by the style guide is found."""
    assert sections(TEXT) == {
        "summary": "Down-weight easy pixels by (1 - p_t)^gamma.",
        "formula": "loss = -alpha_t (1 - p_t)^gamma log p_t\nalpha_t = alpha",
        "args": "gamma: focusing exponent, >= 0: dimensionless.\n    0 gives cross-entropy.\n"
        "alpha (float, optional): weight: of positives.\nempty:",
        "shapes": 'input (N, C, *) logits.\nterms: {"focal": (N, C)}.',
        "numerics": "float32 or wider.",
        "source": "Lin et al. 2017, eq. 5.",
    }


def test_arguments_by_name():
    """Continuation lines are joined, types in brackets dropped."""
    assert arguments(TEXT) == {
        "gamma": "focusing exponent, >= 0: dimensionless. 0 gives cross-entropy.",
        "alpha": "weight: of positives.",
        "empty": "",
    }


def test_starred_arguments_end_the_one_before():
    """Their description belongs to no parameter that a config has."""
    text = "Summary.\n\nArgs:\n    gamma: exponent.\n    *args, **kwargs: unused.\n    **options: of the base class.\n"
    assert arguments(text)["gamma"] == "exponent."


def test_a_line_may_describe_several_arguments():
    """Each has the description."""
    text = "Summary.\n\nArgs:\n    alpha, beta: weights of errors,\n        both >= 0.\n    gamma: exponent.\n"
    described = arguments(text)
    assert described["alpha"] == described["beta"] == "weights of errors, both >= 0."
    assert described["gamma"] == "exponent."


@pytest.mark.parametrize("text", [None, "", "\n\n", "   "])
def test_empty_text_has_no_sections(text):
    """Empty text has no sections."""
    assert sections(text) == {}
    assert arguments(text) == {}


def test_prose_is_no_formula():
    """A formula is indented and before all headings."""
    assert sections("Summary.\n\nMore prose.\n") == {"summary": "Summary."}


def test_the_section_of_mathematics():
    """A formula may continue on an indented line, and the sentence from "where" on is joined."""
    text = r"""Summary.

        loss = a

    Math:
        L = \frac{a}
            {b}
        J = c

        where $a$ is the numerator,
        $b$ the denominator where it is above 0.
    Args:
        gamma: exponent.
    """
    found = sections(text)
    assert found["formula"] == "loss = a"
    where = "where $a$ is the numerator, $b$ the denominator where it is above 0."
    assert mathematics(found["math"]) == Math((r"L = \frac{a} {b}", "J = c"), where)
    assert mathematics("L = x") == Math(("L = x",), "")
    assert mathematics("where $x$ is.") == Math((), "where $x$ is.")


@given(st.text())
def test_any_text_can_be_read(text):
    """Third-party docstrings come in every form."""
    assert all(line.strip() for line in mathematics(text).formulas)
    for name, body in sections(text).items():
        assert name
        assert body.strip() == body != ""
    assert all(isinstance(body, str) for body in arguments(text).values())
