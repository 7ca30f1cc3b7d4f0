"""lossreg stubs: a type checker completes names and checks parameters."""

import ast
import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import lossreg
from lossreg import LossregError
from lossreg.authoring.stubs import camel, write
from lossreg.cli import stubs as stubbing
from lossreg.parameters.kinds import kind_of
from lossreg.parameters.scalars import literal_type

SUMMARY = 'It\'s """quoted"""; import os\n \\'

MANIFEST = {
    "schema": 1,
    "losses": {
        "hinge": {
            "target": "acme_losses.hinge:Hinge",
            "aliases": ["HingeLoss"],
            "tags": [],
            "summary": "Its slots and parameters are of every kind.",
            "parameters": {
                "type": "object",
                "properties": {
                    "margin": {"type": "number"},
                    "lambda_": {"type": "number", "default": 1.0},
                    "weight": {"anyOf": [{"$ref": "#/$defs/tensor"}, {"type": "null"}], "default": None},
                    "reducer": {"$ref": "#/$defs/reducer"},
                    "act": {"enum": ["relu", "gelu"], "functions": {"relu": "torch:relu", "gelu": "torch:gelu"}},
                    "size": {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}]},
                    "by_class": {"type": "object", "additionalProperties": {"type": "boolean"}},
                    "mode": {"enum": [1, "a", None, 0.5]},
                    "anything": {},
                },
                "required": ["margin"],
                "additionalProperties": False,
            },
        },
        "elsewhere": {
            "target": "not_installed.losses:Elsewhere",
            "summary": SUMMARY,
            "parameters": {"type": "object", "properties": {"from_": {"type": "integer"}}},
        },
        "l²": {"target": "acme_losses.hinge:Hinge"},
        "classes": {
            "target": "acme_losses.hinge:Hinge",
            "parameters": {
                "type": "object",
                "properties": {"term": {"$ref": "#/$defs/loss", "properties": {"__from": {"type": "integer"}}}},
            },
        },
    },
    "parts": {"mean_of": {"target": "acme_losses.hinge:MeanOf", "tags": ["reducer"]}},
}

GOOD = """\
from typing import TYPE_CHECKING, Any
import lossreg
from lossreg.composites.sums import Product
if TYPE_CHECKING:
    from lossreg import LossName, SegmentationDiceParams

reveal_type(lossreg.build("dice"))  # Dice
reveal_type(lossreg.build("segmentation/dice_loss"))  # Dice
reveal_type(lossreg.build({"name": "dice", "params": {"smooth": 0.5}}))  # Dice
reveal_type(lossreg.build({"name": "sam"}, providers=["sam"]))  # SAM
reveal_type(lossreg.build("acme/elsewhere"))  # Module
reveal_type(lossreg.build({"name": "scheduled", "params": {"terms": [{"name": "bce", "points": [[0]]}]}}))  # Scheduled
reveal_type(lossreg.build({"name": "weighted_sum", "params": {"terms": [{"name": "bce", "weight": 2}]}}))  # WeightedSum
reveal_type(lossreg.build({"name": "hinge", "params": {"margin": 1, "lambda_": 0.5, "weight": [[1, 2]]}}))  # Hinge
reveal_type(lossreg.build({"name": "hinge", "params": {"margin": 1, "reducer": "mean_of", "mode": None}}))  # Hinge
reveal_type(lossreg.build({"name": "hinge", "params": {"margin": 1, "size": [1, "a"], "by_class": {}}}))  # Hinge
reveal_type(lossreg.build("l²"))  # Hinge
reveal_type(lossreg.build("3d-losses/vol"))  # Module
reveal_type(lossreg.build({"name": "classes", "params": {"term": {"name": "bce", "__from": 1}}}))  # Hinge
reveal_type(lossreg.build("dice", smooth=1.0, providers=["segmentation"]))  # Dice
reveal_type(lossreg.build("weighted_sum", terms=["dice", {"name": "bce", "weight": 2}]))  # WeightedSum
reveal_type(lossreg.build("hinge", margin=1, size=[1, "a"]))  # Hinge
reveal_type(lossreg.build("dice", params={"smooth": 1}))  # Module
reveal_type(lossreg.build("dice", provider="segmentation", smooth=1))  # Module
reveal_type(lossreg.build(name="dice", params={"smooth": 1}))  # Module

def dynamic(config: dict[str, Any], name: "LossName", text: str) -> None:
    reveal_type(lossreg.build(config))  # Module
    reveal_type(lossreg.build(lossreg.validate(text)))  # Module
    reveal_type(lossreg.build({"name": "dice", "params": config}))  # Dice
    reveal_type(lossreg.build({"name": "product", "params": {"terms": [config, name]}}))  # Product

params: "SegmentationDiceParams" = {"smooth": 1, "reduction": "none"}
reveal_type(lossreg.build({"name": "dice", "params": params}))  # Dice
reveal_type(lossreg.validate("dice"))  # LossConfig
reveal_type(lossreg.losses)  # Registry[Module]
reveal_type(lossreg.Loss)  # type[Loss]
reveal_type(lossreg.__version__)  # str
reveal_type(Product)  # type[Product]
"""

