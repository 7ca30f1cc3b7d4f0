"""The data map of a report: where examples stand, and which of many are drawn."""

import pytest

pytest.importorskip("duckdb", reason="duckdb is not installed, so there are no records")
pytest.importorskip("numpy", reason="numpy is not installed, so there are no records")

from lossreg.records.database import open_database
from lossreg.records.report import data_map as module
from lossreg.records.report.data_map import data_map


def mapped(values, listed=()):
    """The map of examples with these (score, deviation, colour)."""
    with open_database() as connection:
        scores, deviations, colours = zip(*values, strict=True)
        connection.execute(
            "CREATE TABLE every AS SELECT 's' || (row_number() OVER () - 1) AS key, * FROM (SELECT"
            " unnest(?::DOUBLE[]) AS score, unnest(?::DOUBLE[]) AS deviation, unnest(?::VARCHAR[]) AS colour)",
            [scores, deviations, colours],
        )
        table = "(SELECT 'r' AS run, NULL AS split, 'd' AS dataset, NULL::BIGINT AS lone, 2 AS kind, * FROM every)"
        return data_map(connection, table, listed)


def example(key, score, deviation, colour=""):
    names = {"run": "r", "split": None, "dataset": "d", "lone": None, "kind": 2}
    return names | {"key": key, "score": score, "deviation": deviation, "colour": colour}


def test_examples_stand_at_their_two_numbers():
    """Deviation to the right from 0, score upwards: the highest score is at the top, those with a colour are last."""
    found = mapped([(4.0, 1.0, "sure"), (0.0, 0.0, ""), (2.0, 2.0, "")])
    places = {dot.name: (dot.x, dot.y) for dot in found.dots}
    assert places == {"s0": (500.0, 0.0), "s1": (0.0, 100.0), "s2": (1000.0, 50.0)}
    assert found.dots[-1].name == "s0"
    assert (found.drawn, found.once, found.cells) == (3, 0, [])


def test_an_example_seen_once_has_no_deviation():
    """It is counted and not drawn; if all are, there is no map."""
    found = mapped([(4.0, 1.0, ""), (1.0, 2.0, ""), (9.0, None, "")])
    assert (found.drawn, found.once) == (2, 1)
    assert {dot.name for dot in found.dots} == {"s0", "s1"}
    assert mapped([(1.0, None, "")]) is None


def test_of_many_a_sample_is_drawn_over_counts_of_all(monkeypatch):
    """Every example is in one cell; the points are a sample and what the page lists, each once."""
    monkeypatch.setattr(module, "MOST_POINTS", 50)
    monkeypatch.setattr(module, "SAMPLE", 20)
    values = [(number % 10 + 0.1, number % 7 + 0.01, "") for number in range(1000)]
    found = mapped(values, [example("s7", 7.1, 0.01), example("listed", 30.0, 3.0, "sure")])
    assert sum(cell.examples for cell in found.cells) == found.drawn == 1000
    names = [dot.name for dot in found.dots]
    assert {"s7", "listed"} <= set(names)
    assert 21 <= len(names) == len(set(names)) <= 22
    for cell in found.cells:
        near = [v for v in values if abs(v[1] - cell.deviation) <= 6.01 / 80 and abs(v[0] - cell.score) <= 30 / 48]
        assert cell.examples == len(near)
    assert found.dots == mapped(values, [example("s7", 7.1, 0.01), example("listed", 30.0, 3.0, "sure")]).dots


def test_far_examples_stand_at_the_frame():
    """One score of a million among 5,000 does not push all others into a line."""
    found = mapped([(number / 1250, 1.0 + number % 3, "") for number in range(5000)] + [(1e6, 2.0, "")])
    assert found.up.high < 5
    assert sum(cell.examples for cell in found.cells) == 5001


def test_equal_examples_have_a_map():
    """There is a frame around a single place."""
    found = mapped([(0.0, 0.0, "")] * 3)
    assert all(0 <= dot.x <= 1000 and 0 <= dot.y <= 100 for dot in found.dots)
