"""`lossreg plot`: curves equal formulas, and a picture shows them."""

import json
import math
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import pytest
import torch
import typer
from torch import nn
from typer.testing import CliRunner

from lossreg import InvalidConfigError, LossregError, build, losses
from lossreg.authoring.plot import Curves, curves, draw
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
    """Record labels, curves and title instead of drawing them."""
    seen = {}

    def instead(sampled, title, path):
        seen.update(curves=sampled, title=title, path=path)

    monkeypatch.setattr("lossreg.authoring.plot.draw", instead)
    return seen


def near(value):
    return pytest.approx(value, rel=1e-5, abs=1e-7)


def test_cross_entropy_of_a_constant_image():
    """At logit 0: ln 2, and gradients -1/2 and 1/2; at 2: softplus and sigmoid. The mean over 1,024 pixels likewise."""
    sampled = curves(build("bce"), [0.0, 2.0])
    assert sampled.foreground.values == near((math.log(2), math.log1p(math.exp(-2))))
    assert sampled.background.values == near((math.log(2), math.log1p(math.exp(2))))
    assert sampled.foreground.gradients == near((-0.5, -1 / (1 + math.exp(2))))
    assert sampled.background.gradients == near((0.5, 1 / (1 + math.exp(-2))))
    assert sampled.empty.values == near(sampled.background.values)
    assert sampled.empty.gradients == near((0.5 / 1024, 1 / (1 + math.exp(-2)) / 1024))


def test_dice_on_an_empty_mask():
    """1 - s / (n p + s) for smoothing s, n pixels and prediction p; its slope is n s p (1 - p) / (n p + s)^2."""
    sampled = curves(build({"name": "dice", "params": {"smooth": 1.0}}), [0.0])
    assert sampled.background.values == near((1 - 1 / 33,))  # 64 pixels of 1/2
    assert sampled.foreground.values == near((1 - 65 / 97,))  # 1 - (2 * 32 + 1) / (32 + 64 + 1)
    assert sampled.empty.values == near((1 - 1 / 513,))
    assert sampled.empty.gradients == near((1024 * 0.25 / 513**2 / 1024,))


def test_focal_without_focusing_is_half_the_cross_entropy():
    """gamma 0 and alpha 1/2 weigh both targets alike."""
    focal = curves(build({"name": "focal", "params": {"gamma": 0.0, "alpha": 0.5}}), [-1.0, 3.0])
    assert focal.foreground.values == near(tuple(math.log1p(math.exp(-x)) / 2 for x in (-1.0, 3.0)))
    assert focal.background.gradients == near(tuple(1 / (1 + math.exp(-x)) / 2 for x in (-1.0, 3.0)))


def test_two_classes_where_the_background_has_logit_0():
    """Softmax of (0, x) is sigmoid of x; cross-entropy of class indices is that of a mask."""
    sampled = curves(nn.CrossEntropyLoss(), [0.0, 2.0], classes=2)
    assert sampled.foreground.values == near((math.log(2), math.log1p(math.exp(-2))))
    assert sampled.background.gradients == near((0.5, 1 / (1 + math.exp(-2))))


def test_predictions_are_the_sigmoid_of_the_logits():
    """They are the axis of the empty mask; by default it spans nearly all of 0 to 1."""
    assert curves(nn.MSELoss(), [0.0, math.log(3)]).predictions == near((0.5, 0.75))
    whole = curves(nn.MSELoss()).predictions
    assert whole[0] < 0.001
    assert whole[-1] > 0.999
    assert list(whole) == sorted(whole)


def test_a_missing_gradient_is_0():
    """For a constant, and for a loss that depends on its own parameters only."""

    class Constant(nn.Module):
        def __init__(self, value):
            super().__init__()
            self.value = value

        def forward(self, input, target):
            return self.value

    for value in (torch.tensor(3.0), nn.Parameter(torch.tensor(3.0))):
        sampled = curves(Constant(value), [1.0])
        assert (sampled.foreground.values, sampled.foreground.gradients) == ((3.0,), (0.0,))


def test_sampling_leaves_the_random_numbers_alone_and_repeats():
    """A loss that draws points gives the same curves every time."""

    class Noise(nn.Module):
        def forward(self, input, target):
            return input.mean() * torch.rand(())

    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = curves(Noise(), [1.0, 2.0])
    assert torch.equal(torch.rand(3), expected)
    assert curves(Noise(), [1.0, 2.0]) == first
    with torch.no_grad():
        assert curves(Noise(), [1.0, 2.0]) == first


def test_a_loss_that_raises_on_the_tensors_is_an_error():
    """Its own error is the cause, and the message names the shapes."""
    with pytest.raises(LossregError) as caught:
        curves(nn.CosineEmbeddingLoss())
    assert str(caught.value).startswith(
        "CosineEmbeddingLoss cannot be drawn: on logits (1, 1, 8, 8) and a target (1, 1, 8, 8) it raised TypeError: "
    )
    assert isinstance(caught.value.__cause__, TypeError)


