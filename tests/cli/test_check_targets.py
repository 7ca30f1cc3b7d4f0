"""`lossreg check-targets`: its report, its picture and its exit code."""

import json
import os
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from lossreg.cli import check_targets as targets
from lossreg.cli import docs
from lossreg.errors import LossregError, MissingLibraryError

np = pytest.importorskip("numpy", reason="NumPy is not installed, so no target can be examined")
pytest.importorskip("PIL", reason="Pillow is not installed, so no image can be read")

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Return a function that runs the command in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])

    def command(*arguments):
        app = typer.Typer()
        app.callback()(lambda: None)  # or Typer drops the name of an only command
        targets.add_to(app)
        return CliRunner().invoke(app, ["check-targets", *map(str, arguments)])

    return command


def masks(*ones, value=1):
    """Return masks of 1,000 pixels, with these numbers of pixels of a value."""
    found = np.zeros((len(ones), 20, 50), np.uint8)
    for mask, count in zip(found, ones, strict=True):
        mask.reshape(-1)[:count] = value
    return found


SIX_EMPTY = """\
masks       10
empty       6 (60.0%)
full        1 (10.0%)
shapes      20x50
dtypes      uint8
values      0 to 255
foreground  13.1 % of all pixels
            of masks with foreground: minimum 0.1 %, 5 % 0.535 %, 25 % 2.27 %,
            median 15.5 %, 75 % 46 %, 95 % 89.2 %, maximum 100 %

foreground         masks
empty                  6  ##############################################
to 0.01 %              0
to 0.03 %              0
to 0.1 %               1  ########
to 0.3 %               0
to 1 %                 0
to 3 %                 1  ########
to 10 %                0
to 30 %                1  ########
over 30 %              0
full                   1  ########

value           in masks     of pixels
0                      9        86.9 %
255                    4        13.1 %

warning: 6 of 10 masks (60.0%) are empty: a model may collapse to predicting
    nothing; if annotations are missing, leave these samples out (or
    absent='ignore' in losses that have it); if the samples are really empty,
    sample examples with foreground more often; train with a LossMonitor

warning: the foreground is 255, but losses of masks need 1: divide by 255
"""


def test_a_report(run):
    """1, 30, 280 and 1,000 of 1,000 pixels: quantiles between them are straight lines. Exit 0: it is a warning."""
    np.save("m.npy", masks(0, 0, 0, 0, 0, 0, 1, 30, 280, 1000, value=255))
    result = run("m.npy")
    assert result.exit_code == 0
    assert result.stdout == SIX_EMPTY
    assert result.stderr == ""


def test_a_small_share_has_a_bar(run):
    """One mask of 201 has a bar, too."""
    np.save("m.npy", masks(*[0] * 200, 50))
    assert "\nto 10 %                1  #\n" in run("m.npy").stdout


def test_all_empty_is_exit_1(run):
    """With the report and the remedy."""
    np.save("m.npy", masks(0, 0, 0))
    result = run("m.npy")
    assert result.exit_code == 1
    assert "empty       3 (100.0%)" in result.stdout
    assert "error: all 3 masks are empty" in result.stdout
    assert "check that the annotations" in " ".join(result.stdout.split())


def test_none_readable_is_exit_1_and_some_are_listed(run, tmp_path):
    """The first three by name, then how many more."""
    for number in range(5):
        (tmp_path / f"b{number}.png").write_text("-")
    result = run(".")
    assert result.exit_code == 1
    assert "masks       0, 5 more could not be read\n" in result.stdout
    assert "error: no mask to learn from: none is readable; check the path and the files\n" in result.stdout
    assert "unreadable targets: 5" in result.stdout
    assert "    b0.png: UnidentifiedImageError: " in result.stdout
    assert "    and 2 more\n" in result.stdout
    np.save("m.npy", masks(5))
    result = run(".")
    assert result.exit_code == 0
    assert "masks       1, 5 more could not be read\n" in result.stdout


