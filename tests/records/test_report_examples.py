"""The lists of a report: their examples, and the numbers beside them."""

import random

import pytest

pytest.importorskip("duckdb", reason="duckdb is not installed, so there are no records")
pytest.importorskip("numpy", reason="numpy is not installed, so there are no records")
pytest.importorskip("PIL.Image", reason="pillow is not installed, so there are no pictures")

from lossreg.records import Filters, rank_examples, write_report

from .read_page import Page

SURE, UNSURE = "surely among the hardest 5 %", "high, but not seen enough"


def rows_of(*, examples=80, epochs=6, hard=(), noise=0.2, **more):
    """Losses that fall with the epochs; examples in `hard` lose four times as much. Two data sets, b twice as hard."""
    drawn = random.Random(3)
    rows = []
    for epoch in range(epochs):
        for place, number in enumerate(drawn.sample(range(examples), examples)):
            size = 0.95**epoch * (4 if number in hard else 1) * (1 + number % 2)
            loss = size * drawn.lognormvariate(0, noise)
            row = {"step": examples * epoch + place, "epoch": epoch, "dataset": "ab"[number % 2], "loss": loss}
            rows.append(row | {"sample_id": f"s{number}", "control": number in hard[:1]} | more)
    return rows


def read(rows, tmp_path, **options):
    return Page(write_report(rows, tmp_path / "report.html", **options).read_text(encoding="utf-8"))


def names(page, place):
    return [row["Example"].removesuffix(" control") for row in page.tables.get(place, [])]


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """Rows with three hard examples, their page, and their ranking."""
    rows = rows_of(hard=(5, 20, 33), noise=0.1)
    page = read(rows, tmp_path_factory.mktemp("seen"), top_k=10)
    return rows, page, rank_examples(rows, top_k=80)


def test_the_lists_are_those_of_the_ranking(seen):
    """The three hard examples are named; every list is in the order of the scores, and no example is in two."""
    _, page, ranking = seen
    assert set(names(page, "sure")) == {"s5", "s20", "s33"}
    for place, verdict in (("sure", SURE), ("unsure", UNSURE), ("next", "")):
        wanted = [e.sample_id for e in ranking.examples if e.verdict == verdict][:10]
        assert names(page, place) == wanted
    lowest = [e.sample_id for e in reversed(ranking.examples)][:10]
    assert names(page, "lowest") == lowest


def test_a_row_has_the_numbers_of_its_example(seen):
    """Score and error, looks, deviation and the plain mean of its losses; the control is marked, and it alone."""
    rows, page, ranking = seen
    by_name = {example.sample_id: example for example in ranking.examples}
    for row in page.tables["sure"]:
        name = row["Example"].removesuffix(" control")
        example = by_name[name]
        losses = [each["loss"] for each in rows if each["sample_id"] == name]
        assert row["Score"] == f"{example.score:.2f} ± {example.error:.2f}"
        assert (row["Looks"], row["Deviation"]) == ("6", f"{example.deviation:.2f}")
        assert float(row["Mean loss"]) == pytest.approx(sum(losses) / 6, abs=1e-3)
        assert row["Dataset"] == example.dataset
        assert row["Example"].endswith("control") == (name == "s5")


def test_reliability_comes_first(seen):
    """Its number, in words, and the counts: before any list."""
    _, page, ranking = seen
    assert ranking.reliability > 0.8
    words = page.one("p", "verdict")
    assert words["text"] == f"{ranking.reliability:.2f} reliability: the order is mostly real"
    assert page.figures["Examples"] == "80"
    assert page.figures["Surely among the hardest 5 %"] == "3"
    assert page.figures["Controls among the first 3"] == "1 of 1"
    assert page.elements.index(words) < page.elements.index(page.all("table")[0])


def test_ids_are_there_to_copy(seen):
    """Those of each list, one a line, as they are in the records."""
    _, page, _ = seen
    listed = {each["aria-label"]: each["text"].split() for each in page.all("textarea")}
    assert listed["Ids of the surely hardest"] == names(page, "sure")
    assert listed["Ids of the next"] == names(page, "next")


def test_datasets_have_their_own_level(seen):
    """Data set b loses twice as much as a: its level is above, though the scores of examples are within each."""
    _, page, ranking = seen
    levels = {row["Dataset"]: row for row in page.tables["datasets"]}
    assert float(levels["b"]["Level"]) > 0 > float(levels["a"]["Level"])
    assert {name: row["Sure"] for name, row in levels.items()} == {"a": "1", "b": "2"}
    assert {each.dataset: f"{each.level:.2f}" for each in ranking.datasets} == {
        name: row["Level"] for name, row in levels.items()
    }


def test_every_listed_example_has_its_curve(seen):
    """Beside the middle of all."""
    _, page, _ = seen
    curves = page.all("svg", "curve")
    assert len(curves) == sum(len(page.tables.get(place, [])) for place in ("sure", "unsure", "next", "lowest"))
    assert [each["class"] for each in page.all("path") if each.get("class") in ("own", "all")] == ["all", "own"] * len(
        curves
    )


