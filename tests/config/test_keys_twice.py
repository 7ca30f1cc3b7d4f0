"""A key that is written twice: an error with both lines, in each format and at any depth."""

import json
import re
import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossreg import InvalidConfigError, read_config
from lossreg.config.toml_reader import read_toml


@pytest.mark.parametrize(
    "name, text, key, lines",
    [
        ("a.yaml", "name: dice\nname: focal\n", "name", "lines 1 and 2"),
        (
            "a.yaml",
            "params:\n  terms:\n    - name: dice\n      weight: 1\n      name: focal\n",
            "name",
            "lines 3 and 5",
        ),
        ("a.yaml", "a: {b: {alpha: 0.3,\n  beta: 1, alpha: 0.9}}\n", "alpha", "lines 1 and 2"),
        ("a.yaml", "a: {x: 1, 'x': 2}\n", "x", "line 1"),
        ("a.yaml", "1: a\n0x1: b\n", "0x1", "lines 1 and 2"),
        ("a.yaml", "a: &a {x: 1, x: 2}\nb: *a\n", "x", "line 1"),
        ("a.yaml", "a: &a {x: 1}\nb: {<<: *a, y: 1, y: 2}\n", "y", "line 2"),
        ("a.yaml", "a: &a {x: 1}\nb:\n  <<: *a\n  <<: *a\n", "<<", "lines 3 and 4"),
        ("a.json", '{"alpha": 0.3,\n "alpha": 0.9}', "alpha", "lines 1 and 2"),
        ("a.json", '{"a": [1, {"b": {"x": "\\n{",\n\n"x": 1}}]}', "x", "lines 1 and 3"),
        ("a.json", '{"x": {"y": 1},\n"\\u0078": 1}', "x", "lines 1 and 2"),
        ("a.toml", "a = 1\n# a = 2\na = 3\n", "a", "lines 1 and 3"),
        ("a.toml", "a = 1\n'a' = 3\n", "a", "lines 1 and 2"),
        ("a.toml", "[a]\nb = 1\n\n[c]\n[a]\n", "a", "lines 1 and 5"),
        ("a.toml", "[a.b]\n[a]\nx.y = 1\nx.z = 2\nx.y = 3\n", "y", "lines 3 and 5"),
        ("a.toml", 'a = """\na = 1\n""""\n[b]\nc = [\n1,\n{x = 1, y = 2, x = 3}]\n', "x", "line 7"),
        ("a.toml", "[[a]]\nx = 1\n[[a]]\nx = 1\nx = 2\n", "x", "lines 4 and 5"),
        ("a.toml", "a.b = 1\n[a]\n", "a", "lines 1 and 2"),
        ("a.toml", "[a]\nb.c = 1\n[a.b]\n", "b", "lines 2 and 3"),
        ("a.toml", "[[a]]\n[a]\n", "a", "lines 1 and 2"),
        ("a.toml", "[a]\n[[a]]\n", "a", "lines 1 and 2"),
        ("a.toml", "a = 1\n[a.b]\n", "a", "lines 1 and 2"),
        ("a.toml", "a.b = {c = 1}\na.b.d = 1\n", "b", "lines 1 and 2"),
    ],
)
def test_the_message_has_the_key_and_both_lines(tmp_path, name, text, key, lines):
    """The first value would vanish without a word: in YAML and JSON the parsers themselves keep the last."""
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(InvalidConfigError) as caught:
        read_config(path)
    language = path.suffix[1:].upper()
    expected = f"{path}: is not valid {language}: the key '{key}' is written twice, in {lines}; "
    assert str(caught.value).startswith(f"invalid loss config: {expected}")


def test_two_spellings_of_one_key_are_both_named(tmp_path):
    """YAML reads no and off as false, and 1 and 1.0 are one key of a dict."""
    path = tmp_path / "a.yaml"
    for text, reason in (("no: 1\noff: 2\n", "no and off as one key, False"), ("1: a\n1.0: b\n", "1 and 1.0 as one")):
        path.write_text(text)
        with pytest.raises(InvalidConfigError, match=f"is written twice, in lines 1 and 2; YAML reads {reason}"):
            read_config(path)