BAD = """\
import lossreg

lossreg.build("dicee")  # unknown name
lossreg.build({"name": "dicee"})  # unknown name
lossreg.build("weighted_sum")  # has required parameters
lossreg.build({"name": "dice", "params": {"smoth": 1}})  # unknown parameter
lossreg.build({"name": "dice", "params": {"smooth": "1"}})  # wrong type
lossreg.build({"name": "dice", "params": {"reduction": "max"}})  # not among the values
lossreg.build({"name": "dice", "parms": {"smooth": 1}})  # unknown key
lossreg.build({"name": "deep_supervision", "params": {"weights": "same"}})  # a required one is missing
lossreg.build({"name": "product", "params": {"terms": ["dicee"]}})  # unknown nested name
lossreg.build({"name": "weighted_sum", "params": {"terms": [{"name": "dice", "wieght": 1}]}})  # unknown nested key
lossreg.build({"name": "hinge", "params": {"margin": 1, "lambda_": "x"}})  # wrong type
lossreg.build({"name": "hinge", "params": {"margin": 1, "reducer": "dice"}})  # a loss is no reducer
lossreg.build({"name": "hinge", "params": {"margin": 1, "act": "tanh"}})  # unknown function
lossreg.build("dice", smoth=1)  # unknown parameter
lossreg.build("dice", smooth="1")  # wrong type
lossreg.build("hinge", size=[1, "a"])  # a required one is missing
lossreg.build({"name": "dice"}, smooth=1)  # keywords beside a mapping
lossreg.build(name="dicee")  # unknown name
lossreg.build({"name": "classes", "params": {"term": {"name": "bce", "__from": "1"}}})  # wrong type in a slot
lossreg.build({"name": "dice", "params": {"smooth": 1}})

def dynamic(name: str) -> None:
    lossreg.build(name)  # validate(name) first
"""


@pytest.fixture
def project(site, tmp_path):
    """Make a folder with stubs of three first-party providers and of one package on the site."""
    folder = site.package("acme_losses", MANIFEST)
    (folder / "py.typed").touch()
    site.loss("acme_losses.hinge", "Hinge")
    site.distribution("acme-losses", manifests={"acme": "acme_losses:lossreg.json"})
    site.package("acme_3d", {"schema": 1, "losses": {"vol": {"target": "acme_3d:Vol"}}})
    site.distribution("3d-losses", manifests={"3d-losses": "acme_3d:lossreg.json"})
    generate(site, tmp_path / "typings")
    return tmp_path


