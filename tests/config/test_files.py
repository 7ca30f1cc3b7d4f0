"""Reading config files: YAML, TOML and JSON, whole or at a place, valid or not."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lossreg import InvalidConfigError, read_config

CONFIG = {"name": "focal", "params": {"gamma": 1.5}}
FILES = {
    "a.yaml": "training:\n  loss:\n    name: focal\n    params: {gamma: 1.5}\nruns: [{loss: dice}, {loss: bce}]\n",
    "a.YML": "training: {loss: {name: focal, params: {gamma: 1.5}}}\nruns:\n- loss: dice\n- loss: bce\n",
    "a.toml": '[training.loss]\nname = "focal"\nparams.gamma = 1.5\n[[runs]]\nloss = "dice"\n[[runs]]\nloss = "bce"\n',
    "a.json": '{"training": {"loss": {"name": "focal", "params": {"gamma": 1.5}}},'
    ' "runs": [{"loss": "dice"}, {"loss": "bce"}]}',
}


@pytest.mark.parametrize("name", FILES)
def test_each_format_holds_the_same_data(tmp_path, name):
    """The data are equal, at a place and whole."""
    path = tmp_path / name
    path.write_text(FILES[name])
    assert read_config(path, "training.loss") == CONFIG
    assert read_config(str(path), "runs.1.loss") == "bce"
    assert read_config(path) == {"training": {"loss": CONFIG}, "runs": [{"loss": "dice"}, {"loss": "bce"}]}


def test_a_place_below_a_number(tmp_path):
    """YAML reads whole numbers as keys; a place is text."""
    path = tmp_path / "a.yaml"
    path.write_text("folds: {0: {loss: dice}, 10: bce, '7': focal}\n")
    assert [read_config(path, f"folds.{place}") for place in ("0.loss", "10", "7")] == ["dice", "bce", "focal"]
    assert read_config(path, ("folds", 10)) == "bce"


def test_a_place_by_steps(tmp_path):
    """A sequence of keys and indices names keys with dots, which text splits."""
    path = tmp_path / "a.json"
    path.write_text('{"model.v2": {"losses": ["dice", {"name": "bce"}]}, "model": {"v2": "wrong"}}')
    assert read_config(path, ("model.v2", "losses", 1, "name")) == "bce"
    assert read_config(path, at=["model.v2", "losses", "0"]) == "dice"
    assert read_config(path, "model.v2") == "wrong"
    assert len(read_config(path, ())) == 2
    with pytest.raises(InvalidConfigError, match=r"nothing at \('model.v2', 'loss'\): no 'loss'; keys are losses"):
        read_config(path, ("model.v2", "loss"))
    with pytest.raises(InvalidConfigError, match=r"no -1 in a list of 2"):
        read_config(path, ("model.v2", "losses", -1))


def test_the_place_of_a_message_is_a_place(tmp_path):
    """A copied path of a problem leads to its value."""
    path = tmp_path / "a.yaml"
    path.write_text("runs:\n- loss: dice\n- {a b: [bce], model.v2: {'7': focal}}\n")
    places = ("runs[0].loss", "runs[1]['a b'][0]", "runs[1]['model.v2']['7']")
    assert [read_config(path, place) for place in places] == ["dice", "bce", "focal"]


@pytest.mark.parametrize(
    "at, message",
    [
        ("training.los", "nothing at 'training.los': no 'los'; keys are loss"),
        ("runs.2", "nothing at 'runs.2': no '2' in a list of 2"),
        ("runs.x", "no 'x' in a list of 2"),
        ("training.loss.name.x", "no 'x' in the text 'focal'"),
    ],
)
def test_a_place_that_is_not_there(tmp_path, at, message):
    """The message lists the keys that exist."""
    path = tmp_path / "a.yaml"
    path.write_text(FILES["a.yaml"])
    with pytest.raises(InvalidConfigError) as caught:
        read_config(path, at)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("a.ini", "", r"expected a file ending in .json, .toml, .yaml, .yml, got '.ini'"),
        ("a", "", "got ''"),
        ("a.json", "{", "is not valid JSON: Expecting"),
        ("a.toml", "= 5", "is not valid TOML"),
        ("a.yaml", "a: [", "is not valid YAML"),
        ("a.yaml", "? [a]\n: b", "is not valid YAML"),
        ("a.yaml", "!!python/object/apply:os.system ['true']", "is not valid YAML: could not determine a constructor"),
        ("a.yaml", "!!bool x", "is not valid YAML"),
        ("a.yaml", "!!int ''", "is not valid YAML"),
        ("a.yaml", "!!timestamp x", "is not valid YAML"),
        ("a.yaml", "2020-99-99", "is not valid YAML"),
        ("a.json", "[" * 100_000, "nested too deeply to be read"),
        ("a.yaml", "- " * 3000, "nested too deeply to be read"),
        ("a.json", "1" * 5000, "is not valid JSON"),
        ("a.json", b"\xff\xfe\x00", "is not valid JSON"),
        ("a.yaml", "#" * (2**20 + 1), r"has 1048577 bytes; a loss config has at most 1048576$"),
    ],
)
def test_what_cannot_be_read_is_an_invalid_config(tmp_path, name, content, message):
    """An error of the parser becomes an invalid config; the message names the file."""
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InvalidConfigError, match=message) as caught:
        read_config(path)
    assert caught.value.problems[0].path == str(path)


@pytest.mark.parametrize("name", FILES)
def test_a_mark_of_the_byte_order_is_no_part_of_the_file(tmp_path, name):
    """Editors of Windows and PowerShell write it before UTF-8; lines end as they like."""
    path = tmp_path / name
    path.write_bytes(FILES[name].replace("\n", "\r\n").encode("utf-8-sig"))
    assert read_config(path, "training.loss") == CONFIG


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("name", FILES)
def test_utf_16_is_named_with_the_way_to_utf_8(tmp_path, name, encoding):
    """PowerShell writes it by default, and its zeros or first bytes are no valid text."""
    path = tmp_path / name
    path.write_bytes(FILES[name].encode(encoding))
    with pytest.raises(InvalidConfigError, match=r"it is UTF-16; save it as UTF-8, in PowerShell by `\| Out-File"):
        read_config(path)


def test_a_file_that_is_not_there(tmp_path):
    """A missing file and a folder have a message of one line."""
    with pytest.raises(InvalidConfigError, match="cannot be read: No such file or directory"):
        read_config(tmp_path / "none.yaml")
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(InvalidConfigError, match="cannot be read: Is a directory"):
        read_config(tmp_path / "folder.yaml")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
@given(st.text(alphabet="!&*{}[]:-#|>'\"%@ \nabc01.<?,", max_size=60), st.sampled_from(["json", "toml", "yaml"]))
def test_any_text_is_data_or_an_invalid_config(tmp_path, text, ending):
    """No text raises another error, in any format."""
    path = tmp_path / f"fuzz.{ending}"
    path.write_text(text)
    try:
        read_config(path)
    except InvalidConfigError as error:
        problems = error.problems
    else:
        problems = ()
    assert all(problem.path == str(path) for problem in problems)