def test_a_loss_without_reduction_is_an_error():
    """One value is drawn, not an image."""
    with pytest.raises(LossregError, match=r"MSELoss returned \(1, 1, 8, 8\), .* choose a reduction that gives one"):
        curves(nn.MSELoss(reduction="none"))


def test_the_command_writes_a_picture_and_prints_its_path(run, tmp_path):
    """NAME.png in the current folder, slashes as underscores."""
    result = run("segmentation/bce")
    assert (result.exit_code, result.output) == (0, "segmentation_bce.png\n")
    assert [path.name for path in tmp_path.iterdir()] == ["segmentation_bce.png"]
    assert (tmp_path / "segmentation_bce.png").read_bytes().startswith(PNG)


def test_an_svg_holds_the_labels(run, tmp_path):
    """Titles, units and a legend of values and targets; matplotlib writes each into a comment."""
    result = run("focal", "--param", "gamma=0,2", "--params", '{"alpha": 0.5}', "--out", "new.SVG")
    assert result.output == "new.SVG\n"
    text = (tmp_path / "new.SVG").read_text()
    ElementTree.fromstring(text)
    for label in (
        "segmentation/focal   alpha = 0.5",
        "Cross-entropy with easy pixels down-weighted by (1 - p_t)^gamma.",
        "gamma = 0",
        "gamma = 2",
        "target 0",
        "target 1",
        "logit of every pixel (dimensionless)",
        "mean prediction = sigmoid(logit) (probability)",
        "d loss / d logit, summed over the pixels",
        "d loss / d logit, mean over the pixels",
        "value on an empty mask, 32 x 32 pixels",
    ):
        assert f"<!-- {label} -->" in text


def test_a_picture_shows_the_curves_and_no_formula(tmp_path):
    """Dollars are text, although `\\frac` alone would be an error; values that are not finite leave a gap."""
    sampled = curves(nn.MSELoss(), [0.0, 1.0])
    gap = sampled._replace(background=sampled.background._replace(values=(math.nan, math.inf)))
    draw({"cost = $5$": sampled, "_hidden": gap}, r"a $\frac$ title", tmp_path / "x.svg")
    text = (tmp_path / "x.svg").read_text()
    for label in (r"a $\frac$ title", "cost = $5$", "_hidden"):
        assert f"<!-- {label} -->" in text


def test_one_curve_for_each_value(run, drawn):
    """Each is the loss with this value and the other parameters."""
    assert run("focal", "--param", "gamma=0,2", "--params", '{"alpha": 0.5}').exit_code == 0
    assert list(drawn["curves"]) == ["gamma = 0", "gamma = 2"]
    assert drawn["title"].splitlines()[0] == "segmentation/focal   alpha = 0.5"
    for gamma in (0, 2):
        module = build({"name": "focal", "params": {"alpha": 0.5, "gamma": gamma}})
        assert drawn["curves"][f"gamma = {gamma}"] == curves(module)


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
    found = plotting._varied([f"p={text}"], {})
    assert [each["p"] for each in found.values()] == values


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--param", "gamma"], "--param must be a name and values, such as gamma=0,1,2, got 'gamma'"),
        (["--param", "gamma="], "--param must be a name and values, such as gamma=0,1,2, got 'gamma='"),
        (["--param", "gamma=1", "--params", '{"gamma": 2}'], "gamma is in both --param and --params; remove one"),
        (["--param", "gamma=1", "--param", "alpha=0"], "once, got gamma=1, alpha=0; put the others into --params"),
        (["--params", "{"], "--params is not valid JSON: "),
        (["--params", "[1]"], "--params must be a JSON object of parameters by name, got '[1]'"),
        (["--out", "x.pdf"], "x.pdf: expected a file ending in .png or .svg, got '.pdf'"),
        (["--out", "none/x.png"], "cannot be written: No such file or directory; choose another --out"),
    ],
)
def test_wrong_options(run, tmp_path, arguments, message):
    """Exit code 1, the value and the remedy; no file is written."""
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
        draw({"": curves(nn.MSELoss(), [0.0])}, "title", file)
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


@pytest.mark.parametrize("name", ["sam", "sam2", "text_region_contrast", "deep_supervision"])
def test_a_loss_of_other_inputs_raises_with_its_contract(run, name):
    """And with the command that lists the losses that can be drawn."""
    contract = losses.entry(name).metadata["contract"]
    result = run(name, "--params", '{"loss": "dice"}' if name == "deep_supervision" else "{}")
    assert result.exit_code == 1
    assert str(result.exception) == (
        f"{losses.entry(name).full_name} cannot be drawn: its input is {contract['input']!r} and its target"
        f" {contract['target']!r}, not logits and a mask or class index; losses that can be drawn:"
        " lossreg list --tag 'logits & (binary | multilabel | multiclass) & !sam & !instances'"
    )


