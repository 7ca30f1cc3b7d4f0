"""Rankings of few, equal, huge, missing and repeated rows, and of several runs."""

import math

import pytest

pytest.importorskip("duckdb", reason="duckdb is not installed, so there are no records")

from lossreg.errors import InputError, RecordsError
from lossreg.records import Filters, rank_examples
from lossreg.records.reader import connect

NAN, INF = math.nan, math.inf
SURE, HIGH = "surely among the hardest 5 %", "high, but not seen enough"


def seen(names=40, epochs=6, **others):
    """Losses of 0 to 9 that an example keeps but for a twentieth; i39 loses 100."""
    rows = {"sample_id": [], "epoch": [], "step": [], "loss": []}
    for epoch in range(epochs):
        for name in range(names):
            rows["sample_id"].append(f"i{name}")
            rows["epoch"].append(epoch)
            rows["step"].append(epoch)
            rows["loss"].append((100.0 if name == names - 1 else name % 10) + (name * 7 + epoch * 3) % 10 / 20)
    return rows | {name: [value] * len(rows["loss"]) for name, value in others.items()}


def joined(*parts):
    names = {name for part in parts for name in part}
    size = [len(part["loss"]) for part in parts]
    return {
        name: [value for part, rows in zip(parts, size, strict=True) for value in part.get(name, [None] * rows)]
        for name in names
    }


def names(found):
    return [one.sample_id for one in found.examples]


def test_the_example_that_loses_most_is_first_and_named():
    """With its numbers; the others are neither sure nor high, but for the next of the hardest twentieth."""
    found = rank_examples(seen())
    first, *others = found.examples
    assert (first.sample_id, first.looks, first.verdict, first.control) == ("i39", 6, SURE, False)
    assert first.mean == pytest.approx(100.2, abs=0.3)
    assert found.reliability > 0.9
    assert (found.total, found.sure, found.not_finite, found.controls) == (40, 1, 0, None)
    assert [one.verdict for one in others] == [HIGH] * 3 + [""] * 36  # three that are equal
    assert found.groups[0].looks == 6.0
    assert found.note == ""


@pytest.mark.parametrize("rows", [[], [{"loss": NAN}], [{"loss": INF, "sample_id": "x"}]])
def test_nothing_to_rank(rows):
    """No row, or none with a finite loss: an empty ranking with a note."""
    found = rank_examples(rows)
    assert (found.examples, found.total, found.reliability, found.groups) == ((), 0, None, ())
    assert found.not_finite == len(rows)
    assert found.note == "no row has a finite loss: there is nothing to rank"


def test_few_rows():
    """Runs of one to three rows, each of an example of its own."""
    rows = [{"run": f"{size}", "loss": float(n), "sample_id": f"{n}"} for size in (1, 2, 3) for n in range(size)]
    found = rank_examples(rows)
    for size in (1, 2, 3):
        assert [one.sample_id for one in found.examples if one.run == f"{size}"] == ["2", "1", "0"][3 - size :]
    assert all(one.verdict != SURE for one in found.examples)
    assert all(one.error is None and math.isfinite(one.score) for one in found.examples)


def test_one_example():
    """Seen ten times: nothing to compare it with."""
    (one,) = rank_examples([{"loss": float(n), "sample_id": "x", "step": n} for n in range(10)]).examples
    assert (one.looks, one.verdict) == (10, "")


def test_equal_losses():
    """All scores are 0, and nobody is high, for every loss of a run."""
    losses = (0.0, -0.0, 0.7, 1e308, 5e-324)
    runs = [{"loss": [loss] * 300, "sample_id": [f"{n % 100}" for n in range(300)], "run": [f"{loss}"] * 300}
            for loss in losses]  # fmt: skip
    found = rank_examples(joined(*runs), top_k=1000)
    assert len(found.groups) == 5
    assert {one.score for one in found.examples} == {0.0}
    assert {one.verdict for one in found.examples} == {""}
    assert found.reliability is None
    assert {one.reliability for one in found.groups} == {None}
    assert "no example loses more than the others: there is nothing to rank" in found.note


def test_the_unit_of_the_loss_does_not_matter():
    """Scores of huge, tiny and negative losses are those of others, in the same order or in the opposite one."""
    scales = (1.0, 1e308 / 101, 1e300, 1e-300, -1.0, 1e-310)
    rows = seen()
    runs = [rows | {"loss": [loss * scale for loss in rows["loss"]], "run": [f"{scale}"] * 240} for scale in scales]
    found = rank_examples(joined(*runs), top_k=1000)
    scores = {scale: {one.sample_id: one.score for one in found.examples if one.run == f"{scale}"} for scale in scales}
    for scale in scales:
        expected = {name: math.copysign(1, scale) * score for name, score in scores[1.0].items()}
        assert scores[scale] == pytest.approx(expected, abs=1e-3)


