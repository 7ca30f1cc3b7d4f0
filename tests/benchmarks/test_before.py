"""An earlier version takes its steps in a process of its own."""

from io import StringIO
from json import loads
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def requests(benchmarks):
    """Return requests for a row whose loss the version lacks, for a row that it has, and for a step of that."""
    import rows

    def request(config):
        from json import dumps

        return dumps(rows.Row("dice", (1, 1, 8, 8), config, None, dtype="float32")._asdict()) + "\n"

    return '"where"\n' + request({"name": "no_such_loss"}) + request({"name": "dice"}) + '"step"\n'


def test_requests_are_answered_one_by_one(requests):
    """The package's file, the problem of a missing loss, no problem, and milliseconds."""
    import before

    answers = StringIO()
    before.serve(StringIO(requests), answers)
    where, missing, built, step = map(loads, answers.getvalue().splitlines())
    assert where.endswith("__init__.py")
    assert "no_such_loss" in missing
    assert built == ""
    assert step > 0


@pytest.mark.tools
def test_the_process_imports_the_given_tree(benchmarks, tmp_path):
    """And a folder without one is refused, since the installed version would be timed twice."""
    import before
    import rows

    row = rows.Row("dice", (1, 1, 8, 8), {"name": "dice"}, list)
    with before.Before(ROOT) as earlier:
        assert earlier.choose(row)
        assert earlier.step() > 0
        assert not earlier.choose(row._replace(config={"name": "no_such_loss"}))
        assert "no_such_loss" in earlier.problem
    with pytest.raises(SystemExit, match=r"--before .*; give the root of an extracted tree"):
        before.Before(tmp_path)
