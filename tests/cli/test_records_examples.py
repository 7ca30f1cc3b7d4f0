"""`lossreg records`: several runs, the filters of all commands, `worst` and `compare`."""

import csv
import io
import json
import os
import re

import pytest
import typer
from typer.testing import CliRunner

pytest.importorskip("duckdb", reason="duckdb is not installed, so there are no records")
pytest.importorskip("numpy", reason="numpy is not installed, so there are no records")
pytest.importorskip("PIL", reason="pillow is not installed, so there are no pictures")

from lossreg.cli import records as commands
from lossreg.errors import LossregError
from lossreg.records import Filters, RecordWriter, aggregate_by_run, compare_runs, flag_bad_captions, rank_examples

from ..records.tolerance import same

SURE = "surely among the hardest 5 %"
NAMES = [f"e{number:02d}" for number in range(60)]


def losses(epoch, hard, scale):
    """Sixty examples that differ by chance-like amounts; the hard ones lose eight times as much."""
    return [
        scale * (8.0 if number in hard else 1.0) * (1 + (number * 37 + epoch * 11) % 23 / 23) / (1 + epoch)
        for number in range(60)
    ]


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """Two runs of four epochs, one of them validated. Example e07 is hard in both, e11 in the second alone."""
    folder = tmp_path_factory.mktemp("records")
    for run, hard, scale in (("a", {7}, 1.0), ("b", {7, 11}, 0.5)):
        with RecordWriter(folder, run=run) as writer:
            for epoch in range(4):
                more = {"step": epoch, "epoch": epoch, "dataset": ["street", "sea"] * 30}
                more |= {"control": [name == "e07" for name in NAMES], "columns": {"bucket": ["w", "t", "t"] * 20}}
                writer.add(losses(epoch, hard, scale), sample_ids=NAMES, split="train", caption="=1+1", **more)
            if run == "a":
                writer.add([9.0, 10.0], sample_ids=NAMES[:2], split="val", step=4, epoch=3)
    return folder


@pytest.fixture(scope="module")
def ranking(shards):
    """Rank all examples once."""
    return rank_examples(shards, top_k=1000)


@pytest.fixture
def run():
    """Return a function that runs a command, and raises its error."""

    def command(*arguments):
        app = typer.Typer()
        app.callback()(lambda: None)
        commands.add_to(app)
        done = CliRunner().invoke(app, ["records", *map(str, arguments)])
        if isinstance(done.exception, LossregError):
            raise done.exception
        assert done.exit_code == 0, done.output
        return done.output

    return command


def test_summary_has_a_block_for_each_run_and_split(run, shards):
    """The last line names how to choose and how to sum; the sum has one block, without it."""
    lines = run("summary", shards).splitlines()
    assert [line for line in lines if line.startswith("run ")] == [
        "run a, split train",
        "run a, split val",
        "run b, split train",
    ]
    assert lines[-1] == "3 runs and splits, each by itself; choose by --run and --split, or sum them by --together"
    rows = [line.split()[1] for line in lines if line.startswith("all ")]
    assert rows == ["240", "2", "240"]
    lines = run("summary", shards, "--together").splitlines()
    assert [line.split()[1] for line in lines if line.startswith("all ")] == ["482"]
    assert not [line for line in lines if "each by itself" in line or line.startswith("run ")]


