"""The command line: output, errors and exit codes."""

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import typer

import lossreg
from lossreg import cli
from lossreg.cli import hook


@pytest.fixture
def run(monkeypatch, capsys):
    """Return a function that runs a command in this process; it returns exit code, output and errors."""

    def command(*arguments):
        monkeypatch.setattr(sys, "argv", ["lossreg", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        captured = capsys.readouterr()
        return stop.value.code, captured.out, captured.err

    return command


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_list_shows_each_loss_with_provider_summary_and_tags(run):
    """One line a loss, and how many."""
    code, out, _ = run("list")
    assert code == 0
    line = next(line for line in out.splitlines() if line.startswith("jaccard "))
    assert line.split("  ")[0] == "jaccard"
    assert "segmentation" in line
    assert "Overlap as intersection over union." in line
    assert "multiclass" in line
    assert out.splitlines()[-1] == f"{len(lossreg.losses)} losses"


def test_list_by_tags(run):
    """--tag takes an expression."""
    code, out, _ = run("list", "--tag", "sam & calibration & !mixture")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[1:-1]] == ["iou_prediction"]


def test_list_with_a_bad_expression_points_at_the_column(run):
    """Exit 1, with a caret below the column."""
    code, _, err = run("list", "--tag", "sam &")
    assert code == 1
    assert "expected a tag, got the end at column 6" in err
    assert err.splitlines()[-1] == "  " + " " * 5 + "^"


def test_list_is_cut_to_the_terminal_and_not_to_a_pipe(run, monkeypatch):
    """A terminal of 50 columns has lines of at most 50 characters; a pipe has whole lines."""
    monkeypatch.setenv("COLUMNS", "50")
    lines = run("list", "--tag", "sam")[1].splitlines()
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    cut = run("list", "--tag", "sam")[1].splitlines()
    assert max(map(len, lines[:-1])) > 100
    assert cut == [line[:50] for line in lines]


def test_list_as_json(run):
    """--json prints one array for other programs."""
    code, out, _ = run("list", "--json", "--tag", "sam & calibration & !mixture")
    rows = json.loads(out)
    assert code == 0
    assert [row["name"] for row in rows] == ["iou_prediction"]
    assert set(rows[0]) == {"name", "provider", "version", "state", "tags", "summary"}


def test_control_characters_from_packages_do_not_reach_the_terminal(run):
    """A summary cannot move the cursor."""
    with lossreg.losses.scope():
        lossreg.losses.register_lazy("evil", "evil_pkg:Evil", tags=["x"], summary="red \x1b[31m\nnext")
        _, out, _ = run("list", "--tag", "x")
    assert "\x1b" not in out
    assert "red ?[31m?next" in out


def test_show_prints_the_whole_description(run):
    """Formula, parameters with type, default and bounds, shapes, tags, contract, provider and version, target, file."""
    code, out, _ = run("show", "focal_loss")
    assert code == 0
    for text in (
        "segmentation/focal  Cross-entropy with easy pixels down-weighted by (1 - p_t)^gamma.",
        "    loss = -alpha_t (1 - p_t)^gamma log p_t",
        "    gamma = 2.0    a number >= 0",
        "focusing exponent, >= 0, dimensionless. 0 gives cross-entropy.",
        "    input (N, C, *) logits; target (N, *) class index or (N, C, *) masks.",
        "    Lin et al. 2017, eq. 5.",
        "    binary, imbalance, logits, multiclass, multilabel, pixelwise, segmentation",
        "    half_precision: true",
        f"    provider segmentation (lossreg-segmentation {lossreg.__version__})",
        "    aliases focal_loss",
        "    target lossreg_segmentation.pixelwise:Focal",
    ):
        assert text in out
    assert Path(out.splitlines()[-1].removeprefix("    file ")).name == "pixelwise.py"


@pytest.mark.parametrize("found, here", [(False, "not installed"), (True, "installed")])
def test_show_lists_the_implementations(run, monkeypatch, found, here):
    """In the order of preference, with missing packages."""
    monkeypatch.setattr("lossreg.cli.show.is_installed", lambda package: found)
    _, out, _ = run("show", "dice")
    section = out.partition("computed by the first that fits\n")[2].partition("\n\n")[0]
    assert section.splitlines() == [
        f"    triton: cuda tensors, triton is {here}",
        f"    numba: cpu tensors, numba is {here}",
        "    tiled: cpu tensors",
        "    reference: any tensors",
    ]


def test_show_describes_a_loss_without_a_manifest_from_its_class(run, torch):
    """Its docstring and signature replace the manifest."""
    with lossreg.losses.scope():

        @lossreg.losses.register("unmanifested", tags=["odd"])
        class Unmanifested(lossreg.Loss):
            """A loss registered in code.

                loss = k x

            Args:
                k: factor.
            """

            def __init__(self, *, k: float = 3.0) -> None:
                super().__init__()

        _, out, _ = run("show", "unmanifested")
    assert "local/unmanifested  A loss registered in code." in out
    assert "    loss = k x" in out
    assert "    k = 3.0    a number\n        factor." in out
    assert "provider local (registered in code)" in out


def test_show_describes_a_part_that_is_registered_in_code(run, torch):
    """From its class, like a loss without a manifest."""
    with lossreg.parts.scope():

        @lossreg.parts.register("cli_distance", tags=["distance"])
        class Distance(torch.nn.Module):
            """Distance of two vectors."""

            def __init__(self, *, p: float = 2.0) -> None:
                super().__init__()

        code, out, _ = run("show", "cli_distance")
    assert code == 0
    assert out.startswith("local/cli_distance  Distance of two vectors.\n\nparameters\n    p = 2.0    a number\n")


def test_show_of_an_unknown_loss_suggests_a_name(run):
    """Exit 1 and a similar name, without a traceback."""
    code, _, err = run("show", "focl")
    assert code == 1
    assert err == "lossreg: unknown loss 'focl'; did you mean 'focal'?\n"


def test_validate_prints_the_complete_config(run, tmp_path):
    """Exit 0; the output can be used as a config again."""
    file = write(tmp_path / "run.yaml", "training:\n  loss: {name: tversky, params: {beta: 0.7}}\n")
    code, out, err = run("validate", file, "--at", "training.loss")
    assert code == 0
    config = json.loads(out)
    assert config["params"]["beta"] == 0.7
    assert config["params"]["alpha"] == 0.5
    assert err == f"{file}: valid\n"


def test_validate_reports_every_problem_with_its_place_in_the_file(run, tmp_path):
    """Exit 1; paths start at the file's root, and YAML's 1e-6 is explained."""
    text = "loss: {name: weighted_sum, params: {terms: [{name: dice, params: {smooth: 1e-6}}, {nam: bce}]}}\n"
    code, out, err = run("validate", write(tmp_path / "run.yaml", text), "--at", "loss")
    assert code == 1
    assert out == ""
    assert "loss.params.terms[0].params.smooth: expected a number >= 0, got the text '1e-6'" in err
    assert "write 1.0e-6" in err
    assert "loss.params.terms[1].name: missing" in err
    assert "loss.params.terms[1].nam: unknown key; did you mean 'name'?" in err


def test_validate_prints_the_line_of_each_problem_of_several_files(run, tmp_path):
    """Exit 1 if one is invalid; the valid ones are printed."""
    bad = write(tmp_path / "bad.yaml", "training:\n  loss:\n    name: dice\n    params:\n      smoth: 1\n")
    good = write(tmp_path / "good.toml", "[training]\nloss = 'dice'\n")
    none = write(tmp_path / "none.json", '{"training": {"loss": 5}}')
    code, out, err = run("validate", bad, good, none, tmp_path / "absent.json", "--at", "training.loss")
    assert code == 1
    assert json.loads(out)["name"] == "dice"
    assert err.splitlines() == [
        f"{good}: valid",
        "lossreg: invalid loss config: 3 problems",
        f"  {bad}:5: training.loss.params.smoth: unknown parameter; did you mean 'smooth'?",
        f"  {none}: training.loss: expected a loss name or {{name, params}}, got 5",
        f"  {tmp_path}/absent.json: cannot be read: No such file or directory",
    ]
    assert run("validate", good, good, "--at", "training.loss")[0] == 0


@pytest.mark.parametrize(
    ("name", "text", "at", "message"),
    [
        ("a.yaml", "a: [1", "", "is not valid YAML"),
        ("a.json", "{", "", "is not valid JSON"),
        ("a.toml", "=", "", "is not valid TOML"),
        ("a.ini", "", "", "expected a file ending in .json, .toml, .yaml, .yml, got '.ini'"),
        ("a.yaml", "a: {b: 1}", "a.c", "nothing at 'a.c': no 'c'; keys are b"),
    ],
)
def test_validate_of_an_unreadable_file(run, tmp_path, name, text, at, message):
    """Exit 1, with the error in the file."""
    code, _, err = run("validate", write(tmp_path / name, text), "--at", at)
    assert code == 1
    assert message in err


def test_validate_of_a_missing_file(run, tmp_path):
    """Exit 1, with its name."""
    code, _, err = run("validate", tmp_path / "none.yaml")
    assert code == 1
    assert "none.yaml: cannot be read: No such file or directory" in err


def test_schema_prints_json_schema(run):
    """For the named losses only."""
    code, out, _ = run("schema", "dice")
    assert code == 0
    variants = json.loads(out)["$defs"]["loss"]["$defs"]["open"]["else"]["allOf"]
    assert [variant["then"]["title"] for variant in variants] == ["dice"]


@pytest.mark.parametrize("arguments", [["nonsense"], ["show"], ["list", "--nope"], ["manifest", "burn"]])
def test_wrong_usage_is_exit_2(run, arguments):
    """Unknown commands, unknown options and missing arguments have another exit code than invalid configs."""
    code, _, err = run(*arguments)
    assert code == 2
    assert "Usage:" in err


def test_each_command_has_a_file_of_its_name():
    """`lossreg check-targets` is cli/check_targets.py, a group is a folder; there are two files that commands share."""
    later = typer.Typer()
    hook.lossreg_cli(later)
    apps = (cli.app, later)
    commands = {command.name for app in apps for command in app.registered_commands}
    groups = {group.name for app in apps for group in app.registered_groups}
    room = Path(cli.__file__).parent
    files = {path.stem for path in room.glob("*.py")} - {"__init__", "columns", "hook"}
    files |= {path.parent.name for path in room.glob("*/__init__.py")}
    assert files == {name.replace("-", "_") for name in commands | groups}


def test_the_version(run):
    """--version prints it and nothing else."""
    assert run("--version") == (0, f"{lossreg.__version__}\n", "")


def test_manifest_build_and_check(run, tmp_path, monkeypatch, torch):
    """Build writes the file and prints how to declare it; check passes, or fails with the difference."""
    package = tmp_path / "cli_acme"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from lossreg import Loss, losses\n"
        "@losses.register('cli_margin', tags=['binary'])\n"
        "class Margin(Loss):\n    def __init__(self, *, margin: float = 1.0):\n        super().__init__()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    code, out, err = run("manifest", "build", "cli_acme")
    assert code == 0
    assert out == f"{package / 'lossreg.json'}\n"
    assert 'cli-acme = "cli_acme:lossreg.json"' in err
    assert run("manifest", "check", "cli_acme") == (0, "cli_acme: up to date\n", "")
    manifest = package / "lossreg.json"
    manifest.write_text(manifest.read_text().replace('"default": 1.0', '"default": 2.0'))
    code, _, err = run("manifest", "check", "cli_acme")
    assert code == 1
    assert "- losses.cli_margin.parameters.properties.margin.default = 2.0" in err
    assert "run `lossreg manifest build cli_acme`" in err


LOSS = """
    from torch import nn
    from lossreg import losses

    @losses.register("{name}")
    class Margin(nn.Module):
        def __init__(self, gamma: float = 1.0, inner: {hint} = None):
            super().__init__()
"""


def test_a_package_that_fails_does_not_stop_the_next(run, site):
    """Of build and check: each failure is printed, the other manifests are written, and the exit code is 1."""
    site.module("cli_bad.script", "raise SystemExit(0)")
    site.module("cli_good.code", LOSS.format(name="cli_good", hint="int | None"))
    code, out, err = run("manifest", "build", "cli_bad", "cli_absent", "cli_good")
    assert (code, out) == (1, f"{site.root / 'cli_good' / 'lossreg.json'}\n")
    assert "  importing cli_bad.script raised SystemExit: 0\n" in err
    assert (
        "lossreg: package 'cli_absent' is not installed; correct its name, or run `pip install --editable .` in the"
        " folder of its sources\n"
    ) in err
    code, out, err = run("manifest", "check", "cli_bad", "cli_good")
    assert (code, out) == (1, "cli_good: up to date\n")
    assert "lossreg: cli_bad:lossreg.json cannot be read" in err


def test_manifest_build_excludes_modules(run, site):
    """By an option that may be repeated."""
    site.module("cli_out.code", LOSS.format(name="cli_out", hint="int | None"))
    for name in ("a", "b"):
        site.module(f"cli_out.{name}", "raise SystemExit(0)")
    assert run("manifest", "build", "cli_out", "--exclude", "cli_out.a", "--exclude", "cli_out.b*")[0] == 0
    assert run("manifest", "check", "cli_out")[0] == 0


def test_manifest_build_warns_of_an_annotation_that_cannot_be_evaluated(run, site):
    """The manifest is written; the parameter is known by its default alone."""
    site.module("cli_hint.code", LOSS.format(name="cli_hint", hint="'Tensor | None'"))
    code, out, err = run("manifest", "build", "cli_hint")
    assert (code, out) == (0, f"{site.root / 'cli_hint' / 'lossreg.json'}\n")
    assert "warning: cli_hint.code:Margin: the annotation of inner cannot be evaluated (NameError: name 'Tensor'" in err


@pytest.mark.tools
def test_list_and_show_import_no_torch():
    """A described loss is shown without importing torch, which takes a second."""
    code = (
        "import sys\nfrom lossreg import cli\n"
        "for arguments in (['list'], ['show', 'dice'], ['list', '--tag', 'sam']):\n"
        "    sys.argv = ['lossreg', *arguments]\n"
        "    try: cli.main()\n"
        "    except SystemExit as stop: assert stop.code == 0\n"
        "assert 'torch' not in sys.modules and 'lossreg_sam' not in sys.modules\n"
    )
    described = os.environ | {"LOSSREG_ONLY": "lossreg,segmentation,sam"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=described)
    assert done.returncode == 0, done.stderr


def test_a_warning_is_printed_as_an_error_is(run, monkeypatch):
    """On stderr, without a place in the code and without control characters; the command goes on."""
    monkeypatch.setattr(
        cli, "app", lambda: warnings.warn("no provider is called 'x\x1b[31m'", stacklevel=1) or sys.exit(0)
    )
    monkeypatch.setattr(cli, "WITHOUT_HOOKS", {"list"})
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        code, out, err = run("list")
    assert (code, out, err) == (0, "", "lossreg: warning: no provider is called 'x?[31m'\n")