def test_the_tags_find_every_loss_that_can_be_drawn():
    """Each first-party loss that they find can be drawn by its contract, and no other except sums."""
    found = {losses.entry(name).full_name for name in losses.find(plotting.PLOTTABLE)}
    drawable = set()
    for entry in FIRST_PARTY:
        try:
            plotting._classes(entry)
        except LossregError:
            continue
        drawable.add(entry.full_name)
    sums = {entry.full_name for entry in FIRST_PARTY if entry.metadata["contract"]["input"] == "as the terms"}
    assert len(drawable) > 20
    assert {name for name in found if name.partition("/")[0] in ("lossreg", "segmentation", "sam")} == drawable - sums


# What a call needs beside logits and masks.
NEEDING = {"scheduled": "needs the training step", "targeted": "targeted needs skeleton="}


@pytest.mark.parametrize("entry", FIRST_PARTY, ids=lambda entry: entry.full_name)
def test_every_loss_is_sampled_or_raises_by_its_contract(entry):
    """A loss with a suitable contract accepts the tensors, and its curves are finite."""
    if entry.metadata["contract"]["input"] not in ("logits", "as the terms"):
        with pytest.raises(
            LossregError, match=f"{entry.full_name} cannot be drawn: its input is '.*' and its target '"
        ):
            plotting._classes(entry)
        return
    classes = plotting._classes(entry)
    term = {"name": "bce", "points": [[0, 1.0]]} if entry.name == "scheduled" else "bce"
    needed = {"loss": "bce", "terms": [term], "target": "skeleton"}
    params = {key: needed[key] for key in entry.metadata["parameters"]["required"]}
    if entry.name in NEEDING:
        with pytest.raises(LossregError, match=rf"cannot be drawn: .* {NEEDING[entry.name]}"):
            curves(build({"name": entry.full_name, "params": params}))
        return
    sampled = curves(build({"name": entry.full_name, "params": params}), [-2.0, 0.0, 2.0], classes=classes)
    assert isinstance(sampled, Curves)
    for curve in (sampled.background, sampled.foreground, sampled.empty):
        assert all(map(math.isfinite, [*curve.values, *curve.gradients]))


def test_a_sum_is_drawn_by_its_terms(run, drawn):
    """The value is the weighted sum of theirs."""
    terms = [{"name": "bce", "weight": 2.0}, {"name": "dice"}]
    assert run("weighted_sum", "--params", json.dumps({"terms": terms})).exit_code == 0
    (found,) = drawn["curves"].values()
    bce, dice = (curves(build(name)) for name in ("bce", "dice"))
    expected = [2 * a + b for a, b in zip(bce.empty.values, dice.empty.values, strict=True)]
    assert found.empty.values == near(tuple(expected))


def test_a_loss_without_a_contract_is_tried_with_a_note(run, drawn, site):
    """It may be a loss of masks; otherwise it raises its own error."""
    site.loss("acme_plot", "Gap")
    with losses.scope():
        losses.register_lazy("gap", "acme_plot:Gap")
        result = run("gap")
    assert (
        result.stderr == "local/gap declares no contract; it is called with logits and a mask of shape (1, 1, H, W)\n"
    )
    (found,) = drawn["curves"].values()
    assert found.foreground.values[80:91:10] == near((1.0, 0.0))  # |x - 1| at logits 0 and 1


def test_half_a_contract_raises(run):
    """A manifest that is written by hand may lack keys."""
    with losses.scope():
        losses.register_lazy("half", "acme_half:Half", contract={"input": "logits"})
        result = run("half")
    assert str(result.exception).startswith(
        "local/half cannot be drawn: its input is 'logits' and its target 'undeclared', "
    )


def test_a_loss_that_depends_on_positions_is_drawn_with_a_note(run, drawn):
    """Constant images have no boundary."""
    result = run("boundary")
    assert result.exit_code == 0
    assert result.stderr == (
        "segmentation/boundary depends on the positions of pixels, which constant images do not show\n"
    )


@pytest.mark.tools
def test_drawing_leaves_the_state_of_pyplot_alone(tmp_path):
    """pyplot is not imported, so that no backend is selected for the caller."""
    code = (
        "import sys\nfrom pathlib import Path\nfrom torch import nn\nfrom lossreg.authoring.plot import curves, draw\n"
        "sampled = {'': curves(nn.MSELoss(), [0.0, 1.0])}\n"
        f"for name in ('x.png', 'x.svg'): draw(sampled, 'x', Path({str(tmp_path)!r}, name))\n"
        "assert 'matplotlib.figure' in sys.modules and 'matplotlib.pyplot' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
