"""Ranks decide together: all stop at the same update, and none blocks for ever."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.tools

JOB = Path(__file__).parent / "health_job.py"


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """Run the job, and return the results of every plan for each of two ranks."""
    folder = tmp_path_factory.mktemp("ranks")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", JOB, folder]
    run = subprocess.run(
        command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=300, check=False
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]


def counted(ranks, plan):
    """Return the results of a plan without the log."""
    return [{name: value for name, value in rank[plan].items() if name != "log"} for rank in ranks]


def test_every_rank_stops_at_the_same_update(ranks):
    """Rank 1 alone has NaN, at its sixth update, which ends a window. Rank 0 logs the reason of its stop."""
    assert counted(ranks, "stop") == [
        {"updates": 6, "events": [], "stop": True},
        {"updates": 6, "events": [6], "stop": True},
    ]
    first, second = (rank["stop"]["log"] for rank in ranks)
    assert first == ["another rank requested a stop; see its events"]
    assert [line.partition(":")[0] for line in second] == ["NonFinite at step 6 (error, fault)"]


def test_every_rank_raises_at_the_same_update(ranks):
    """The rank with NaN with its event, the other without one."""
    first, second = (rank["raise"] for rank in ranks)
    assert first["error"] == "another rank raised a HealthError; see its message"
    assert not first["event"]
    assert second["error"].startswith("NonFinite at step 6 (error, fault)")
    assert second["event"]


def test_a_rank_with_fewer_batches_answers_the_others(ranks):
    """Four updates beside twenty: both end."""
    assert counted(ranks, "uneven") == [
        {"updates": 4, "events": [], "stop": False},
        {"updates": 20, "events": [], "stop": False},
    ]


def test_a_rank_that_is_done_stops_with_the_others(ranks):
    """So that it starts no further epoch."""
    assert counted(ranks, "uneven stop") == [
        {"updates": 2, "events": [], "stop": True},
        {"updates": 15, "events": [14], "stop": True},
    ]


def test_the_last_updates_are_judged_together(ranks):
    """The updates after the last full window."""
    assert [rank["left over"]["stop"] for rank in ranks] == [True, True]


def test_rules_that_warn_block_no_rank(ranks):
    """Three updates beside twelve, without any exchange."""
    assert counted(ranks, "warn") == [
        {"updates": 3, "events": [], "stop": False},
        {"updates": 12, "events": [], "stop": False},
    ]
