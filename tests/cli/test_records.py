"""`lossreg records`: summary, flag, export and report of a directory of shards."""

import builtins
import csv
import json
import math
import sys
from dataclasses import asdict

import pytest
import typer
from typer.testing import CliRunner

pytest.importorskip("duckdb", reason="duckdb is not installed, so there are no records")
pytest.importorskip("numpy", reason="numpy is not installed, so there are no records")
pytest.importorskip("PIL", reason="pillow is not installed, so there are no pictures")

from lossreg import cli
from lossreg.cli import records as commands
from lossreg.records import flag_bad_captions, rank_examples
from lossreg.records.row_validation import columns
from lossreg.records.shards import write_shard

ESCAPE = "\x1b[31mred"


@pytest.fixture
def shards(tmp_path):
    """Write four rows of two datasets, one of them NaN, and a caption that would colour a terminal."""
    folder = tmp_path / "records"
    folder.mkdir()
    found = {
        "dataset": ["cats", "cats", "dogs", "dogs"],
        "sample_id": ["a", "b", "c", "d"],
        "path": ["a.png", "b.png", "c.png", "d.png"],
        "caption": ["a cat on a mat", ESCAPE, "", "a dog in the fog"],
        "loss": [0.25, 0.75, 2.0, math.nan],
        "step": [1, 2, 3, 4],
    }
    write_shard(folder, "night.rank00000.00aa.000000.parquet", columns(found))
    return folder


@pytest.fixture
def run():
    """Return a function that runs a command."""

    def command(*arguments):
        app = typer.Typer()
        app.callback()(lambda: None)
        commands.add_to(app)
        return CliRunner().invoke(app, ["records", *map(str, arguments)])

    return command


