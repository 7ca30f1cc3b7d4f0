"""Docstrings as reStructuredText: every section, and no mark that reStructuredText would read."""

from inspect import cleandoc

import pytest

BOUNDARY = """Mean of p times the distance.

        loss = mean_i p_i |phi_i|

    It is `negative` where right, and an *option*.

    Args:
        spacing: size of a pixel, > 0; `None` for 1.
        alpha, gamma: in [0, 1].
        **options: of `Loss`.
    Shapes:
        input (N, C, *) logits;
            target (N, *).
        terms: one.
    Raises:
        ShapeError: sizes differ.
    Numerics: float32 or
        wider.
    Source: Kervadec et al. 2019.
    """


@pytest.fixture
def rest():
    from docstrings import rest

    return rest


def test_every_section_becomes_a_field(rest):
    """By hand: prose with its code and formula, a list of parameters, shapes line by line, and the rest."""
    assert rest(cleandoc(BOUNDARY)) == "\n\n".join(
        [
            "Mean of p times the distance.",
            ".. code-block:: text\n\n    loss = mean_i p_i |phi_i|",
            "It is ``negative`` where right, and an \\*option\\*.",
            ":Parameters:\n"
            "    - ``spacing``: size of a pixel, > 0; ``None`` for 1.\n"
            "    - ``alpha``, ``gamma``: in [0, 1].\n"
            "    - ``**options``: of ``Loss``.",
            ":Shapes:\n    | input (N, C, \\*) logits; target (N, \\*).\n    | terms: one.",
            ":Raises:\n    - ``ShapeError``: sizes differ.",
            ":Numerics:\n    float32 or\n    wider.",
            ":Source:\n    Kervadec et al. 2019.",
        ]
    )


def test_a_formula_in_tex_takes_the_place_of_that_in_ascii(rest):
    """As the docstring has both."""
    text = "Mean.\n\n    loss = a / b\n\nMath:\n    \\frac{a}{b}\n    where $a$ is *one*.\nSource: a book."
    formula = ".. math::\n\n    \\frac{a}{b}"
    letters = "where \\ :math:`a`\\  is \\*one\\*."
    assert rest(text) == f"Mean.\n\n{formula}\n\n{letters}\n\n:Source:\n    a book."
    assert rest(text.replace("    where $a$ is *one*.\n", "")) == f"Mean.\n\n{formula}\n\n:Source:\n    a book."


def test_code_is_marked_where_it_touches_letters(rest):
    """And over the end of a line."""
    assert rest("A `Loss`es `build(a,\nb)` here.") == "A ``Loss``\\ es ``build(a, b)`` here."


@pytest.mark.parametrize(
    "block, language", [("x = build('dice')", "python"), (">>> 1 + 1\n2", "pycon"), ("a -> b", "text")]
)
def test_blocks_have_the_language_that_reads_them(rest, block, language):
    """Python, a session of Python, or neither."""
    shown = block.replace("\n", "\n    ")
    assert rest(f"Do it.\n\n    {shown}") == f"Do it.\n\n.. code-block:: {language}\n\n    {shown}"


def test_a_list_stays_a_list(rest):
    """Items whose second line is two spaces further in."""
    assert rest("Of two:\n\n- a `b`\n  c\n- d") == "Of two:\n\n- a ``b``\n  c\n- d"
