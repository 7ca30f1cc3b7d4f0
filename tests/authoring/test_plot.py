"""`lossreg plot`, and figures of its panels: their contents, and that they are small and without a ground."""

import math
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from contextlib import suppress

import pytest
import typer
from typer.testing import CliRunner

from lossreg import InvalidConfigError, LossregError, losses
from lossreg.authoring.plot import Line, Panel, draw, figure, figures, panels, svg
from lossreg.authoring.plot.calls import PLOTTABLE, channels_of
from lossreg.authoring.plot.drawing import COLOURS
from lossreg.cli import plot as plotting

pytest.importorskip("matplotlib", reason="matplotlib is not installed, so nothing can be drawn")

PNG = b"\x89PNG\r\n\x1a\n"
FIRST_PARTY = [entry for entry in losses.entries() if entry.provider in ("lossreg", "segmentation", "sam")]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Return a function that runs the command in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def command(*arguments):
        app = typer.Typer()
        app.callback()(lambda: None)  # or Typer drops the name of an only command
        plotting.add_to(app)
        return CliRunner().invoke(app, ["plot", *arguments])

    return command


@pytest.fixture
def drawn(monkeypatch):
    """Record what would be sampled, and draw one small panel instead."""
    seen = {}

    def instead(name, params, vary):
        seen.update(name=name, params=params, vary=vary)
        return {"value": PANEL, "shift": PANEL._replace(title="shifted")}

    def written(sampled, title, path):
        seen.update(panels=sampled, title=title, path=path)

    monkeypatch.setattr("lossreg.authoring.plot.panels", instead)
    monkeypatch.setattr("lossreg.authoring.plot.draw", written)
    return seen


PANEL = Panel(
    "value",
    "logit",
    "loss",
    (Line("gamma = 1", (0.0, 1.0), (2.0, 3.0), 1),),
    (Line("gamma = 0", (0.0, 1.0), (5.0, 5.0), 0),),
)


def test_the_command_writes_a_picture_and_prints_its_path(run, drawn, tmp_path, monkeypatch):
    """NAME.png in the current folder, slashes as underscores."""
    monkeypatch.setattr("lossreg.authoring.plot.draw", draw)
    result = run("segmentation/bce")
    assert (result.exit_code, result.stdout) == (0, "segmentation_bce.png\n")
    assert [path.name for path in tmp_path.iterdir()] == ["segmentation_bce.png"]
    assert (tmp_path / "segmentation_bce.png").read_bytes().startswith(PNG)


@pytest.mark.tools
def test_an_svg_holds_the_labels(run, tmp_path):
    """Titles, axes, a legend of values and targets, and the constant lines, as text that can be searched."""
    result = run("focal", "--param", "gamma=0,2", "--params", '{"alpha": 0.5}', "--out", "new.SVG")
    assert result.stdout == "new.SVG\n"
    text = (tmp_path / "new.SVG").read_text()
    ElementTree.fromstring(text)
    for label in (
        "segmentation/focal   alpha = 0.5",
        "Cross-entropy with easy pixels down-weighted by (1 - p_t)^gamma.",
        "gamma = 0",
        "gamma = 2",
        "target 0",
        "target 1",
        "logit of every pixel",
        "mean prediction = sigmoid(logit) (probability)",
        "value on an empty mask, 32 x 32 pixels",
        "d loss / d logit",
        "0 everywhere: absent = ignore, absent = zero",
        "length of the gap (pixels)",
    ):
        assert f">{label}</tspan>" in text or f">{label}</text>" in text


def test_an_svg_is_small_has_no_ground_and_takes_the_colour_around_it():
    """So one file is readable in light and in dark; the lines have colours of their own."""
    text = svg(figure(PANEL))
    root = ElementTree.fromstring(text)
    assert len(text) < 60_000
    assert float(root.get("width").removesuffix("pt")) < 300  # 400 pixels of CSS
    assert "currentColor" in text
    assert "#1f2329" not in text.replace(text[text.index("<style>") : text.index("</style>")], "")
    assert "prefers-color-scheme:dark" in text
    ground = root.find(".//{http://www.w3.org/2000/svg}g[@id='patch_1']/{http://www.w3.org/2000/svg}path")
    assert "fill: none" in ground.get("style") or "opacity: 0" in ground.get("style")
    assert svg(figure(PANEL)) == text


