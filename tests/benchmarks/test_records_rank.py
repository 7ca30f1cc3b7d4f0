"""The benchmark of ranked records ranks what it writes."""

import pytest


@pytest.mark.tools
def test_the_planted_are_found(benchmarks, monkeypatch, tmp_path):
    """20,000 rows of 2,000 examples with a condition: the ranking finds more of the 80 planted than the mean."""
    pytest.importorskip("duckdb", reason="duckdb is not installed, so there are no records")
    import records_rank

    monkeypatch.setattr(records_rank, "FIRST", 80)
    assert records_rank.write(tmp_path, 20_000, condition=True) > 0
    found = {}
    for step in records_rank.STEPS:
        seconds, processor, peak, found[step] = records_rank.measure(tmp_path, step, "1GB", 2)
        assert min(seconds, processor, peak) > 0
    assert found["ranking"] > found["mean"] > 0