def test_nothing_is_wider_than_80_columns(run, tmp_path):
    """For any names and shapes, except a single long word."""
    for number in range(1, 30):
        np.save(f"m{number}.npy", np.full((number, number + 1), number, np.uint8))
    (tmp_path / f"{'long ' * 30}.png").write_text("-")
    (tmp_path / "red\x1b[31m.png").write_text("-")
    result = run(".")
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert "\x1b" not in result.stdout
    assert "and 9 more\n" in result.stdout  # values


def test_json_is_one_object(run):
    """With the same exit code, and nothing else on stdout."""
    np.save("m.npy", masks(0, 0, 10))
    result = run("m.npy", "--json")
    found = json.loads(result.stdout)
    assert result.exit_code == 0
    assert (found["masks"], found["empty"], found["foreground"]) == (3, 2, pytest.approx(10 / 3000))
    assert found["values"] == [
        {"value": 0, "masks": 3, "pixels": pytest.approx(2990 / 3000)},
        {"value": 1, "masks": 1, "pixels": pytest.approx(10 / 3000)},
    ]
    assert [each["rule"] for each in found["findings"]] == ["mostly empty"]
    np.save("m.npy", masks(0, 0))
    result = run("m.npy", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["findings"][0]["severity"] == "error"


def test_the_options(run):
    """--ignore-index removes pixels, --limit removes masks."""
    np.save("m.npy", masks(0, 10, 20, 30, value=255))
    found = json.loads(run("m.npy", "--ignore-index", 255, "--limit", 2, "--json").stdout)
    assert (found["masks"], found["empty"], found["maximum"]) == (2, 2, 0)
    assert run("m.npy", "--limit", 0).exit_code == 2


SUGGESTED = """
worth trying first, though none is promised to be the best:
1.  {"name": "bce_dice_focal"}
    pixels and overlap in one: the usual start for masks
2.  {"name": "tversky", "params": {"alpha": 0.3, "beta": 0.7}}
    half of the masks with foreground have at most 0.3 % of it, and a missed
    pixel costs more than a false one here
3.  {"name": "unified_focal"}
    half of the masks with foreground have at most 0.3 % of it, and the easy
    background counts little here
read more:
    https://lossreg.github.io/lossreg/losses.html#which-one
"""


def test_suggestions(run, monkeypatch):
    """At the end of the report, and in JSON; only if wanted, and none beside an error. No site is built here."""
    monkeypatch.delenv("LOSSREG_DOCS", raising=False)
    monkeypatch.setattr(docs, "BUILT", "no/such/folder")
    np.save("m.npy", masks(3, 3, 3))
    result = run("m.npy", "--suggest")
    assert result.exit_code == 0
    assert result.stdout.endswith(SUGGESTED)
    found = json.loads(run("m.npy", "--suggest", "--json").stdout)["suggestions"]
    assert [each["config"]["name"] for each in found] == ["bce_dice_focal", "tversky", "unified_focal"]
    assert set(found[0]) == {"config", "reason", "page"}
    assert found[0]["page"] == "https://lossreg.github.io/lossreg/losses.html#which-one"
    assert "worth trying" not in run("m.npy").stdout
    assert "suggestions" not in json.loads(run("m.npy", "--json").stdout)
    ignored = json.loads(run("m.npy", "--suggest", "--json", "--ignore-index", 7).stdout)["suggestions"]
    assert ignored[0]["config"]["params"] == {"ignore_index": 7}
    np.save("m.npy", masks(0, 0))
    assert run("m.npy", "--suggest").stdout.endswith(
        "no suggestions: they need foreground, and pixels without the errors above\n"
    )
    assert json.loads(run("m.npy", "--suggest", "--json").stdout)["suggestions"] == []


def test_a_picture(run, tmp_path):
    """Beside the text."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed, so nothing can be drawn")
    np.save("m.npy", masks(0, 10, 1000))
    result = run("m.npy", "--png", "m.png")
    assert result.exit_code == 0
    assert (tmp_path / "m.png").read_bytes().startswith(PNG)
    for where, message in {
        "m.svg": "m.svg: expected a file ending in .png, got '.svg'",
        "gone/m.png": "gone/m.png: cannot be written: No such file or directory; choose another --png",
    }.items():
        result = run("m.npy", "--png", where)
        assert isinstance(result.exception, LossregError)
        assert str(result.exception) == message


@pytest.mark.parametrize("content", [masks(0), np.full((1, 4, 4), 0.5), np.arange(60, dtype=np.uint8)[None, None]])
def test_every_report_can_be_drawn(run, content, tmp_path):
    """Without foreground, without whole numbers, with many values."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed, so nothing can be drawn")
    np.save("m.npy", content)
    run("m.npy", "--png", "m.png")
    assert (tmp_path / "m.png").read_bytes().startswith(PNG)


