"""The rows of the benchmark, and the tensors of each."""

import gc

import pytest
import torch

from lossreg_segmentation.statistics import implementation


@pytest.fixture
def tiny(benchmarks):
    """Return the rows for 8x8 pixels of three examples at most, by name."""
    import rows

    return {row.name: row._replace(shape=(min(3, row.shape[0]), *row.shape[1:-2], 8, 8)) for row in rows.rows()}


def test_plain_torch_computes_the_same_for_each_row(tiny):
    """Every row's first peer is the formula in plain torch: its value is that of ours."""
    import work

    for row in tiny.values():
        made = work.make_work(row, torch.device("cpu"))
        ours, peer = row.ours()(*made.arguments), plain(row)(*made.arguments)
        assert ours.item() == pytest.approx(peer.item(), rel=2e-3 if row.dtype == torch.bfloat16 else 1e-5), row.name


def plain(row):
    """Return the row's loss in plain torch, without importing libraries."""
    import peers
    import peers_video

    named = {"sam": peers.sam2, "sam2": peers_video.video, "bce": peers.bce, "bce_dice_focal": peers.bce_dice_focal}
    named |= {"dice": peers.dice, "focal": peers.focal, "weighted_sum": peers.dice_cross_entropy}
    return named[row.config["name"]]


def test_an_object_that_is_absent_has_no_masks_to_learn(tiny):
    """In SAM 2's steps, too: an empty target leaves the presence alone."""
    import peers_video
    import work

    row = tiny["sam2"]
    made = work.make_work(row, torch.device("cpu"))
    empty = made.with_target(torch.zeros_like(made.target))
    expected = torch.nn.functional.softplus(torch.cat(empty.arguments[-row.steps :])).sum() / 3
    assert peers_video.video(*empty.arguments).item() == pytest.approx(expected.item(), rel=1e-5)
    assert row.ours()(*empty.arguments).item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_bytes_that_must_move(tiny):
    """Eight steps of 3x3 masks of 64 float32 logits, and one uint8 target: read twice, and the gradient written."""
    import work

    made = work.make_work(tiny["sam2"], torch.device("cpu"))
    logits, target = 8 * 3 * 3 * 64 * 4, 3 * 64
    assert made.must_move() == 2 * (logits + target) + logits
    assert len(made.leaves) == 3 * 8


def test_variants_use_the_tensors_that_they_name(tiny):
    """Soft targets are no masks, classes sum to 1, and ignored pixels have the value that the loss ignores."""
    import variants
    import work

    dice, classes = tiny["dice"], tiny["dice + cross_entropy"]
    cpu = torch.device("cpu")
    soft = variants.of_soft_targets(dice, work.make_work(dice, cpu)).work.target
    assert soft.unique().tolist() == pytest.approx([0.05, 0.95])
    soft = variants.of_soft_targets(classes, work.make_work(classes, cpu)).work.target
    assert soft.shape == classes._replace(shape=(2, 21, 8, 8)).shape
    torch.testing.assert_close(soft.sum(1), torch.ones(2, 8, 8))
    loss, made = variants.ignoring(classes, work.make_work(classes, cpu))
    assert 0 < (made.target == 255).float().mean() < 0.2
    assert [
        term["params"] for term in variants.with_parameter(classes.config, "ignore_index", 255)["params"]["terms"]
    ] == [{"task": "multiclass", "ignore_index": 255}] * 2
    with implementation("reference"):
        assert loss(*made.arguments).isfinite()


def test_every_variant_of_a_row_is_known_and_no_bar_is_of_no_device(benchmarks):
    """A bar that neither device has would judge nothing."""
    import rows
    import variants

    for row in rows.rows():
        assert set(row.variants) <= set(variants.KINDS)
        assert all(bar.cpu or bar.cuda for bar in row.bars)
    assert {name for row in rows.rows() for name in row.variants} == set(variants.KINDS)


def test_python_calls_of_a_step_are_counted_exactly(benchmarks):
    """Twice the same, and one more for a loss that calls one more function."""
    import measure
    import rows
    import work

    class Longer(rows.Row):
        def ours(self):
            loss = super().ours()

            def more(*tensors):
                return loss(*tensors)

            return more

    row = rows.Row("dice", (1, 1, 8, 8), {"name": "dice"}, list)
    made = work.make_work(row, torch.device("cpu"))
    counts = [measure.python_calls(each, made) for each in (row, row, Longer(*row))]
    assert counts[0] == counts[1] == counts[2] - 1


def test_python_calls_are_of_the_step_alone(benchmarks):
    """Python counts no calls of a garbage collection that happens to fall into the step."""
    import measure
    import rows
    import work

    class Garbage:
        """Be in a cycle with itself, and call Python when collected."""

        def __init__(self):
            self.itself = self

        def __del__(self):
            pass

    class Littering(rows.Row):
        def ours(self):
            loss = super().ours()

            def littering(*tensors):
                Garbage()
                return loss(*tensors)

            return littering

    row = rows.Row("dice", (1, 1, 8, 8), {"name": "dice"}, list)
    made = work.make_work(row, torch.device("cpu"))
    often = gc.get_threshold()
    alone = measure.python_calls(Littering(*row), made)
    gc.set_threshold(1)
    try:
        assert measure.python_calls(Littering(*row), made) == alone
    finally:
        gc.set_threshold(*often)