@pytest.mark.tools
def test_a_loss_of_the_largest_float_among_small_ones():
    """No overflow: it is first, its score is finite."""
    rows = seen()
    rows["loss"] = [
        1.7e308 if name == "i39" else loss for name, loss in zip(rows["sample_id"], rows["loss"], strict=True)
    ]
    rows["loss"][0] = -1.7e308
    first = rank_examples(rows).examples[0]
    assert first.sample_id == "i39"
    assert math.isfinite(first.score)


@pytest.mark.tools
def test_losses_that_are_mostly_0():
    """Nine in ten losses are exactly 0: the examples of the others stand above them, the largest first."""
    rows = {"sample_id": [], "step": [], "loss": []}
    for step in range(20):
        for name in range(100):
            rows["sample_id"].append(f"{name}")
            rows["step"].append(step)
            rows["loss"].append(float(max(0, name - 89)) * (1 + (name * step) % 3 / 10))
    found = rank_examples(rows)
    assert names(found)[:2] == ["99", "98"]
    assert {one.score for one in found.examples if int(one.sample_id) < 90} == {0.0}


def test_losses_that_are_not_finite_are_counted_apart():
    """NaN and infinities enter no score and no look; an example without any finite loss is not ranked."""
    rows = seen()
    plain = rank_examples(rows)
    broken = joined(
        rows, {"sample_id": ["i39", "i0", "lost"], "epoch": [9] * 3, "step": [9] * 3, "loss": [NAN, INF, -INF]}
    )
    found = rank_examples(broken)
    assert found.not_finite == 3
    assert found.examples == plain.examples


@pytest.mark.tools
def test_missing_columns_are_no_data_set_of_their_own():
    """Rows without run, split, data set and step are ranked, also beside rows that have them."""
    bare = {name: values for name, values in seen().items() if name in ("sample_id", "loss")}
    assert names(rank_examples(bare))[0] == "i39"
    some = joined(seen(), seen(run="a", split="val", dataset="d"))
    found = rank_examples(some)
    assert {(one.run, one.split, one.dataset) for one in found.examples} == {(None, None, ""), ("a", "val", "d")}
    assert [one.examples for one in found.groups] == [40, 40]


@pytest.mark.tools
def test_names_of_numbers_and_texts():
    """Ids that were integers are their texts; the same id in two data sets is two examples."""
    rows = joined(seen(dataset="a"), seen(dataset="b"))
    rows["sample_id"] = [7 if name == "i39" else name for name in rows["sample_id"]]
    found = rank_examples(rows)
    assert {(one.dataset, one.sample_id) for one in found.examples[:2]} == {("a", "7"), ("b", "7")}


@pytest.mark.tools
def test_rows_without_a_name():
    """A path is a name; a row with neither is an example of its own, seen once."""
    rows = seen()
    found = rank_examples({"path": rows["sample_id"], "loss": rows["loss"], "epoch": rows["epoch"]})
    assert (found.examples[0].path, found.examples[0].sample_id, found.examples[0].looks) == ("i39", None, 6)
    lone = rank_examples({"caption": rows["sample_id"], "loss": rows["loss"]}, top_k=1000)
    assert (lone.total, {one.looks for one in lone.examples}) == (240, {1})
    assert lone.examples[0].caption == "i39"
    assert "every example was seen once" in lone.note


def test_runs_and_splits_are_apart_unless_asked():
    """Each has its own scores; together an example has the looks of both. Another run's losses change nothing."""
    quiet, loud = seen(run="a", split="train"), seen(run="b", split="train")
    loud["loss"] = [1000 * loss for loss in loud["loss"]]
    both = joined(quiet, loud)
    alone, found = rank_examples(quiet, top_k=100), rank_examples(both, top_k=100)
    assert [one for one in found.examples if one.run == "a"] == list(alone.examples)
    assert [(one.run, one.split, one.examples) for one in found.groups] == [("a", "train", 40), ("b", "train", 40)]
    together = rank_examples(both, together=True)
    assert {(one.run, one.split, one.looks) for one in together.examples} == {(None, None, 12)}
    assert names(together)[0] == "i39"


def test_filters_choose_the_rows():
    """The same as the rows alone; the caller's connection is as it was."""
    rows = joined(seen(run="a"), seen(run="b", epochs=3))
    with connect(rows) as connection:
        found = rank_examples(connection, filters=Filters(runs="b"))
        assert found.examples == rank_examples(seen(run="b", epochs=3)).examples
        assert connection.execute("SELECT count(*) FROM records").fetchall() == [(360,)]
        left = "SELECT table_name FROM information_schema.tables WHERE table_name LIKE 'rank%'"
        assert connection.execute(left).fetchall() == []


def test_a_pass_that_was_repeated_counts_once():
    """Equal rows of a step are one look, so that a repetition makes nothing sure."""
    once = seen(epochs=3)
    assert rank_examples(joined(once, once, once)).examples == rank_examples(once).examples