def test_json_has_each_run(run, shards):
    """In a list, as aggregate_by_run gives them with the ranking of each; one run has the keys of before."""
    found = json.loads(run("summary", shards, "--json", "--top-k", 1))
    assert list(found) == ["runs", "left_out"]
    rankings = [one.pop("ranking") for one in found["runs"]]
    aggregates = aggregate_by_run(shards, top_k=1)
    heads = [one.pop("ranking") for one in aggregates]
    assert heads == [{name: ranking[name] for name in ("reliability", "sure", "note")} for ranking in rankings]
    assert same(found["runs"], aggregates, 100)
    assert [one["examples"][0]["sample_id"] for one in rankings] == ["e07", "e01", "e07"]
    assert [len(one["examples"]) for one in rankings] == [1, 1, 1]
    one = json.loads(run("summary", shards, "--json", "--run", "b"))
    assert list(one) == ["run", "split", "overall", "datasets", "ranking", "left_out"]
    assert (one["run"], one["split"], one["overall"]["count"]) == ("b", "train", 240)
    together = json.loads(run("summary", shards, "--json", "--together"))
    assert (together["run"], together["overall"]["count"]) == (None, 482)


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (["--run", "a"], 242),
        (["--run", "a", "--run", "b"], 482),
        (["--split", "val"], 2),
        (["--dataset", "sea"], 240),
        (["--epochs", "1-2"], 240),
        (["--epochs", ":0"], 120),
        (["--steps", "4"], 2),
        (["--where", "bucket=w"], 160),
        (["--where", "bucket=w", "--where", "bucket=t"], 480),
        (["--where", "loss<9.5", "--split", "val"], 1),
    ],
)
def test_filters_choose_rows(run, shards, tmp_path, options, count):
    """Each option, as in Filters."""
    run("export", shards, "--csv", tmp_path / "x.csv", *options)
    assert len((tmp_path / "x.csv").read_text().splitlines()) == 1 + count


@pytest.mark.tools  # over a second: it runs every command
def test_every_command_has_the_filters(run, shards, tmp_path):
    """They change what each of them gives."""
    row = ["--run", "b", "--epochs", "0", "--where", "sample_id=e03"]
    filters = Filters(runs="b", epochs=0, where="sample_id=e03")
    assert json.loads(run("worst", shards, "--json", *row))["total"] == 1
    assert same(json.loads(run("flag", shards, "--json", *row)), flag_bad_captions(shards, filters=filters), 100)
    assert json.loads(run("compare", "0", "1:", shards, "--json", "--by", "epochs", *row[:2], *row[4:]))["both"] == 1
    run("export", shards, "--csv", tmp_path / "x.csv", "--json", tmp_path / "x.json", *row)
    assert len((tmp_path / "x.csv").read_text().splitlines()) == 2
    assert [item["sample_id"] for item in json.loads((tmp_path / "x.json").read_text())["items"]] == ["e03"]
    run("report", shards, "--out", tmp_path / "x.html", *row)
    page = (tmp_path / "x.html").read_text(encoding="utf-8")
    assert "e03" in page
    assert "e04" not in page


@pytest.mark.parametrize("command", ["summary", "worst", "flag", "report", "export"])
def test_what_cannot_be_filtered_is_an_error(run, shards, tmp_path, command):
    """With the names that there are; nothing is written."""
    more = {"export": ["--csv", tmp_path / "x"], "report": ["--out", tmp_path / "x"]}.get(command, [])
    with pytest.raises(LossregError, match=r"^runs: no row is of run 'c'; the runs are 'a', 'b'$"):
        run(command, shards, "--run", "c", *more)
    with pytest.raises(LossregError, match=r"^where: no column is called 'bucktet'; did you mean 'bucket'\?$"):
        run(command, shards, "--where", "bucktet=w", *more)
    assert list(tmp_path.iterdir()) == []


def test_worst_is_the_order_of_the_ranking(run, shards, ranking):
    """With how sure it is, the controls, and the numbers and verdict of each example."""
    found, lines = ranking, run("worst", shards).splitlines()
    assert lines[0] == (
        f"reliability {found.reliability:.2f}: the share of the differences between examples that is not chance"
    )
    assert lines[1] == f"{found.sure} of 122 examples are surely among the hardest 5 %"
    assert lines[2] == "2 of 2 controls stand among the first 6 examples"
    assert lines[3] == f"note: {found.note}"
    assert lines[5].split() == ["score", "error", "looks", "mean", "example"]
    for line, one in zip(lines[6:26], found.examples, strict=False):
        error = "-" if one.error is None else f"{one.error:.2f}"
        assert line.split()[:4] == [f"{one.score:.2f}", error, f"{one.looks}", f"{one.mean:.4g}"]
        assert f"  {one.sample_id}  {one.run}  {one.split}" in line
        assert ("surely" in line) == (one.verdict == SURE)
        assert ("(control)" in line) == (one.sample_id == "e07")
    assert lines[-1] == "and 102 more; --limit 122 lists them"


