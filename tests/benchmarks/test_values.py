"""A peer with another value is not timed."""

import pytest
import torch

import lossreg


@pytest.fixture
def row(benchmarks):
    import rows

    return rows.Row("dice tiny", (2, 1, 4, 5), {"name": "dice"}, list)


@pytest.fixture
def checked(row):
    """Check a peer with this value, where float64 has 0.5."""
    import peers
    import values

    def check(value, row=row, **options):
        return values.checked(peers.Peer("other", torch.sum, **options), value, 0.5, row)

    return check


@pytest.mark.tools
def test_the_value_in_float64_is_that_of_the_formula(row):
    """On the timed tensors: 1 - (2 sum p t + 1) / (sum p + sum t + 1), mean over masks."""
    import values
    import work

    logits, target = work.make_work(row, torch.device("cpu")).arguments
    p, t = logits.detach().double().sigmoid().flatten(2), target.double().flatten(2)
    expected = (1 - (2 * (p * t).sum(-1) + 1) / (p.sum(-1) + t.sum(-1) + 1)).mean().item()
    assert values.reference_values([row], torch.device("cpu")) == {"dice tiny": pytest.approx(expected, rel=1e-12)}


def test_a_peer_of_the_same_value_is_timed(checked, row):
    """To four digits, and to three in bfloat16."""
    assert checked(0.50004).loss is torch.sum
    assert checked(0.5004).loss is None
    assert checked(0.5004, row._replace(dtype=torch.bfloat16)).loss is torch.sum


@pytest.mark.parametrize("value", [0.6, float("nan")])
def test_a_peer_of_another_value_is_reported_and_not_timed(checked, value):
    """Unless it declares why its definition differs."""
    peer = checked(value)
    assert (peer.loss, peer.problem) == (None, f"not timed: its value is {value:.5f}, not 0.50000")
    assert checked(value, differs="no BCE").loss is torch.sum


def test_a_wrong_value_of_ours_ends_the_run(checked):
    """Before anything of the row is timed."""
    with pytest.raises(SystemExit, match=r"dice tiny: ours is 0\.6 and 0\.5 in float64; no time of a wrong value"):
        checked(0.6, ours=True)


def test_the_table_reports_a_peer_that_computes_something_else(row):
    """A whole measurement: the peer returns twice the loss, and has no time."""
    import measure
    import peers
    import tables
    import work

    dice = lossreg.build("dice")
    wrong = row._replace(peers=lambda: [peers.Peer("twice", lambda x, t: 2 * dice(x, t)), peers.Peer("same", dice)])
    expected = dice(*work.make_work(wrong, torch.device("cpu")).arguments).item()
    measured = measure.measure(wrong, expected, torch.device("cpu"), 0.0, wall=False)
    ours, twice, same = measured.figures
    assert twice.peer.problem == f"not timed: its value is {2 * expected:.5f}, not {expected:.5f}"
    assert ours.milliseconds > 0
    assert same.milliseconds > 0
    assert any("twice | not timed: its value is" in line for line in tables.table(wrong, measured))