@pytest.fixture
def lossreg(monkeypatch, capsys):
    """Return a function that runs the whole command line; it returns exit code, output and errors."""

    def command(*arguments):
        monkeypatch.setattr(sys, "argv", ["lossreg", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        return left.value.code or 0, *capsys.readouterr()

    return command


def test_the_commands_are_there(lossreg):
    """As one group of the command line."""
    code, out, _ = lossreg("records", "--help")
    assert code == 0
    assert all(name in out for name in ("summary", "worst", "compare", "flag", "export", "report"))


def test_summary(run, shards):
    """A line for each dataset and one for all, aligned; how sure the ranking is; then the examples, worst first."""
    done = run("summary", shards)
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert lines[0].split() == ["dataset", "rows", "items", "NaN", "infinite", "mean", "median", "minimum", "maximum"]
    assert lines[1].split() == ["cats", "2", "2", "0", "0", "0.5", "0.5", "0.25", "0.75"]
    assert lines[2].split() == ["dogs", "1", "2", "1", "0", "2", "2", "2", "2"]
    assert lines[3].split() == ["all", "3", "4", "1", "0", "1", "0.75", "0.25", "2"]
    assert len({len(line) for line in lines[:4]}) == 1
    assert lines[5] == "reliability -: the share of the differences between examples that is not chance"
    assert lines[6] == "0 of 3 examples are surely among the hardest 5 %"
    assert lines[7].startswith("note: every example was seen once")
    at = lines.index("lose more than their contemporaries")
    assert lines[at + 1].split() == ["score", "error", "looks", "mean", "example"]
    found = rank_examples(shards)
    for line, one in zip(lines[at + 2 : at + 5], found.examples, strict=True):
        assert line.split()[:4] == [f"{one.score:.2f}", "-", "1", f"{one.mean:.4g}"]
        assert f"  {one.sample_id}  {one.dataset}" in line
    at = lines.index("lose less than their contemporaries")
    assert lines[at + 1].split() == ["score", "mean", "example"]
    lowest = [[f"{one.score:.2f}", f"{one.mean:.4g}", one.sample_id, one.dataset] for one in reversed(found.examples)]
    assert [line.split()[:4] for line in lines[at + 2 : at + 5]] == lowest


def test_text_from_data_cannot_control_the_terminal(run, shards):
    """Escape sequences of a caption are printed as question marks."""
    for name in ("summary", "flag"):
        assert "\x1b" not in run(name, shards).output
    assert "?[31mred" in run("summary", shards).output


def test_long_text_is_cut(run, tmp_path):
    """One caption does not fill the terminal; JSON contains it in full."""
    write_shard(tmp_path, "a.parquet", columns({"loss": [1.0], "sample_id": ["a"], "caption": ["x" * 5000]}))
    assert max(map(len, run("summary", tmp_path).output.splitlines())) < 200
    assert "x" * 5000 in run("summary", tmp_path, "--json").output


def test_summary_as_json(run, shards):
    """Plain data, with --top-k examples."""
    found = json.loads(run("summary", shards, "--json", "--top-k", "1").output)
    assert found["overall"]["mean"] == 1.0
    assert found["datasets"]["dogs"]["nan"] == 1
    assert [item["sample_id"] for item in found["overall"]["highest"]] == ["c"]
    assert found["overall"]["highest"][0]["path"] == "c.png"
    assert found["ranking"] == json.loads(json.dumps(asdict(rank_examples(shards, top_k=1))))
    assert (found["run"], found["split"], found["left_out"]) == (None, None, {})


def test_flag(run, shards):
    """Rules with their counts and examples."""
    done = run("flag", shards)
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert lines[0] == "4 captions judged"
    at = lines.index("empty  1")
    (flagged,) = flag_bad_captions(shards)["rules"]["empty"]["examples"]
    assert lines[at + 1].split() == ["score", "loss", "example"]
    assert lines[at + 2].split() == [f"{flagged['score']:.2f}", "2", "c", "dogs"]
    assert json.loads(run("flag", shards, "--json").output)["rules"]["empty"]["count"] == 1


def test_export(run, shards, tmp_path):
    """Both files in one call; their paths are printed."""
    done = run("export", shards, "--csv", tmp_path / "rows.csv", "--json", tmp_path / "rows.json")
    assert done.exit_code == 0, done.output
    assert done.output.split() == [str(tmp_path / "rows.csv"), str(tmp_path / "rows.json")]
    with (tmp_path / "rows.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:6] == ["path", "dataset", "caption", "loss", "sample_id", "step"]
    assert {(row["path"], row["dataset"]) for row in rows} >= {("a.png", "cats"), ("c.png", "dogs")}
    text = (tmp_path / "rows.json").read_text(encoding="utf-8")
    found = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert found["overall"]["mean"] == 1.0
    assert [item["sample_id"] for item in found["items"]] == ["a", "b", "c", "d"]


def test_export_to_nothing_is_an_error(lossreg, shards):
    """The message names the options."""
    code, _, err = lossreg("records", "export", shards)
    assert (code, err) == (1, "lossreg: nothing to write: add --csv FILE, --json FILE or both\n")


def test_report(run, shards, tmp_path):
    """Beside the shards, or at --out; the path is printed."""
    done = run("report", shards)
    assert done.output == f"{shards / 'report.html'}\n"
    assert "Loss records: records" in (shards / "report.html").read_text(encoding="utf-8")
    out = tmp_path / "other.html"
    assert run("report", shards, "--out", out, "--title", "Night", "--top-k", 2).output == f"{out}\n"
    assert "<title>Night</title>" in out.read_text(encoding="utf-8")


def test_a_report_has_targets_and_predictions_over_images(run, shards, tmp_path):
    """By the templates of the options, in the folder of the images."""
    from PIL import Image

    for name in ("a.png", "a-target.png", "a-guess.png"):
        Image.new("L", (8, 8), 255).save(tmp_path / name)
    run(
        "report", shards, "--images", tmp_path, "--target-path", "{stem}-target.png", "--prediction", "{stem}-guess.png"
    )
    page = (shards / "report.html").read_text(encoding="utf-8")
    for layer in ("image", "target", "prediction"):
        assert f'<img class="{layer}" src="data:image' in page
    run("report", shards, "--images", tmp_path)
    assert '<img class="target"' not in (shards / "report.html").read_text(encoding="utf-8")


def test_the_shards_of_a_folder_below_are_named(lossreg, shards):
    """Where the directory has none; following the message leads to a result."""
    code, _, err = lossreg("records", "summary", shards.parent)
    assert code == 1
    assert err == f"lossreg: {shards.parent}: contains no *.parquet; did you mean {shards}?\n"
    assert lossreg("records", "summary", shards)[0] == 0
    for number in range(5):
        (shards.parent / f"z{number}").mkdir()
        write_shard(shards.parent / f"z{number}", "a.parquet", columns({"loss": [1.0]}))
    below = " or ".join([str(shards), *(str(shards.parent / f"z{number}") for number in range(3))])
    assert f"did you mean {below} or one of 2 more?\n" in lossreg("records", "report", shards.parent)[2]


@pytest.mark.parametrize("name", ["summary", "worst", "flag", "report"])
def test_a_directory_without_shards_is_an_error_of_one_line(lossreg, tmp_path, name):
    """If it is empty or missing; nothing is written."""
    for folder, reason in ((tmp_path, "contains no *.parquet"), (tmp_path / "missing", "does not exist")):
        code, out, err = lossreg("records", name, folder)
        assert (code, out) == (1, "")
        assert err.startswith(f"lossreg: {folder}: ")
        assert reason in err
        assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_page_that_cannot_be_written_is_an_error(lossreg, shards):
    """The message names the missing folder."""
    code, _, err = lossreg("records", "report", shards, "--out", shards / "no" / "page.html")
    assert code == 1
    assert err == f"lossreg: {shards / 'no' / 'page.html'} cannot be written: name a file in a directory that exists\n"


def test_an_invalid_memory_limit_is_an_error(lossreg, shards):
    """The message contains the value and an allowed one."""
    code, _, err = lossreg("records", "summary", shards, "--memory-limit", "much")
    assert code == 1
    assert "'1GB'" in err
    assert "'much'" in err


@pytest.mark.parametrize("name", ["summary", "worst", "flag", "report"])
def test_little_memory_suffices(run, shards, name):
    """For few rows."""
    assert run(name, shards, "--memory-limit", "200MB").exit_code == 0


@pytest.mark.parametrize("name", ["summary", "worst", "flag", "report", "export"])
def test_without_the_extra_one_line_names_it(lossreg, shards, tmp_path, monkeypatch, name):
    """Before anything of the extra is imported."""
    from importlib import util

    find = util.find_spec
    monkeypatch.setattr("lossreg.messages.find_spec", lambda package: None if package == "duckdb" else find(package))
    more = ["--csv", tmp_path / "rows.csv"] if name == "export" else []
    code, out, err = lossreg("records", name, shards, *more)
    assert (code, out) == (1, "")
    assert err == "lossreg: records: duckdb is not installed; pip install 'lossreg[records]'\n"


def test_the_command_line_starts_without_duckdb(lossreg, monkeypatch):
    """It is imported when a command runs, not when commands are listed."""
    for module in [name for name in sys.modules if name == "lossreg.cli.hook" or name.startswith("lossreg.records.")]:
        monkeypatch.delitem(sys.modules, module)
    import_ = builtins.__import__

    def refuse(name, *arguments, **more):
        assert name.partition(".")[0] not in ("duckdb", "PIL")
        return import_(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    assert lossreg("records", "--help")[0] == 0


def test_long_names_and_none(run, tmp_path):
    """A name of 5,000 characters is cut; an example without a name is printed as such."""
    found = {"loss": [1.0, 2.0], "dataset": ["d" * 5000, None], "caption": [None, "a cat"]}
    write_shard(tmp_path, "x.parquet", columns(found))
    done = run("summary", tmp_path)
    assert max(map(len, done.output.splitlines())) < 300
    assert "d" * 99 + "\u2026" in done.output
    lines = done.output.splitlines()
    at = lines.index("lose less than their contemporaries")
    assert lines[at + 3].split()[1:] == ["2", "(without", "a", "name)", "a", "cat"]
