"""The file and line of each problem, wherever in the config it is and however the config was put together."""

import copy
import json
import pickle
from collections import deque

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

import lossreg
from lossreg import InvalidConfigError, read_config
from lossreg.config import places
from lossreg.errors import Problem
from lossreg.messages import join

YAML = """\
training:
  epochs: 1
  loss:
    name: weighted_sum
    params:
      terms:
        - name: dice
          params:
            smooth: 1.0
        - name: tversky
          weight: 1.0

          params: {smoth: 1}
"""
JSON = """\
{"training":
 {"epochs": 1, "text": "} \\" [\\\\",
  "loss": {"name": "weighted_sum",
   "params": {"terms": [
    {"name": "dice"},
    {"name": "tversky",
     "weight": 1.0,
     "params": {"sm\\u006fth": 1}}]}}}}
"""
TOML = '''\
text = """
[training]
"""
[training]
epochs = 1  # [training.loss]
[training.loss]
name = "weighted_sum"
[[training.loss.params.terms]]
name = "dice"
[[training.loss.params.terms]]
name = "tversky"
weight = 1.0
params = {alpha = 0.5, "smoth" = 1}
'''
FILES = {"train.yaml": (YAML, 13), "train.json": (JSON, 8), "train.toml": (TOML, 13)}
MESSAGE = "training.loss.params.terms[1].params.smoth: unknown parameter; did you mean 'smooth'?"