def test_a_curve_is_of_its_own_losses(tmp_path):
    """Its words give the first and the last of them, and it falls where they do."""
    rows = [
        {"sample_id": name, "step": 100 * epoch, "epoch": epoch, "loss": loss}
        for name, losses in {"down": (8.0, 4.0, 2.0), "up": (1.0, 2.0, 3.0), "flat": (1.5, 1.5, 1.5)}.items()
        for epoch, loss in enumerate(losses)
    ]
    page = read(rows, tmp_path)
    words = {
        row["Example"]: row["Loss over steps"] for place in ("unsure", "next") for row in page.tables.get(place, [])
    }
    assert words["down"] == "step 0: 8.000; step 200: 2.000"
    assert words["up"] == "step 0: 1.000; step 200: 3.000"
    (down,) = [each["d"] for each in page.all("path", "own") if each["d"].startswith("M0 6L")]
    heights = [float(place.split()[1]) for place in down[1:].split("L")]
    assert heights == sorted(heights)
    assert len(heights) == 3


def test_chance_is_called_chance(tmp_path):
    """Losses of nothing but noise: the order is mostly chance, nobody is named, and the page has advice."""
    page = read(rows_of(noise=1.0, epochs=3), tmp_path)
    assert "the order is mostly chance" in page.one("p", "verdict")["text"]
    assert page.tables.get("sure") is None
    assert "condition" in page.one("p", "note")["text"]


def test_examples_seen_once_cannot_be_judged(tmp_path):
    """One epoch: the sentence has the reason, and there is no map."""
    page = read(rows_of(epochs=1, hard=(5,)), tmp_path)
    assert page.one("p", "verdict")["text"] == "how much of the order is chance cannot be told"
    assert "seen once" in page.one("p", "note")["text"]
    assert page.all("figure", "map") == []


def test_runs_stay_apart(tmp_path):
    """Two runs of one split: each has its own statistics, reliability and curves; no number is of both."""
    rows = rows_of(run="first", split="train", hard=(4,)) + [
        row | {"loss": 100 * row["loss"]} for row in rows_of(run="second", split="train", hard=(9,))
    ]
    page = read(rows, tmp_path, top_k=5)
    groups = [(row["Run"], row["Split"], row["Examples"], row["Sure"]) for row in page.tables["reliability"]]
    assert groups == [("first", "train", "80", "1"), ("second", "train", "80", "1")]
    assert {(row["Example"].split()[0], row["Run"]) for row in page.tables["sure"]} == {
        ("s4", "first"),
        ("s9", "second"),
    }
    for row in page.tables["sure"]:
        name, run = row["Example"].split()[0], row["Run"]
        own = next(each for each in rows if (each["sample_id"], each["run"]) == (name, run))
        assert row["Loss over steps"].startswith(f"step {own['step']}: ")
        assert float(row["Loss over steps"].split()[2].rstrip(";").replace(",", "")) == pytest.approx(
            own["loss"], rel=0.01
        )
    means = {row["Run"]: float(row["Mean"].replace(",", "")) for row in page.tables["overview"]}
    assert means["second"] == pytest.approx(100 * means["first"], rel=0.2)
    assert {(row["Dataset"], row["Run"]) for row in page.tables["datasets"]} == {
        ("a", "first"),
        ("b", "first"),
        ("a", "second"),
        ("b", "second"),
    }
    choices = {each["name"] for each in page.all("select")}
    assert choices == {"run", "dataset"}


def test_filters_choose_what_the_page_is_of(tmp_path):
    """One run of two, its first epochs: as if the other rows were not there."""
    rows = rows_of(run="first", hard=(4,)) + rows_of(run="second", hard=(9,))
    page = read(rows, tmp_path, filters=Filters(runs="second", epochs=":3"))
    assert names(page, "sure") == ["s9"]
    assert page.figures["Finite losses"] == str(80 * 4)
    assert page.tables["sure"][0]["Looks"] == "4"


def test_examples_without_an_id_are_named_by_path_or_caption(tmp_path):
    """They have rows like others, and no id to copy."""
    rows = [{"loss": 1.0 + n % 3, "path": f"{n % 9}.png", "step": n, "epoch": n // 9} for n in range(45)]
    rows += [{"loss": 2.0, "caption": "nameless", "step": 50}]
    page = read(rows, tmp_path)
    listed = [name for place in ("unsure", "next") for name in names(page, place)]
    assert "4.png" in listed
    assert "without a namenameless" in listed
    assert page.all("textarea") == [] or all(not each["text"] for each in page.all("textarea"))


def test_rows_left_out_as_repeated_are_counted(tmp_path):
    """Two ranks padded with the same sample: one row of it counts, and the other is counted apart."""
    rows = [
        {"run": "r", "rank": rank, "epoch": 0, "sample_id": name, "loss": 1.0} for rank, name in ((0, "a"), (1, "b"))
    ]
    assert "Rows left out as repeated" not in read(rows, tmp_path).figures
    page = read([*rows, {**rows[0], "rank": 1}], tmp_path)
    assert page.figures["Rows left out as repeated"] == "1"
    assert page.figures["Finite losses"] == "2"