def test_worst_lists_no_more_than_fit_into_memory(run, shards, monkeypatch):
    """The last line does not promise all, where the limit is below them."""
    monkeypatch.setattr("lossreg.cli.records.worst.MOST", 50)
    assert run("worst", shards, "--limit", 1).splitlines()[-1] == "and 121 more; --limit 50 lists the first of them"


def test_worst_of_one_run_does_not_repeat_its_name(run, shards):
    """Nor that of its split; together, examples are of all runs."""
    first = run("worst", shards, "--run", "b", "--limit", 1).splitlines()[-3]
    assert re.search(r"surely \(control\)  e07  sea  =1\+1$", first)
    found = json.loads(run("worst", shards, "--together", "--json"))
    assert found["total"] == 62  # e00 and e01 in another data set when they were validated
    assert found["examples"][0]["run"] is None


def test_worst_surely(run, shards, ranking):
    """All that are surely among the hardest 5 %, or as many as the limit; no others."""
    found = [one for one in ranking.examples if one.verdict == SURE]
    assert len(found) >= 2
    listed = json.loads(run("worst", shards, "--surely", "--json"))
    assert [(one["run"], one["sample_id"]) for one in listed["examples"]] == [(one.run, one.sample_id) for one in found]
    lines = run("worst", shards, "--surely", "--limit", 1).splitlines()
    assert lines[-1] == f"and {len(found) - 1} more; --limit {len(found)} lists them"
    assert len(lines) == 6 + 1 + 2


def test_worst_as_csv(run, shards, ranking, tmp_path):
    """One example a line, its id first; to a file whose path is printed, or to the terminal. Nothing is computed."""
    out = tmp_path / "x.csv"
    assert run("worst", shards, "--csv", "--limit", 3, "--out", out) == f"{out}\n"
    text = out.read_text(encoding="utf-8")
    header, *rows = csv.reader(io.StringIO(text), strict=True)
    assert header == [
        *("sample_id", "path", "dataset", "run", "split", "score", "error", "looks", "mean", "verdict", "control"),
    ]
    for row, one in zip(rows, ranking.examples[:3], strict=True):
        assert row[:5] == [one.sample_id, "", one.dataset, one.run, one.split]
        assert [float(cell) for cell in row[5:9]] == pytest.approx([one.score, one.error, one.looks, one.mean])
        assert row[9:] == [one.verdict, str(one.control)]
    with RecordWriter(tmp_path / "records") as writer:
        writer.add([1.0], sample_ids=["=1+1"])
    assert "\n'=1+1,," in run("worst", tmp_path / "records", "--csv")
    assert "\n=1+1,," in run("worst", tmp_path / "records", "--csv", "--formulas")


def test_worst_as_json(run, shards, ranking, tmp_path):
    """The whole ranking, with as many examples as the limit."""
    out = tmp_path / "x.json"
    run("worst", shards, "--json", "--limit", 3, "--out", out)
    found = json.loads(out.read_text(encoding="utf-8"))
    assert (found["reliability"], found["note"], found["sure"]) == (ranking.reliability, ranking.note, ranking.sure)
    assert found["controls"] == {"count": 2, "first": 6, "found": 2}
    assert [one["score"] for one in found["examples"]] == [one.score for one in ranking.examples[:3]]
    assert [one["caption"] for one in found["examples"]] == ["=1+1"] * 3


def test_worst_with_options_that_do_not_go_together(run, shards, tmp_path):
    """The message names what to leave out or to add."""
    with pytest.raises(LossregError, match=r"^the examples are written either as CSV or as JSON: leave out --csv or"):
        run("worst", shards, "--csv", "--json")
    with pytest.raises(LossregError, match=r"^--out writes CSV or JSON: add --csv or --json$"):
        run("worst", shards, "--out", tmp_path / "x")
    with pytest.raises(LossregError, match=r"no/x: cannot be written: No such file or directory$"):
        run("worst", shards, "--csv", "--out", tmp_path / "no" / "x")
    assert list(tmp_path.iterdir()) == []