def generate(site, directory, seed="0"):
    """Write stubs in a fresh interpreter, and return the modules it has imported."""
    environment = {**os.environ, "LOSSREG_ONLY": "lossreg,segmentation,sam,acme,3d-losses", "PYTHONHASHSEED": seed}
    program = "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]);"
    program += "from lossreg.authoring.stubs import write;"
    program += "write(Path(sys.argv[2])); print(*sys.modules)"
    command = [sys.executable, "-c", program, str(site.root), str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return {name.partition(".")[0] for name in done.stdout.split()}


def stub_of(directory):
    return (directory / "lossreg" / "__init__.pyi").read_text()


def diagnostics(project, site, **sources):
    """Return the findings of basedpyright in these files and the stub: (file, line, severity, message)."""
    if find_spec("basedpyright") is None:
        pytest.skip("basedpyright is not installed, which judges the stubs; pip install basedpyright")
    for name, text in sources.items():
        (project / f"{name}.py").write_text(text)
    settings = {
        "typeCheckingMode": "standard",
        "pythonVersion": "3.11",
        "extraPaths": [str(site.root)],
        "include": ["typings", *(f"{name}.py" for name in sources)],
    }
    (project / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "basedpyright", "--outputjson", "--pythonpath", sys.executable, "-p", str(project)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=project)
    found = json.loads(done.stdout)["generalDiagnostics"]
    return [
        (Path(each["file"]).name, each["range"]["start"]["line"] + 1, each["severity"], each["message"])
        for each in found
    ]


@pytest.mark.tools
def test_good_code_passes_with_the_classes_that_it_builds(project, site):
    """There is no error, in the stub neither; each type is as in the comment."""
    found = diagnostics(project, site, good=GOOD)
    assert [each for each in found if each[2] != "information"] == []
    lines = GOOD.splitlines()
    expected = {number: line.rpartition("# ")[2] for number, line in enumerate(lines, 1) if "reveal_type" in line}
    assert {line: message.rpartition('is "')[2].rstrip('"') for _, line, _, message in found} == expected


@pytest.mark.tools
def test_bad_code_has_an_error_on_each_bad_line_and_on_no_other(project, site):
    """Names, keys and values, nested ones included."""
    found = diagnostics(project, site, bad=BAD)
    bad = {number for number, line in enumerate(BAD.splitlines(), 1) if "  # " in line}
    assert {line for _, line, _, _ in found} == bad
    assert {(file, severity) for file, _, severity, _ in found} == {("bad.py", "error")}


@pytest.mark.tools
def test_everything_public_is_there(project):
    """By the name that it has at run time, from the file that defines it."""
    names = set()
    for node in ast.parse(stub_of(project / "typings")).body:
        if isinstance(node, ast.ImportFrom):
            names |= {alias.asname for alias in node.names if alias.asname == alias.name}
        elif isinstance(node, ast.FunctionDef):
            names.add(node.name)
    assert names == {*lossreg.__all__}


@pytest.mark.tools
def test_it_is_text_from_manifests(project, site):
    """The same in another process; neither torch nor a library is imported."""
    imported = generate(site, project / "again", seed="1")
    assert stub_of(project / "again") == stub_of(project / "typings")
    assert imported.isdisjoint({"torch", "acme_losses", "lossreg_segmentation", "edge_losses"})


@pytest.mark.tools
def test_text_of_packages_cannot_leave_its_place(project):
    """A summary with quotes and newlines is a docstring."""
    tree = ast.parse(stub_of(project / "typings"))
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    assert ast.get_docstring(classes["AcmeElsewhereParams"], clean=False) == SUMMARY
    assert ast.get_docstring(classes["SegmentationDiceParams"]).startswith("Overlap as the Dice")


def test_keys_of_a_kind_are_text_or_numbers():
    """A config in Python may write `{0: 1.0}` where YAML does."""
    values = {"type": "object", "additionalProperties": {"type": "number"}}
    assert kind_of(values).python_type(str, "") == "Mapping[str, float]"
    keys = {"propertyNames": {"type": "string", "pattern": "^[0-9]+$"}}
    assert kind_of(values | keys).python_type(str, "") == "Mapping[str, float] | Mapping[int, float]"


@pytest.mark.parametrize(
    "values, expected",
    [
        (["mean", "sum", "mean"], "Literal['mean', 'sum']"),
        ([1, None, True], "Literal[1, None, True]"),
        ([0.5, "a"], "Literal['a'] | float"),
        ([0.5], "float"),
        ([], "Never"),
    ],
)
def test_literal(values, expected):
    """Each value once; floats have no Literal, nothing has no values."""
    assert literal_type(values) == expected


def test_camel():
    """Of a full name, as names of classes are."""
    assert camel("segmentation/log_cosh_dice") == "SegmentationLogCoshDice"
    assert camel("acme-losses/a.b") == "AcmeLossesAB"


def test_it_does_not_write_into_the_package(tmp_path):
    """As `lossreg stubs .` would, in its checkout."""
    package = tmp_path / "lossreg"
    package.mkdir()
    (package / "__init__.py").touch()
    with pytest.raises(LossregError, match="lossreg is the package itself; choose another folder, such as typings"):
        write(tmp_path)
    assert not (package / "__init__.pyi").exists()


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    """Not as a traceback."""
    (tmp_path / "typings").write_text("a file")
    with pytest.raises(LossregError, match=r"__init__\.pyi cannot be written: .*; choose another folder"):
        write(tmp_path / "typings")


def test_the_command_writes_to_typings(tmp_path, monkeypatch):
    """Where pyright looks, unless another folder is named."""
    app = typer.Typer()
    stubbing.add_to(app)
    monkeypatch.chdir(tmp_path)
    for arguments, folder in (([], "typings"), (["other"], "other")):
        done = CliRunner().invoke(app, arguments)
        assert done.output == f"wrote {folder}/lossreg/__init__.pyi\n"
        ast.parse(stub_of(tmp_path / folder))
