"""Words and numbers that YAML 1.1 reads otherwise than they are written, and the message about each."""

import datetime

import pytest
import yaml
from torch import nn

from lossreg import InvalidConfigError, losses, read_config, validate


class Switch(nn.Module):
    """A loss with a parameter of text."""

    def __init__(self, *, mode: str = "a"):
        super().__init__()


def problems(folder, text):
    """Return the problems of the config in a file of YAML, by path."""
    path = folder / "a.yaml"
    path.write_text(text)
    with pytest.raises(InvalidConfigError) as caught:
        validate(read_config(path))
    assert {(each.file, each.line > 0) for each in caught.value.problems} == {(str(path), True)}
    return dict(caught.value.problems)


@pytest.mark.parametrize(
    "written, message",
    [
        ("010", "YAML reads 010 as 8, in octal; write 8, or 10, or '010' in quotes for the text"),
        ("-0_17", "YAML reads -0_17 as -15, in octal; write -15, or -17, or '-0_17' in quotes for the text"),
        ("!!int '010'", "YAML reads 010 as 8, in octal; write 8, or 10, or '010' in quotes for the text"),
        ("1:30", "YAML reads 1:30 as 90, to base 60; write 90, or '1:30' in quotes for the text"),
        ("1:30.5", "YAML reads 1:30.5 as 90.5, to base 60; write 90.5, or '1:30.5' in quotes for the text"),
    ],
)
@pytest.mark.parametrize(
    "text, path",
    [
        ("name: dice\nparams: {smooth: %s}", "params.smooth"),
        ("name: weighted_sum\nparams: {terms: [dice, {name: bce, weight: %s}]}", "params.terms[1].weight"),
        ("name: dice\nparams:\n  class_weight:\n  - 1\n  - %s", "params.class_weight[1]"),
    ],
)
def test_a_number_in_a_notation_of_yaml_alone_is_refused(tmp_path, text, path, written, message):
    """It would be another number than its digits say, without a word."""
    assert problems(tmp_path, text % written) == {path: message}


@pytest.mark.parametrize(
    "written, value",
    [("0", 0), ("007", 7), ("00", 0), ("1_000", 1000), ("0x1F", 31), ("0b11", 3), ("+5", 5), ("0.5", 0.5)],
)
def test_a_number_that_is_what_it_seems_is_read(tmp_path, written, value):
    """Leading zeros that change nothing, underlines, and the notations of Python pass."""
    path = tmp_path / "a.yaml"
    path.write_text(f"name: dice\nparams: {{smooth: {written}}}")
    assert validate(read_config(path)).params["smooth"] == value


def test_only_the_loss_counts(tmp_path):
    """Other parts of the file may have any notation."""
    path = tmp_path / "a.yaml"
    path.write_text("time: 1:30\nmode: 0755\nloss: {name: dice, params: {smooth: 1}}\n")
    assert (read_config(path)["time"], read_config(path)["mode"]) == (90, 493)
    assert validate(read_config(path, "loss")).params["smooth"] == 1.0


@pytest.mark.parametrize(
    "text, found",
    [
        ("name: no", {"name": "expected text, got False; YAML reads no as false: write 'no' in quotes"}),
        ("name: Yes", {"name": "expected text, got True; YAML reads Yes as true: write 'Yes' in quotes"}),
        ("name: ~", {"name": "expected text, got None; YAML reads ~ as null: write '~' in quotes for the text"}),
        ("name:", {"name": "expected text, got None; nothing is written there, which YAML reads as null"}),
        (
            "name: dice\nparams: {smooth: off}",
            {"params.smooth": "expected a number >= 0, got False; YAML reads off as false"},
        ),
        (
            "name: dice\nparams: {reduction: null}",
            {"params.reduction": "expected one of 'mean', 'sum', 'none', got None"},
        ),
        (
            "name: dice\nparams: {smooth: 08}",
            {
                "params.smooth": "expected a number >= 0, got the text '08';"
                " YAML takes 08 for text, as it begins with 0: write 8.0"
            },
        ),
        (
            "name: dice\nparams: {task: 2020-01-02}",
            {
                "params.task": "expected plain data as JSON holds it, got the date or time 2020-01-02;"
                " write it in quotes: '2020-01-02'"
            },
        ),
        (
            "name: dice\nparams: {off: 1}",
            {"params": "keys must be text, got False; write the key in quotes, as YAML reads off as false"},
        ),
        (
            "name: dice\nparams: {010: 1}",
            {"params['8']": "the key: YAML reads 010 as 8, in octal; write 8, or 10, or '010' in quotes for the text"},
        ),
    ],
)
def test_a_refused_word_is_explained(tmp_path, text, found):
    """The message has the word as it is written; quotes are advised only where the text would be accepted."""
    assert problems(tmp_path, text) == found