@pytest.mark.parametrize("ground", [1.0, 0.0069])  # luminance of white, and of the dark pages, #131416
@pytest.mark.parametrize("colour", COLOURS)
def test_lines_have_a_contrast_of_3_in_light_and_dark(colour, ground):
    """As WCAG requires of graphics."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    assert (max(luminance, ground) + 0.05) / (min(luminance, ground) + 0.05) >= 3


def test_a_figure_for_each_panel_that_shows_something(monkeypatch):
    """A panel without lines is left out."""
    empty = PANEL._replace(lines=())
    monkeypatch.setattr("lossreg.authoring.plot.drawing.panels", lambda *_, **__: {"value": PANEL, "empty": empty})
    found = figures("focal")
    assert list(found) == ["value"]
    (axes,) = found["value"].axes
    assert axes.get_xlabel() == "logit\n5 everywhere: gamma = 0, target 0"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["gamma = 1", "target 1"]
    (line,) = [line for line in axes.lines if len(line.get_xdata()) == 2 and line.get_ydata()[0] == 2.0]
    assert list(line.get_ydata()) == [2.0, 3.0]


def test_a_picture_shows_the_lines_and_no_formula(tmp_path):
    """Dollars are text, although `\\frac` alone would be an error; values that are not finite leave a gap."""
    gap = Line("cost = $5$", (0.0, 1.0, 2.0), (math.nan, 1.0, math.inf))
    draw({"": PANEL._replace(lines=(gap,)), "more": PANEL}, r"a $\frac$ title", tmp_path / "x.svg")
    text = (tmp_path / "x.svg").read_text()
    assert r"a $\frac$ title" in text
    assert "cost = $5$" in text


def test_nothing_to_draw_is_an_error(tmp_path):
    """Of a panel whose lines are all constant."""
    with pytest.raises(LossregError, match="nothing can be drawn: the loss is the same everywhere; choose other"):
        draw({"value": PANEL._replace(lines=())}, "title", tmp_path / "x.png")
    assert list(tmp_path.iterdir()) == []


def test_options_are_handed_on(run, drawn):
    """Constant lines are reported on stderr."""
    result = run("focal", "--param", "gamma=0,2", "--params", '{"alpha": 0.5}', "--panel", "shift")
    assert result.exit_code == 0
    assert (drawn["name"], drawn["params"], drawn["vary"]) == ("focal", {"alpha": 0.5}, ("gamma", [0, 2]))
    assert list(drawn["panels"]) == ["shift"]
    assert drawn["title"].splitlines()[0] == "segmentation/focal   alpha = 0.5"
    assert result.stderr == "shift, not drawn: 5 everywhere: gamma = 0, target 0\n"
    run("focal")
    assert list(drawn["panels"]) == ["value", "shift"]
    assert drawn["vary"] is None


def test_one_value_goes_into_the_title(run, drawn):
    """A legend of one line would be useless."""
    run("dice", "--param", "smooth=2")
    assert drawn["title"].splitlines()[0] == "segmentation/dice   smooth = 2"
    run("dice")
    assert drawn["title"].splitlines()[0] == "segmentation/dice"


@pytest.mark.parametrize(
    "text, values",
    [
        ("0,1,2.5", [0, 1, 2.5]),
        ("true,null", [True, None]),
        ("mean, sum", ["mean", "sum"]),
        ('"a,b","c"', ["a,b", "c"]),
        ("[1,2],[3]", [[1, 2], [3]]),
        ('{"name":"dice"}', [{"name": "dice"}]),
        ("none,0.5", ["none", 0.5]),
    ],
)
def test_values_are_json_or_else_text(text, values):
    """As many as there are commas between them."""
    assert plotting._varied([f"p={text}"], {}) == ("p", values)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--param", "gamma"], "--param must be a name and values, such as gamma=0,1,2, got 'gamma'"),
        (["--param", "gamma="], "--param must be a name and values, such as gamma=0,1,2, got 'gamma='"),
        (["--param", "gamma=1", "--params", '{"gamma": 2}'], "gamma is in both --param and --params; remove one"),
        (["--param", "gamma=1", "--param", "alpha=0"], "once, got gamma=1, alpha=0; put the others into --params"),
        (["--params", "{"], "--params is not valid JSON: "),
        (["--params", "[1]"], "--params must be a JSON object of parameters by name, got '[1]'"),
        (["--panel", "shfit"], "--panel 'shfit': there is no such panel; did you mean 'shift'?"),
        (["--panel", "xyz"], "--panel 'xyz': there is no such panel; choose from value, gradient, empty, "),
        (["--out", "x.pdf"], "x.pdf: expected a file ending in .png or .svg, got '.pdf'"),
        (["--out", "none/x.png"], "cannot be written: No such file or directory; choose another --out"),
        (["--out", "none/x.svg"], "cannot be written: No such file or directory; choose another --out"),
    ],
)
def test_wrong_options(run, drawn, tmp_path, monkeypatch, arguments, message):
    """Exit code 1, the value and the remedy; no file is written."""
    monkeypatch.setattr("lossreg.authoring.plot.draw", draw)
    result = run("focal", *arguments)
    assert result.exit_code == 1
    assert isinstance(result.exception, LossregError)
    assert message in str(result.exception)
    assert list(tmp_path.iterdir()) == []


def test_a_failure_keeps_the_picture_that_exists(tmp_path, monkeypatch):
    """Writing is atomic: no half of a picture, and no temporary file."""

    def full(figure, path, **options):
        path.write_bytes(PNG)
        raise OSError(28, "No space left on device")

    file = tmp_path / "x.png"
    file.write_text("mine")
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", full)
    with pytest.raises(LossregError, match=r"x\.png: cannot be written: No space left on device; choose another --out"):
        draw({"": PANEL}, "title", file)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("x.png", "mine")]


def test_parameters_are_validated(run):
    """Like those of any config."""
    result = run("focal", "--param", "gama=1")
    assert isinstance(result.exception, InvalidConfigError)
    assert "params.gama: unknown parameter; did you mean 'gamma'?" in str(result.exception)


def test_without_matplotlib_the_error_names_the_extra(run, monkeypatch):
    """Before anything is sampled."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = run("focal")
    assert result.exit_code == 1
    assert str(result.exception) == "drawing: matplotlib is not installed; pip install 'lossreg[plot]'"