def test_a_model_that_does_not_change_is_seen_once():
    """Equal losses under other epochs say nothing new: no reliability of 1, and the note has the reason."""
    same = [seen(epochs=1) | {"epoch": [epoch] * 40, "step": [epoch] * 40} for epoch in range(4)]
    found = rank_examples(joined(*same))
    assert (found.reliability, found.sure, {one.looks for one in found.examples}) == (None, 0, {1})
    assert found.note.startswith("every look at an example has the same loss, so that repeated passes count as one")
    assert names(found)[0] == "i39"


@pytest.mark.tools
def test_draws_of_a_fixed_model_are_looks():
    """Four draws of each example are four looks; the same four again are no more."""
    draws = [seen(epochs=1) | {"draw": [draw] * 40} for draw in range(4)]
    for number, draw in enumerate(draws):
        draw["loss"] = [loss + (number * place) % 7 / 50 for place, loss in enumerate(draw["loss"])]
    found = rank_examples(joined(*draws))
    again = [draw | {"epoch": [1] * 40} for draw in draws]
    assert {one.looks for one in found.examples} == {4}
    assert {one.looks for one in rank_examples(joined(*draws, *again)).examples} == {4}


def test_a_step_that_begins_again_in_each_epoch():
    """Losses fall to a tenth per epoch: with steps of their own each, the ranking is that of steps that go on."""
    rows = {"sample_id": [], "epoch": [], "step": [], "loss": []}
    for epoch in range(5):
        for place in range(400):
            name = (place * 7 + epoch * 13) % 400
            rows["sample_id"].append(f"{name}")
            rows["epoch"].append(epoch)
            rows["step"].append(place // 10)
            rows["loss"].append(10.0**-epoch * (1 + (name % 50 == 0) + (name * 31 + epoch * 17) % 100 / 100))
    on = rank_examples(rows | {"step": [e * 40 + s for e, s in zip(rows["epoch"], rows["step"], strict=True)]})
    assert rank_examples(rows).examples == on.examples
    assert {int(name) % 50 for name in names(on)[:8]} == {0}


def test_controls_are_found():
    """How many there are, and how many stand among the first three times as many."""
    rows = seen()
    rows["control"] = [name in ("i39", "i0") for name in rows["sample_id"]]
    found = rank_examples(rows)
    assert (found.controls.count, found.controls.first, found.controls.found) == (2, 6, 1)
    assert [one.sample_id for one in found.examples if one.control] == ["i39", "i0"]


@pytest.mark.tools
def test_what_was_seen_once_does_not_top_by_luck():
    """Of examples that were seen 20 times and others once, with noise alone, none of the latter is first."""
    rows = [
        {"sample_id": f"often {name}", "step": step, "loss": (name * 37 + step * 101) % 89 / 10 + name % 5 / 2}
        for name in range(50)
        for step in range(20)
    ]
    rows += [{"sample_id": f"once {n}", "step": n % 20, "loss": n * 1.2} for n in range(10)]
    assert all(name.startswith("often") for name in names(rank_examples(rows))[:5])


@pytest.mark.tools
def test_data_sets_of_other_levels():
    """Each is ranked by itself, its level is shown; one of few rows is compared with all."""
    hard, easy = seen(dataset="hard"), seen(dataset="easy")
    hard["loss"] = [loss + 50 for loss in hard["loss"]]
    few = {"sample_id": ["s", "t"], "dataset": ["few"] * 2, "epoch": [0, 0], "step": [0, 0], "loss": [500.0, 1.0]}
    found = rank_examples(joined(hard, easy, few))
    assert [one.dataset for one in found.datasets] == ["few", "hard", "easy"]
    assert [one.examples for one in found.datasets] == [2, 40, 40]
    top = {(one.dataset, one.sample_id) for one in found.examples[:3]}
    assert {("hard", "i39"), ("easy", "i39")} <= top
    assert next(one.score for one in found.examples if one.sample_id == "s") > 1


def test_dropped_captions_are_compared_with_their_like():
    """Rows without the caption lose 30 more: no example is hard because its caption was dropped more often."""
    rows = seen(epochs=12)
    rows["unconditional"] = [
        (number * 11 + epoch * 5) % 10 < 1 + (number % 10 == 3)
        for number, epoch in zip((int(name[1:]) for name in rows["sample_id"]), rows["epoch"], strict=True)
    ]
    plain = {one.sample_id: one.score for one in rank_examples(rows).examples}
    rows["loss"] = [loss + 30 * bare for loss, bare in zip(rows["loss"], rows["unconditional"], strict=True)]
    assert {one.sample_id: one.score for one in rank_examples(rows).examples} == pytest.approx(plain, abs=1e-5)


def test_messages():
    """A top_k out of range, a filter that fits nothing, and too little memory."""
    with pytest.raises(InputError, match="top_k must be an integer from 0 to 100000, got -1"):
        rank_examples(seen(), top_k=-1)
    with pytest.raises(InputError, match="no row is of run 'z'"):
        rank_examples(seen(run="a"), filters=Filters(runs="z"))
    with pytest.raises(InputError, match="memory_limit must be text such as '1GB'"):
        rank_examples(seen(), memory_limit="much")
    with pytest.raises(RecordsError, match="does not exist; check the path"):
        rank_examples("/nowhere")