def test_without_matplotlib_the_error_names_the_extra(run, monkeypatch):
    """Before anything is read."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = run("gone", "--png", "m.png")
    assert isinstance(result.exception, MissingLibraryError)
    assert str(result.exception) == ("check-targets --png: matplotlib is not installed; pip install 'lossreg[targets]'")


def test_flags_have_no_histogram(run):
    """A column of flags contains no pixels."""
    duckdb = pytest.importorskip("duckdb", reason="DuckDB is not installed, so no Parquet file can be read")
    duckdb.connect().sql("SELECT i % 4 = 0 AS has_segmentation FROM range(8) r(i)").write_parquet("t.parquet")
    result = run("t.parquet", "--column", "has_segmentation")
    assert result.exit_code == 0
    assert result.stdout.startswith(
        "masks       8, known only as present or absent\nempty       6 (75.0%)\n\nwarning: 6 of 8 rows"
    )


def test_progress_is_for_terminals(monkeypatch, capsys):
    """On stderr, in a line that is erased at the end."""
    assert list(targets._with_progress(iter(range(3)), 3)) == [0, 1, 2]
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert list(targets._with_progress(iter(range(3)), 3)) == [0, 1, 2]
    written = capsys.readouterr().err
    assert "masks" in written
    assert "100%" in written
    assert written.endswith("\x1b[2K")  # erases the line


def test_images_and_workers(run, tmp_path):
    """A size that differs is an error, in any number of threads; the output is the same."""
    Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed, so no image can be read")
    for folder in ("masks", "images"):
        (tmp_path / folder).mkdir()
    for number in range(9):
        Image.fromarray(masks(number + 1)[0]).save(tmp_path / "masks" / f"{number}.png")
        Image.new("RGB", (50, 20 + (number == 4))).save(tmp_path / "images" / f"{number}.jpg")
    outputs = {run("masks", "--images", "images", "--workers", workers).stdout for workers in (0, 1, 3)}
    (output,) = outputs
    assert "error: masks of another size than their image: 1; resize them with nearest" in output
    assert "4.png: 50 x 20, the image 50 x 21" in output
    assert run("masks", "--images", "images").exit_code == 1
    assert "error" not in run("masks").stdout


@pytest.mark.tools
def test_from_the_shell(tmp_path):
    """A dataset of the user's own module in the current directory; an error is one line."""
    (tmp_path / "acme_data.py").write_text(
        "import numpy\ndef masks():\n    return (numpy.zeros((4, 4), 'uint8') for _ in range(3))\n"
    )
    python = [sys.executable, "-c", "from lossreg.cli import main; main()"]
    where = {"capture_output": True, "text": True, "check": False, "cwd": tmp_path}
    # Like the installed script, which has no current directory on its path.
    environment = {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([*python, "check-targets", "acme_data:masks"], **where, env=environment)
    assert done.returncode == 1, done.stderr
    assert "error: all 3 masks are empty" in done.stdout
    done = subprocess.run([*python, "check-targets", "acme_data:mask"], **where, env=environment)
    assert done.returncode == 1
    assert done.stderr == "lossreg: acme_data:mask: unknown name 'mask'; the public names are masks, numpy\n"