def test_the_remedy_fits_the_mistake(tmp_path):
    """A forgotten dash of YAML is the most frequent cause; merges have a list."""
    path = tmp_path / "a.yaml"
    for text, remedy in {
        "terms:\n- name: dice\n  name: focal\n": "remove one, or write '- ' before the second if it begins a new item",
        "a: &a {}\nb: {<<: *a, <<: *a}\n": "write one: <<: [*a, *b]",
    }.items():
        path.write_text(text)
        with pytest.raises(InvalidConfigError, match=re.escape(remedy)):
            read_config(path)
    path.write_text("terms:\n- name: dice\n- name: focal\n")
    assert read_config(path) == {"terms": [{"name": "dice"}, {"name": "focal"}]}
    path.write_text("a: &a {x: 1}\nb: &b {y: 2}\nc: {<<: [*a, *b]}\n")
    assert read_config(path)["c"] == {"x": 1, "y": 2}


@pytest.mark.parametrize(
    "text, value",
    [
        ("base: &b {x: 1, y: 2}\nmore: {<<: *b, x: 5}\n", {"x": 5, "y": 2}),
        ("base: &b {x: 1, y: 2}\nmore: {x: 5, <<: *b}\n", {"x": 5, "y": 2}),
        ("a: &a {x: 1}\nb: &b {<<: *a, x: 2}\nmore: {<<: [*b, *a]}\n", {"x": 2}),
        ("a: &a {x: 1}\nb: &b {<<: *a, x: 2}\nc: {<<: *b}\nmore: {<<: *b, x: 3}\n", {"x": 3}),
        ("base: &b {x: 1}\nmore: {'<<': *b}\n", {"<<": {"x": 1}}),
    ],
)
def test_a_merged_key_may_be_overridden(tmp_path, text, value):
    """A merge gives defaults, which are no second value."""
    path = tmp_path / "a.yaml"
    path.write_text(text)
    assert read_config(path)["more"] == value


keys = st.sampled_from(["a", "b", "a b", "a.b", '"', "'", "", "é", "[", "#", "=", "\\"])
scalars = st.sampled_from([1, 1.5, True, "x", "# [a]\n= {", 'a """ b', "''' ]"])
data = st.recursive(
    scalars, lambda each: st.lists(each, max_size=3) | st.dictionaries(keys, each, max_size=3), max_leaves=9
)


def toml(value):
    """Write a value of TOML, with inline tables alone."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + "".join(f"\n{toml(item)}, # ] }}" for item in value) + "\n]"
    return json.dumps(value)


def shape(outline):
    """Return the keys of an outline, as nested mappings."""
    return {key: shape(inner) for key, inner in outline.items.items()}


def shape_of(value):
    """Return the keys and indices of a value in the same form."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {key: shape_of(item) for key, item in pairs}


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(keys, data, max_size=4), st.lists(st.lists(keys, min_size=1, max_size=3), max_size=4))
def test_an_outline_of_toml_has_the_keys_of_the_data(values, tables):
    """All that tomllib accepts is outlined key for key, tables, arrays of tables and dotted keys included."""
    lines = [f"{json.dumps(key)} = {toml(value)}" for key, value in values.items()]
    for number, table in enumerate(tables):
        dotted = ".".join(map(json.dumps, table))
        lines.append(f"[[{dotted}]]" if number % 2 else f"[ {dotted} ]")
        lines.append(f"dotted . {json.dumps('a b')} = {number}")
    text = "\n".join(lines)
    try:
        expected = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        with pytest.raises(ValueError, match=r"is written twice, in line|\(at line"):
            read_toml(text)
    else:
        found, outline = read_toml(text)
        assert (found, shape(outline)) == (expected, shape_of(expected))


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="ab\"'\\[]{}=.,#\n 1", max_size=40))
def test_any_text_is_toml_or_an_error(text):
    """No text hangs the search for a key that is written twice, and none is refused that tomllib takes."""
    try:
        expected = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        with pytest.raises(ValueError, match=r"."):
            read_toml(text)
    else:
        found, outline = read_toml(text)
        assert (found, shape(outline)) == (expected, shape_of(expected))
