"""The schema in an editor: a mistake in a YAML file is reported on its own line."""

import json
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
import typer
import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from typer.testing import CliRunner

from lossreg import json_schema
from lossreg.cli import schema

CONFIGS = Path(__file__).parents[2] / "examples" / "configs"
SCHEMA = CONFIGS / "lossreg.schema.json"
PROVIDERS = ["lossreg", "segmentation", "sam", "edge-losses"]

TEXT = """\
training:
  epochs: 3
  loss:
    name: weighted_sum
    params:
      terms:
        - bce
        - name: focal_tversky
          weight: 0.5
          params:
            smooth: 1.0
            gamma: 1.5
            task: multiclass
        - {name: sam, weight: 2}
        - name: product
          params:
            terms:
              - name: tversky
                params:
                  alpha: 0.3
              - dice
"""

examples = pytest.mark.skipif(
    not CONFIGS.is_dir(), reason="the examples lie in the checkout, and only the tests are here"
)


@pytest.fixture(scope="module")
def validator():
    return Draft202012Validator(json_schema(providers=PROVIDERS[:3], at="training.loss"))


def line_of(text, error):
    """Return the line that an editor underlines, from 1: of the value, or of the key that must be absent."""
    node = yaml.compose(text)
    steps = list(error.absolute_path)
    if error.validator == "additionalProperties":
        steps += [next(key for key in error.instance if key not in error.schema["properties"])]
    mark = node.start_mark
    for step in steps:
        if isinstance(node, yaml.MappingNode):
            mark, node = next((key.start_mark, value) for key, value in node.value if key.value == step)
        else:
            node = node.value[step]
            mark = node.start_mark
    return mark.line + 1


def errors(validator, text):
    return list(validator.iter_errors(yaml.safe_load(text)))


def test_the_text_is_valid(validator):
    """Each change below is then the only mistake."""
    assert errors(validator, TEXT) == []


@pytest.mark.parametrize(
    "right, wrong, line, message",
    [
        ("smooth: 1.0", "smoth: 1.0", 11, "'smoth' was unexpected"),
        ("gamma: 1.5", "gamma: much", 12, "'much' is not of type 'number'"),
        ("gamma: 1.5", "gamma: -1", 12, "-1 is less than"),
        ("task: multiclass", "task: multi", 13, "'multi' is not one of"),
        ("name: focal_tversky", "name: focal_tverski", 8, "'focal_tverski' is not one of"),
        ("weight: 0.5", "wieght: 0.5", 9, "'wieght' was unexpected"),
        ("weight: 0.5", "weight: half", 9, "'half' is not of type 'number'"),
        ("- bce", "- bcee", 7, "'bcee' is not one of"),
        ("- bce", "- 7", 7, "7 is not of type 'string', 'object'"),
        ("{name: sam, weight: 2}", "{weight: 2}", 14, "'name' is a required property"),
        ("{name: sam, weight: 2}", "{name: scheduled}", 14, "'params' is a required property"),
        ("alpha: 0.3", "alpha: [0.3]", 20, "[0.3] is not of type 'number'"),
        ("- name: tversky", "- weight: 1\n                name: tversky", 18, "'weight' was unexpected"),
        ("- dice", "- weighted_sum", 21, "'weighted_sum' is not one of"),
    ],
)
def test_a_mistake_is_reported_once_and_on_its_line(validator, right, wrong, line, message):
    """There is one error, and it is the best match."""
    text = TEXT.replace(right, wrong, 1)
    found = errors(validator, text)
    assert len(found) == 1
    assert best_match(found) is found[0]
    assert message in found[0].message
    assert line_of(text, found[0]) == line


def test_several_mistakes_are_reported_each_on_its_line(validator):
    """All mistakes are reported at once."""
    text = TEXT.replace("smooth", "smoth").replace("- bce", "- bcee").replace("- dice", "- dicee")
    assert sorted(line_of(text, error) for error in errors(validator, text)) == [7, 11, 21]


@examples
def test_every_example_names_the_schema_and_is_valid_by_it():
    """The first line names it, as language servers for YAML require."""
    validator = Draft202012Validator(json.loads(SCHEMA.read_text()))
    files = sorted(CONFIGS.glob("*.yaml"))
    assert files
    for path in files:
        text = path.read_text()
        first = text.partition("\n")[0]
        assert first == f"# yaml-language-server: $schema={SCHEMA.name}", path.name
        assert errors(validator, text) == [], path.name


@examples
def test_the_schema_of_the_examples_is_in_step(torch):
    """It equals the output of the command; other installed providers do not change it."""
    try:
        distribution("edge-losses")
    except PackageNotFoundError:
        pytest.skip("edge-losses is not installed; pip install --editable examples/third_party")
    arguments = ["schema", "--at", "training.loss", *(word for name in PROVIDERS for word in ("--provider", name))]
    app = typer.Typer()
    schema.add_to(app)
    app.callback()(lambda: None)  # or Typer drops the name of an only command
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0
    assert SCHEMA.read_text() == done.output, f"run `lossreg {' '.join(arguments)} > examples/configs/{SCHEMA.name}`"