def write(folder, name, text):
    """Write a file and return its path."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def refused(config, call=lossreg.build):
    """Return the lines of the message about an invalid config."""
    with pytest.raises(InvalidConfigError) as caught:
        call(config)
    return str(caught.value).removeprefix("invalid loss config: ").splitlines()


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("call", [lossreg.build, lossreg.validate])
def test_a_problem_has_its_file_line_and_path_in_the_file(tmp_path, name, call):
    """A place given to read_config and one that is looked up afterwards lead to the same message."""
    text, line = FILES[name]
    path = write(tmp_path, name, text)
    assert refused(read_config(path, at="training.loss"), call) == [f"{path}:{line}: {MESSAGE}"]
    assert refused(read_config(path)["training"]["loss"], call) == [f"{path}:{line}: {MESSAGE}"]


def test_a_problem_as_data(tmp_path):
    """File and line are attributes; a problem is still the pair of its path and message, and can be pickled."""
    path = write(tmp_path, "train.yaml", YAML)
    with pytest.raises(InvalidConfigError) as caught:
        lossreg.validate(read_config(path, "training.loss"))
    for error in (caught.value, pickle.loads(pickle.dumps(caught.value)), copy.deepcopy(caught.value)):
        (problem,) = error.problems
        assert (problem.file, problem.line) == (str(path), 13)
        assert dict(error.problems) == {"training.loss.params.terms[1].params.smoth": MESSAGE.split(": ", 1)[1]}
    assert str(Problem("a.b", "wrong")) == "a.b: wrong"
    assert str(Problem("", "wrong")) == "wrong"
    assert str(Problem("a", "wrong", "f.yaml")) == "f.yaml: a: wrong"
    assert (Problem("a", "b", "c", 1)._replace(path="x").file, Problem("a", "b")) == ("", ("a", "b"))


@pytest.mark.parametrize("name", FILES)
def test_what_is_read_is_plain_data_for_every_library(tmp_path, torch, name):
    """The types are exactly dict and list, which OmegaConf, yaml.safe_dump and torch.load require."""
    data = read_config(write(tmp_path, name, FILES[name][0]))
    assert type(data) is type(data["training"]["loss"]) is dict
    assert type(data["training"]["loss"]["params"]["terms"]) is list
    assert json.loads(json.dumps(data)) == yaml.safe_load(yaml.safe_dump(data)) == copy.deepcopy(data) == data
    assert pickle.loads(pickle.dumps(data)) == OmegaConf.to_container(OmegaConf.create(data)) == data
    torch.save(data, tmp_path / "saved.pt")
    assert torch.load(tmp_path / "saved.pt", weights_only=True) == data


def test_each_part_of_a_merged_config_keeps_its_own_place(tmp_path):
    """Parts of two files and of the program stand in one message, each with its own place or none."""
    first = read_config(write(tmp_path, "a.yaml", "name: dice\nparams:\n  smoth: 1\n"))
    second = read_config(write(tmp_path, "b.json", '{"loss":\n\n{"name": "focal", "params": {"gama": 1}}}'), "loss")
    terms = [first, second, {"name": "dice", "params": {"smoth": 1}}]
    assert refused({"name": "product", "params": {"terms": terms}}) == [
        "3 problems",
        f"  {tmp_path}/a.yaml:3: params.smoth: unknown parameter; did you mean 'smooth'?",
        f"  {tmp_path}/b.json:3: loss.params.gama: unknown parameter; did you mean 'gamma'?",
        "  params.terms[2].params.smoth: unknown parameter; did you mean 'smooth'?",
    ]
    assert refused({**first, "extra": 1}) == [
        "2 problems",
        "  extra: unknown key; allowed are name, params",
        f"  {tmp_path}/a.yaml:3: params.smoth: unknown parameter; did you mean 'smooth'?",
    ]


def test_a_value_that_the_program_put_there_has_no_line(tmp_path):
    """The file does not hold it. What the file lacks is missing at the line of what should hold it."""
    path = write(tmp_path, "a.yaml", "loss:\n  name: dice\n  params:\n    smooth: 1.0\n")
    config = read_config(path, "loss")
    config["params"]["smooth"] = -1
    assert refused(config) == ["params.smooth: expected a number >= 0, got -1"]
    assert lossreg.validate(read_config(path, "loss")).params["smooth"] == 1.0
    path.write_text("loss:\n  name: weighted_sum\n  params:\n    reduction: mean\n")
    (line,) = refused(read_config(path, "loss"))
    assert line.startswith(f"{path}:3: loss.params.terms: missing; expected a list of at least 1")


@pytest.mark.parametrize(
    "text, line, message",
    [
        ("loss: dicee\n", 1, "loss.name: unknown loss 'dicee'"),
        (
            "loss:\n  name: product\n  params:\n    terms:\n    - dice\n    - dicee\n",
            6,
            "loss.params.terms[1].name",
        ),
        ("loss:\n  name: dice\n  smooth: 1\n", 3, "loss.smooth: unknown key"),
        (
            "loss:\n  name: dice\n  params:\n    class_weight:\n    - 1\n    - x\n",
            6,
            "loss.params.class_weight[1]:",
        ),
        ("loss:\n  params: {}\n  name:\n", 3, "loss.name: expected text, got None; nothing is"),
        ("loss:\n  name: dice\n  params:\n    smooth: .nan\n", 4, "loss.params.smooth: expected a finite number"),
        ("loss:\n  name: dice\n  params:\n    1.5: 1\n", 4, "loss.params: keys must be text, got 1.5"),
        ("loss:\n  name: dice\n  params:\n    'a b': 1\n", 4, "loss.params['a b']: unknown parameter"),
        ("loss:\n  name: dice\n  params:\n    7: 1\n", 4, "loss.params['7']: unknown parameter"),
        ("d: &d\n  name: dice\n  params: {x: 1}\nloss: *d\n", 3, "d.params.x: unknown parameter"),
        ("d: &d\n  x: 1\nloss:\n  name: dice\n  params:\n    <<: *d\n", 2, "loss.params.x: unknown parameter"),
        ("loss:\n  name: monai/dice\n  params:\n    sigmoid: true\n    softmax: true\n", 3, "loss.params: the constr"),
    ],
)
def test_the_line_is_that_of_the_key_or_item(tmp_path, text, line, message):
    """An alias has the place of its anchor, and a merged key the line where it is written."""
    path = write(tmp_path, "a.yaml", text)
    (found,) = refused(read_config(path, "loss"))
    assert found.startswith(f"{path}:{line}: {message}")


keys = st.sampled_from(["a", "b", "a b", "a.b", "x[0]", "'", "é", "no", "0"])
trees = st.recursive(
    st.just(None), lambda each: st.lists(each, max_size=3) | st.dictionaries(keys, each, max_size=3), max_leaves=12
)


def numbered(tree, paths, path=""):
    """Return a tree with a number at each leaf, and note the path of each."""
    if isinstance(tree, dict):
        return {key: numbered(item, paths, join(path, key)) for key, item in tree.items()}
    if isinstance(tree, list):
        return [numbered(item, paths, join(path, index)) for index, item in enumerate(tree)]
    paths.append(path)
    return 1000 + len(paths)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.dictionaries(keys, trees, max_size=4), st.sampled_from(["json", "yaml"]))
def test_each_value_has_the_line_where_it_is_written(tmp_path, tree, ending):
    """The numbers of a file with one of them a line are found on their lines."""
    paths: list = []
    data = numbered(tree, paths)
    text = json.dumps(data, indent=1) if ending == "json" else yaml.safe_dump(data, sort_keys=False)
    read = read_config(write(tmp_path, f"a.{ending}", text))
    assert read == data
    for number, path in enumerate(paths, start=1001):
        place = places.place_of(read, path)
        assert place is not None
        assert (place.path, str(number) in text.splitlines()[place.line - 1]) == (path, True)


def test_keywords_from_a_file_keep_their_places(tmp_path):
    """`build(**config)` is how frameworks call what a config names."""
    path = write(tmp_path, "a.yaml", "name: dice\nparams:\n  smoth: 1\n")
    with pytest.raises(InvalidConfigError, match=r"a.yaml:3: params.smoth: unknown parameter"):
        lossreg.build(**read_config(path))


def test_few_values_are_remembered(tmp_path, monkeypatch):
    """The oldest files are forgotten first, and their problems have no line; a huge file is never remembered."""
    monkeypatch.setattr(places, "MAX_REMEMBERED", 50)
    monkeypatch.setattr(places, "_reads", {})
    monkeypatch.setattr(places, "_files", deque())
    first = read_config(write(tmp_path, "a.yaml", "name: dice\nparams:\n  smoth: 1\n"))
    assert "a.yaml:3" in refused(first)[0]
    for number in range(100):
        read_config(write(tmp_path, f"{number}.yaml", "name: dice\nparams: {a: {}, b: {}}\n"))
    assert len(places._reads) <= places.MAX_REMEMBERED
    assert refused(first)[0].startswith("params.smoth: unknown")
    assert places.read_of(read_config(write(tmp_path, "b.yaml", f"a: [{'[],' * places.MAX_REMEMBERED}]\n"))) is None
