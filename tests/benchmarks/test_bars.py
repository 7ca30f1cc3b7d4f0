"""The bars are judged from the figures alone: worked by hand here, in milliseconds."""

import pytest
import torch


@pytest.fixture
def measured(benchmarks):
    """Return figures: ours takes 2 ms, eager 5, compiled 3, MONAI 20; a fourth peer did not run."""
    import measure
    import peers

    def figures(name, milliseconds, **options):
        peer = peers.Peer(name, torch.sum, ours=name.startswith("lossreg"))
        return measure.Figures(peer, 0.5, milliseconds, **options)

    return measure.Measured(
        figures=[
            figures("lossreg, numba", 2.0, kept=5.04, extra=16.0, share=0.7),
            figures("torch, eager", 5.0),
            figures("torch, compiled", 3.0),
            figures("MONAI Dice", 20.0),
            measure.Figures(peers.Peer("kornia Dice", None, "no | binary form")),
        ],
        variants={"evaluate": 2.2, "tiled": 7.0},
        forward=0.5,
        tiny=0.1,
        copy=1.4,
        must_move=28_000_000,
        python_calls=90,
    )


@pytest.fixture
def judged(measured):
    """Judge the figures by a row's bars."""
    import bars
    import rows

    def judge(device_type="cpu", changes=None, dtype=torch.float32, on_sums=False, **options):
        row = rows.Row("dice", (8, 1, 2, 2), {}, list, on_sums=on_sums, dtype=dtype, **options)
        return bars.judge(row, measured._replace(variants={}, **(changes or {})), device_type)

    return judge


def test_a_speed_is_that_beside_the_fastest_peer_whose_name_has_the_word(judged):
    """5 / 2 eager, 3 / 2 compiled, and 3 / 2 of all; a bar is met at exactly its number."""
    from rows import COMPILED, EAGER, FASTEST, MONAI, Bar

    bars = (Bar(EAGER, 2.5, None), Bar(COMPILED, 1.6, None), Bar(FASTEST, 1.5, None), Bar(MONAI, 8, None))
    assert judged(bars=bars) == [
        "- dice: met: 2.50 times as fast as torch, eager (at least 2.5)",
        "- dice: MISSED: 1.50 times as fast as torch, compiled (at least 1.6)",
        "- dice: met: 1.50 times as fast as torch, compiled (at least 1.5)",
        "- dice: met: 10.00 times as fast as MONAI Dice (at least 8)",
    ]


def test_a_device_has_its_own_bars(judged):
    """A bar of one device is not judged on the other."""
    from rows import EAGER, Bar

    bars = (Bar(EAGER, 2, None), Bar(EAGER, None, 3))
    assert judged(bars=bars) == ["- dice: met: 2.50 times as fast as torch, eager (at least 2)"]
    assert judged("cuda", bars=bars) == ["- dice: MISSED: 2.50 times as fast as torch, eager (at least 3)"]
    assert judged(share=(0.7, 0.8)) == ["- dice: met: 70% of a plain copy (at least 70%)"]
    assert judged("cuda", share=(0.7, 0.8)) == ["- dice: MISSED: 70% of a plain copy (at least 80%)"]


def test_a_bar_without_a_peer_that_ran_is_missed(judged):
    """A peer that cannot be imported proves nothing."""
    from rows import Bar

    assert judged(bars=(Bar(("kornia",), 1, None),)) == ["- dice: MISSED: no peer of kornia ran"]


def test_memory_is_judged_for_losses_over_sums(judged):
    """5.04 bytes are 5.0: the sums of a mask come on top. In bfloat16 only the peak has a bar."""
    kept, extra = judged(on_sums=True)
    assert kept == "- dice: met: 5.0 bytes kept per logit (at most 5)"
    assert extra == "- dice: met: 16.0 MB extra at the peak (at most 16)"
    assert judged(on_sums=True, dtype=torch.bfloat16) == [extra]


def test_python_calls_are_judged_where_a_row_says_so(judged):
    """90 are allowed, 91 are not."""
    assert judged(python_calls=90) == ["- dice: met: 90 Python calls a step (at most 90)"]
    assert judged(python_calls=89) == ["- dice: MISSED: 90 Python calls a step (at most 89)"]
    assert judged() == []


def test_other_ways_to_run_ours_are_judged_by_the_usual_step(measured):
    """2.2 / 2 and 7 / 2."""
    import bars

    assert bars.variants(measured) == [
        (True, "evaluate takes 1.10 times as long (at most 1.15)"),
        (False, "tiled takes 3.50 times as long (at most 3)"),
    ]


@pytest.mark.parametrize(
    "changes, words",
    [
        ({}, "the memory"),  # 1.4 of 2 ms
        ({"copy": 1.3}, "the instructions"),
        ({"copy": 1.3, "tiny": 1.0}, "the calls of Python"),
    ],
)
def test_the_limit_of_a_step_is_named(measured, changes, words):
    """Calls if a step on 8x8 pixels takes half the time, memory from 70 % of a copy on, or else instructions."""
    import tables

    assert tables.binds(measured._replace(**changes)).startswith(words)


def test_the_table_shows_halves_floor_and_the_earlier_version(measured):
    """28 MB in 1.4 ms are 20 GB/s; 0.5 of 2 ms are the forward half; the earlier version took 9 ms."""
    import rows
    import tables

    row = rows.Row("dice", (8, 1, 2, 2), {}, list)
    lines = tables.table(row, measured._replace(before=9.0))
    assert lines[0] == "## dice, 8x1x2x2, float32"
    assert lines[2].endswith("| value | before, ms |")
    assert "| lossreg, numba | 2 | 1.00 | 5.0 | 16.0 | 70% | 0.50000 | 9 |" in lines
    assert {text.count("|") - text.count("\\|") for text in lines if text.startswith("|")} == {9}
    assert any(text.startswith("| ours: tiled | 7 | 3.50 |") for text in lines)
    assert lines[-2].startswith(
        "Ours: forward 0.5 ms, backward 1.5 ms, 90 Python calls. 28 MB must move, which takes 1.4 ms at the 20 GB/s"
    )
    assert "before" not in "\n".join(tables.table(row, measured))