def test_true_and_false_need_no_explanation(tmp_path):
    """They are what they seem, and so are quoted words."""
    assert problems(tmp_path, "name: dice\nparams: {smooth: true, absent: 'off'}") == {
        "params.smooth": "expected a number >= 0, got True",
        "params.absent": "expected one of 'score', 'ignore', 'zero', 'false_positives', got the text 'off'",
    }


@pytest.mark.parametrize("value, words", [(False, "no and off as false: write 'no' or 'off'"), (True, "yes and on")])
def test_a_bool_from_elsewhere_is_explained_where_text_is_meant(value, words):
    """Configs that another library read have no places; the usual words are named."""
    with pytest.raises(InvalidConfigError, match=f"expected text, got {value}; YAML reads {words}"):
        validate({"name": value})
    with losses.scope() as scope:
        scope.register("switch")(Switch)
        with pytest.raises(InvalidConfigError, match=f"params.mode: expected text, got {value}; YAML reads {words}"):
            validate({"name": "switch", "params": {"mode": value}})


@pytest.mark.parametrize("advice", ["8", "10", "'010'"])
def test_each_advice_for_an_octal_number_is_what_it_says(advice):
    """YAML reads 8 and 10 as they are written, and the quoted one as text."""
    assert str(yaml.safe_load(advice)) == advice.strip("'")


def test_dates_of_toml_are_refused_too(tmp_path):
    """They are objects in every format that has them."""
    path = tmp_path / "a.toml"
    path.write_text("name = 'dice'\nparams.task = 07:32:00\n")
    assert read_config(path)["params"]["task"] == datetime.time(7, 32)
    with pytest.raises(InvalidConfigError, match=r"a.toml:2: params.task: .* write it in quotes: '07:32:00'"):
        validate(read_config(path))


COMMAND_LINE = "; on a command line, annotate the argument as lossreg.LossConfig (jsonargparse) or convert it"


@pytest.mark.parametrize(
    "parameter, text, message",
    [
        ("smooth", "0.5", "expected a number >= 0, got the text '0.5'; write the number without quotes: 0.5"),
        (
            "smooth",
            "08",
            "expected a number >= 0, got the text '08'; YAML takes 08 for text, as it begins with 0: write 8.0",
        ),
        ("batch", "true", "expected true or false, got the text 'true'"),
        ("ignore_index", "null", "expected an integer or null, got the text 'null'"),
        ("ignore_index", "255", "expected an integer or null, got the text '255'"),
        ("class_weight", "[1, 2]", "expected a list of at least 2, each a number >= 0 or null, got the text '[1, 2]'"),
    ],
)
def test_text_of_a_command_line(tmp_path, parameter, text, message):
    """There were no quotes. A value of a file has no such advice."""
    with pytest.raises(InvalidConfigError) as caught:
        validate("dice", params={parameter: text})
    assert dict(caught.value.problems) == {f"params.{parameter}": message + COMMAND_LINE}
    assert problems(tmp_path, f"name: dice\nparams: {{{parameter}: '{text}'}}") == {f"params.{parameter}": message}


@pytest.mark.parametrize("text", ["-1", "much", "NaN", "", "[" * 9000, "9" * 9000, '"0.5"'])
def test_text_that_is_no_allowed_value_in_any_notation(text):
    """Nothing is advised, and no depth or length breaks the message."""
    with pytest.raises(InvalidConfigError) as caught:
        validate("dice", smooth=text)
    assert "command line" not in str(caught.value)