def test_compare(run, shards):
    """How many examples are in both, the change of the middle, and the examples as compare_runs gives them."""
    found = compare_runs(shards, "a", "b", top_k=3)
    head, middle, _, _, headings, *rows = run("compare", "a", "b", shards, "--top-k", 3).splitlines()
    assert head == "60 examples are in both, 2 in a alone, 0 in b alone"
    before, after, change = (f"{found[f'middle_{key}']:.4g}" for key in ("first", "second", "change"))
    assert middle == f"middle of their mean losses: {before} in a, {after} in b, a change of {change}"
    assert headings.split() == ["change", "error", "a", "b", "example"]
    assert rows[0].split()[4:] == ["e11", "train", "sea", "=1+1"]
    for row, one in zip(rows, found["examples"], strict=True):
        numbers = (one["change"], one["error"], one["score_first"], one["score_second"])
        assert row.split()[:4] == [f"{numbers[0]:+.2f}", *(f"{number:.2f}" for number in numbers[1:])]
    assert same(json.loads(run("compare", "a", "b", shards, "--top-k", 3, "--json")), found, 100)


def test_repeated_rows_are_counted(run, tmp_path):
    """By run, in the text and in both kinds of JSON: a resumed run did steps 1 and 2 again."""
    for steps in (range(3), range(1, 4)):
        with RecordWriter(tmp_path / "records", run="r") as writer:
            for step in steps:
                writer.add([1.0, 2.0], sample_ids=["x", "y"], step=step)
    assert run("summary", tmp_path / "records").splitlines()[-1] == "run r: 4 rows left out as repeated"
    assert json.loads(run("summary", tmp_path / "records", "--json"))["left_out"] == {"r": 4}
    run("export", tmp_path / "records", "--json", tmp_path / "x.json")
    assert json.loads((tmp_path / "x.json").read_text())["left_out"] == {"r": 4}


def test_options_of_export(run, shards, tmp_path):
    """--formulas is of the CSV; --top-k and --together are of the JSON."""
    run("export", shards, "--csv", tmp_path / "x.csv", "--formulas")
    assert ",=1+1," in (tmp_path / "x.csv").read_text()
    run("export", shards, "--csv", tmp_path / "x.csv")
    assert ",'=1+1," in (tmp_path / "x.csv").read_text()
    run("export", shards, "--json", tmp_path / "x.json", "--together", "--top-k", 2)
    found = json.loads((tmp_path / "x.json").read_text())
    assert (len(found["items"]), len(found["overall"]["highest"])) == (62, 2)
    run("export", shards, "--json", tmp_path / "x.json")
    found = json.loads((tmp_path / "x.json").read_text())
    assert (len(found["items"]), len(found["runs"])) == (122, 3)


@pytest.mark.parametrize("command", ["worst", "compare a b", "flag"])
def test_a_limit_of_memory_is_read(run, shards, command):
    """By the other commands as well."""
    with pytest.raises(LossregError, match=r"^memory_limit must be text such as '1GB', got 'much'$"):
        run(*command.split(), shards, "--memory-limit", "much")


def test_a_terminal_of_60_columns(run, shards, monkeypatch):
    """Words are wrapped and names are cut, never numbers."""
    monkeypatch.setattr("shutil.get_terminal_size", lambda *_: os.terminal_size((60, 24)))
    monkeypatch.setattr("lossreg.cli.records.shown.is_terminal", lambda: True)
    lines = run("worst", shards, "--run", "b", "--limit", 3).splitlines()
    assert max(map(len, lines)) <= 60
    assert lines[:2] == [
        "reliability " + lines[0].split()[1] + " the share of the differences between",
        "examples that is not chance",
    ]
    wide = run("summary", shards, "--run", "b").splitlines()
    assert wide[0].split()[-1] == "maximum"