@pytest.mark.parametrize("name", ["matched", "text_region_contrast"])
def test_a_loss_of_other_inputs_raises_with_its_contract(run, name):
    """And with the command that lists the losses that can be drawn."""
    contract = losses.entry(name).metadata["contract"]
    result = run(name)
    assert result.exit_code == 1
    assert str(result.exception) == (
        f"{losses.entry(name).full_name} cannot be drawn: its input is {contract['input']!r} and its target"
        f" {contract['target']!r}, not logits and a mask or class index; losses that can be drawn:"
        " lossreg list --tag 'logits & (binary | multilabel | multiclass)'"
    )


def test_the_tags_find_the_losses_that_can_be_drawn():
    """Each first-party loss that they find can be drawn by its contract, and no other except sums and the like."""
    found = {losses.entry(name).full_name for name in losses.find(PLOTTABLE)}
    drawable = set()
    for entry in FIRST_PARTY:
        with suppress(LossregError):
            channels_of(entry)
            drawable.add(entry.full_name)
    sums = {entry.full_name for entry in FIRST_PARTY if entry.metadata["contract"]["target"] == "as the terms"}
    assert len(drawable) == 40
    assert {name for name in found if name.partition("/")[0] in ("lossreg", "segmentation", "sam")} == drawable - sums


@pytest.mark.tools
def test_a_sum_is_drawn_by_its_terms():
    """The value is the weighted sum of theirs."""
    terms = [{"name": "bce", "weight": 2.0}, {"name": "region_size"}]
    found = panels("weighted_sum", {"terms": terms})
    bce, size = (panels(name, vary=("reduction", ["mean"])) for name in ("bce", "region_size"))
    expected = [2 * a + b for a, b in zip(bce["gap"].lines[0].values, size["gap"].lines[0].values, strict=True)]
    assert found["gap"].lines[0].values == pytest.approx(expected, rel=1e-5)


@pytest.mark.tools
def test_a_loss_without_a_contract_is_tried_with_a_note(run, site):
    """It may be a loss of masks; otherwise it raises its own error."""
    site.loss("acme_plot", "Gap")
    with losses.scope():
        losses.register_lazy("gap", "acme_plot:Gap")
        result = run("gap")
    assert result.exit_code == 0
    assert result.stderr.splitlines()[0] == (
        "local/gap declares no contract; it is called with logits and a mask of shape (1, 1, H, W)"
    )


def test_half_a_contract_raises(run):
    """A manifest that is written by hand may lack keys."""
    with losses.scope():
        losses.register_lazy("half", "acme_half:Half", contract={"input": "logits"})
        result = run("half")
    assert str(result.exception).startswith(
        "local/half cannot be drawn: its input is 'logits' and its target 'undeclared', "
    )


@pytest.mark.tools
def test_drawing_leaves_the_state_of_pyplot_alone(tmp_path):
    """pyplot is not imported, so that no backend is selected for the caller."""
    code = (
        "import sys\nfrom pathlib import Path\nfrom lossreg.authoring.plot import Line, Panel, draw\n"
        "panel = Panel('', '', '', (Line('', (0.0, 1.0), (0.0, 1.0)),), ())\n"
        f"for name in ('x.png', 'x.svg'): draw({{'': panel}}, 'x', Path({str(tmp_path)!r}, name))\n"
        "assert 'matplotlib.figure' in sys.modules and 'matplotlib.pyplot' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
