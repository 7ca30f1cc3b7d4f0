"""Configs, manifests and metadata from strangers: each attack is refused soon, in a short message."""

import io
import json
import subprocess
import sys
import textwrap

import pytest

import lossreg
from lossreg import InvalidConfigError, LossregError, cli, read_config, validate
from lossreg.config.files import MAX_BYTES

from ..fakes import transplant

SECONDS = 10
MEGABYTES = 1024
LETTERS = 20_000

# Runs all cases in one process, which is stopped above the limits of memory and time.
MEASURE = """
import resource, sys, time
from lossreg import InvalidConfigError, read_config, validate

sys.path.insert(0, {folder!r})
import cases

resource.setrlimit(resource.RLIMIT_AS, ({bytes}, {bytes}))
start = time.process_time()
for name in {names!r}:
    try:
        config = cases.CASES[name]()
        validate(read_config(config) if isinstance(config, str) and config.startswith("/") else config)
    except InvalidConfigError as error:
        taken, start = time.process_time() - start, time.process_time()
        print(name, round(taken, 1), len(str(error)), str(error)[:300].encode("ascii", "replace").decode(), sep="|")
"""
CASES = """
import pathlib

def file(ending, text):
    def write():
        path = pathlib.Path(__file__).with_name("case" + ending)
        path.write_text(text()[:2**20])
        return str(path)
    return write

def itself():
    config = {"name": "weighted_sum", "params": {}}
    config["params"]["terms"] = [config]
    return config

def deep(levels):
    config = {"name": "dice"}
    for _ in range(levels):
        config = {"name": "weighted_sum", "params": {"terms": [config]}}
    return config

def shared(value):
    for _ in range(60):
        value = [value] * 10
    return {"name": "dice", "params": {"smooth": value}}

def wide():
    value = [{1}] * 1000
    for number in range(60):
        value = {"k" * 199: value}
    return {"name": "dice", "params": {"a": value, "b": [value] * 90}}

DOTTED = ".".join("a" * 500_000)
CASES = {
    "deep": lambda: deep(10**5),
    "terms": lambda: {"name": "weighted_sum", "params": {"terms": ["dice"] * 10**6}},
    "bad terms": lambda: {"name": "weighted_sum", "params": {"terms": [{"nam": "dice"}] * 40_000}},
    "text": lambda: {"name": "dice", "params": {"task": "x" * 10**8}},
    "name": lambda: "x" * 10**8,
    "key": lambda: {"name": "dice", "params": {"x" * 10**8: 1}},
    "integer": lambda: {"name": "dice", "params": {"smooth": 1 << 10**8}},
    "integer key": lambda: {"name": "dice", "params": {1 << 10**8: 1}},
    "itself": itself,
    "shared": lambda: shared("x"),
    "long paths": wide,
    "range": lambda: {"name": "dice", "params": {"smooth": range(10**12)}},
    "yaml laughs": file(".yaml", lambda: "a0: &a0 x\\n" + "".join(
        f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]\\n" for i in range(1, 40))),
    "yaml merge": file(".yaml", lambda: "a0: &a0 {k: 1}\\n" + "".join(
        f"a{i}: &a{i} {{<<: [{','.join([f'*a{i - 1}'] * 10)}]}}\\n" for i in range(1, 12))),
    "yaml wide merge": file(".yaml", lambda: "a: &a {" + ",".join(f"k{i}: 1" for i in range(30_000))
        + "}\\nb: {<<: [" + ",".join(["*a"] * 30_000) + "]}"),
    "yaml merge of itself": file(".yaml", lambda: "&a {<<: *a}"),
    "yaml itself": file(".yaml", lambda: "&a [*a]"),
    "yaml base 60": file(".yaml", lambda: "a: 1" + ":1" * 500_000),
    "yaml float of base 60": file(".yaml", lambda: "a: 1" + ":1" * 190 + ".5"),
    "yaml integer": file(".yaml", lambda: "a: 0x" + "f" * 10**6),
    "yaml deep": file(".yaml", lambda: "[" * 10**6),
    "yaml deep block": file(".yaml", lambda: "- " * 10**6),
    "yaml lists": file(".yaml", lambda: "[" + "[]," * 349_000 + "]"),
    "yaml tag": file(".yaml", lambda: "!" + "a" * 10**6 + " x"),
    "yaml alias": file(".yaml", lambda: "*" + "a" * 10**6),
    "yaml bool": file(".yaml", lambda: "!!bool " + "a" * 10**6),
    "json deep": file(".json", lambda: "[" * 10**6),
    "json deep objects": file(".json", lambda: '{"a":' * 170_000),
    "json keys": file(".json", lambda: "{" + ",".join(f'"\\\\u0001{i}": 0' for i in range(60_000)) + "}"),
    "json integer": file(".json", lambda: "9" * 10**6),
    "toml dotted": file(".toml", lambda: DOTTED + " = 1"),
    "toml spaced": file(".toml", lambda: DOTTED[:200_000].replace(".", " . ") + " = 1"),
    "toml quoted": file(".toml", lambda: DOTTED[:200_000].replace("a", '"\\\\""') + " = 1"),
    "toml table": file(".toml", lambda: "[" + DOTTED + "]"),
    "toml nearly": file(".toml", lambda: "\\n".join(f"b{i}." + DOTTED[:125] + "=1" for i in range(7500))),
    "toml prose": file(".toml", lambda: "\\n".join(['#' + DOTTED[:127] + "."] * 8000) + "\\n="),
    "toml words": file(".toml", lambda: "a" * 10**6),
    "toml quotes": file(".toml", lambda: "\\"'" * 500_000),
    "toml deep": file(".toml", lambda: "a = " + "[" * 10**6),
    "toml deep tables": file(".toml", lambda: "a = " + "{a = " * 170_000),
    "toml tables": file(".toml", lambda: "[[a]]\\n" * 170_000),
    "yaml keys": file(".yaml", lambda: "".join(f"k{i}: {i}\\n" for i in range(49_000)) + "k0: 1"),
    "yaml paths": file(".yaml", lambda: "".join(" " * i + "k" * 900 + ":\\n" for i in range(150))
        + " " * 150 + "a: [" + "[]," * 45_000 + "]"),
    "yaml octal": file(".yaml", lambda: "name: dice\\nparams: {smooth: [" + "010," * 45_000 + "]}"),
    "yaml octal digits": file(".yaml", lambda: "name: dice\\nparams: {smooth: 0" + "7" * 399 + "}"),
    "json paths": file(".json", lambda: ('{"' + "k" * 5000 + '":') * 100 + "[" + "[]," * 150_000 + "0]" + "}" * 100),
    "json twice": file(".json", lambda: "{" + ",".join(f'"{i}": 0' for i in range(60_000)) + ',"0": 1}'),
    "json lists": file(".json", lambda: "[" + "[]," * 340_000 + "0]"),
    "toml twice": file(".toml", lambda: "".join(f"k{i} = {i}\\n" for i in range(60_000)) + "k0 = 1"),
    "toml texts": file(".toml", lambda: 'a = ' + '"' * 3 + ('\\n\\\\' + '"' * 3) * 200_000),
    "toml escapes": file(".toml", lambda: '= "' + '\\\\"' * 500_000),
    "toml headers": file(".toml", lambda: "".join(f"[{'.'.join('a' * 60)}.b{i}]\\n" for i in range(8000)) + "="),
    "toml arrays": file(".toml", lambda: "= " + "[" * 10**6),
    "toml integer": file(".toml", lambda: "a = " + "9" * 10**6),
}
"""


def measured(tmp_path, names):
    """Return seconds, length and text of each case's error; a case above the limits has none."""
    (tmp_path / "cases.py").write_text(CASES)
    code = MEASURE.format(folder=str(tmp_path), bytes=MEGABYTES * 2**20, names=names)
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=SECONDS * len(names))
    assert result.returncode == 0, result.stderr[-2000:]
    lines = [line.split("|", 3) for line in result.stdout.splitlines() if line.count("|") >= 3]
    return {name: (float(seconds), int(letters), text) for name, seconds, letters, text in lines}


@pytest.mark.tools  # over 10 s: each config has a process whose memory is measured
def test_a_hostile_config_ends_soon_in_little_memory_with_a_short_message(tmp_path):
    """The cases run in turn, each within the time limit, all within the memory of the process."""
    pytest.importorskip("resource", reason="this system bounds no memory")
    namespace: dict = {"__file__": str(tmp_path / "cases.py")}
    exec(CASES, namespace)
    names = list(namespace["CASES"])
    found = measured(tmp_path, names)
    assert [*found] == names
    assert {name: seconds for name, (seconds, *_) in found.items() if seconds > SECONDS} == {}
    assert {name: letters for name, (_, letters, _) in found.items() if letters > LETTERS} == {}
    assert all(text.startswith("invalid loss config: ") for *_, text in found.values())
    for name, message in {
        "deep": "nested deeper than 64 levels",
        "terms": "the config holds more than 100000 values",
        "itself": "contains itself",
        "yaml laughs": "the config holds more than 100000 values",
        "yaml merge": "it holds more than 100000 values",
        "yaml base 60": "a number has 1000001 characters; at most 400 are read",
        "yaml float of base 60": "is not valid YAML",
        "toml dotted": "a dotted key has more than 64 parts",
        "toml quoted": "a dotted key has more than 64 parts",
    }.items():
        assert message in found[name][2]


def test_ordinary_files_are_within_the_bounds(tmp_path):
    """Merge keys, numbers to base 60, dotted keys and prose are read."""
    path = tmp_path / "a.yaml"
    path.write_text("base: &b {x: 1}\nmore: &c {<<: *b, y: 2}\nboth: {<<: [*c, {z: 3}], x: 5}\ntime: 1:30\nf: 1:30.5\n")
    assert read_config(path)["both"] == {"x": 5, "y": 2, "z": 3}
    assert (read_config(path)["time"], read_config(path)["f"]) == (90, 90.5)
    path = tmp_path / "a.toml"
    path.write_text(f'{".".join("a" * 60)} = 1\nlist = [{", ".join(["0.5"] * 1000)}]\ntext = "{"One. " * 60}"\n')
    assert len(read_config(path)["list"]) == 1000


TOUCH = "import pathlib; pathlib.Path({path!r}).touch()"


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.system ['touch {path}']",
        "!!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ['{path}']]",
        "!!python/object/new:os.system ['touch {path}']",
        "!!python/name:os.system",
        "!!python/module:evil_config",
        "name: !!python/object/apply:os.system ['touch {path}']",
        "name: os:system\nparams: {{command: 'touch {path}'}}",
        "name: evil_config:Evil",
        "name: evil_config.Evil",
        "name: __import__('evil_config')",
        "name: ${{oc.env:HOME}}",
        "name: dice\nparams: {{task: 'evil_config:Evil'}}",
        "name: dice\nparams: {{_target_: evil_config.Evil}}",
        "name: weighted_sum\nparams: {{terms: [{{name: 'evil_config:Evil'}}]}}",
        "name: dice\nprovider: evil_config",
        "name: dice\ntarget: evil_config:Evil",
    ],
)
def test_a_config_runs_no_code(site, text):
    """YAML's tags, names, targets and paths run nothing and import nothing."""
    site.module("evil_config", TOUCH.format(path=str(site.root / "ran")) + "\nclass Evil: ...")
    path = site.root / "a.yaml"
    path.write_text(text.format(path=site.root / "ran"))
    with pytest.raises(InvalidConfigError):
        lossreg.build(read_config(path))
    assert not (site.root / "ran").exists()
    assert "evil_config" not in sys.modules


def test_a_manifest_runs_no_code_until_its_loss_is_asked_for(site, monkeypatch):
    """Listing, searching, validating and the schema only read it; `get` imports its target alone."""
    for name in ("evil_target", "evil_other"):
        site.module(
            name, TOUCH.format(path=str(site.root / name)) + "\nfrom acme_base import Module\nclass L(Module): ..."
        )
    loss = {
        "target": "evil_target:L",
        "tags": ["t"],
        "parameters": {"type": "object", "properties": {"x": {"type": "string", "default": "evil_other:L"}}},
        "contract": {"tasks": ["evil_other:L"], "implementations": {"a": {"package": "evil_other"}}},
        "import": "evil_other",
    }
    data = {"schema": 1, "losses": {"evil_loss": loss, "other": loss | {"target": "evil_other:L"}}}
    site.package("evil_package", data)
    site.distribution("evil", manifests={"evil": "evil_package"})
    fresh = site.registry()
    transplant(monkeypatch, lossreg.losses, fresh)
    assert "evil_loss" in lossreg.losses.find("t")
    assert validate("evil_loss").params == {"x": "evil_other:L"}
    lossreg.json_schema(["evil_loss"])
    ran = {path.name for path in site.root.iterdir()} & {"evil_target", "evil_other"}
    assert ran == set()
    lossreg.losses.get("evil_loss")
    ran = {path.name for path in site.root.iterdir()} & {"evil_target", "evil_other"}
    assert ran == {"evil_target"}


EVIL = "\x1b[31m\x07\x9b2J\u202e\x00\x7f\ud800\r\n"


class Terminal(io.StringIO):
    """Output to a terminal."""

    def isatty(self):
        return True


@pytest.fixture
def printed(site, monkeypatch):
    """Return a function that runs a command and returns its output. Packages contain control characters."""
    parameters = {"properties": {"a": {"type": "string", "default": EVIL, "description": EVIL}}}
    loss = dict.fromkeys(("summary", "formula", "shapes", "source"), f"x{EVIL}x") | {
        "target": "evil:Evil",
        "tags": ["evil"],
        "parameters": parameters,
        "contract": {"tasks": [EVIL], EVIL: EVIL, "implementations": {EVIL: {"device": EVIL}}},
        "example": {"a": EVIL},
    }
    site.package("evil", {"schema": 1, "losses": {"evil_loss": loss, "evil_name" + EVIL: loss}})
    site.distribution("evil", manifests={"evil": "evil"})
    site.raw_distribution("bad\x1b[31m", b"[lossreg.losses]\nx = a:B\n")
    site.raw_distribution("worse", b"[lossreg.losses]\nx\x1b[31m = a:B\ny = \x1b[31m\n")
    site.raw_distribution("worst", b"[lossreg.manifests]\nx = evil\x1b[31m:a\n\x1b[31m = evil\n")
    site.distribution("lossreg-version", losses={"version_loss": "a:B"}, version="1\x1b[31m")
    fresh = site.registry()
    fresh.list()
    transplant(monkeypatch, lossreg.losses, fresh)

    def run(*arguments):
        output = Terminal()
        monkeypatch.setattr(sys, "argv", ["lossreg", *arguments])
        monkeypatch.setattr(sys, "stdout", output)
        monkeypatch.setattr(sys, "stderr", output)
        with pytest.raises(SystemExit) as stop:
            cli.main()
        assert stop.value.code == 0
        return output.getvalue()

    return run


@pytest.mark.parametrize(
    "arguments",
    [("list",), ("list", "--json"), ("list", "--tag", "evil"), ("show", "evil_loss"), ("show", "evil/evil_loss")],
    ids=" ".join,
)
def test_packages_do_not_steer_the_terminal(printed, arguments):
    """Every printed character is printable, or the end of a line."""
    output = printed(*arguments)
    assert "evil_loss" in output
    assert {character for character in output if not character.isprintable()} == {"\n"}
    assert output.encode("utf-8")
    assert not any(line.startswith("x") for line in output.splitlines()), "a summary made a line of its own"


def test_errors_of_packages_are_short_and_printable(printed):
    """The error of an unknown name contains the failures and the name."""
    with pytest.raises(LossregError) as caught:
        lossreg.losses.get("evil" + EVIL)
    text = str(caught.value)
    assert text.replace("\n", "").isprintable()
    assert text.count("\n  not read: ") == len(lossreg.losses.failures) >= 5
    assert len(text) < 3000


def test_the_problems_of_a_config_are_bounded():
    """Their number and the length of the message are bounded; the error holds each problem whole."""
    with pytest.raises(InvalidConfigError, match="101 problems") as caught:
        validate({"name": "dice", "params": dict.fromkeys(map(float, range(5000)), 1)})
    assert len(caught.value.problems) == 101
    assert caught.value.problems[-1].message == "not read further after 100 problems"
    assert str(caught.value).endswith("\n  not read further after 100 problems")
    with pytest.raises(InvalidConfigError) as caught:
        validate({"name": "dice", "params": dict.fromkeys(("k" * 190 + str(number) for number in range(90)), 1)})
    assert len(str(caught.value)) < LETTERS
    assert len(caught.value.problems) == 90
    assert str(caught.value).splitlines()[-1].startswith("  and ")


def test_a_config_file_is_bounded_in_size(tmp_path):
    """A larger file is not read."""
    path = tmp_path / "a.json"
    path.write_text(json.dumps("x" * MAX_BYTES))
    with pytest.raises(InvalidConfigError, match=r"a loss config has at most 1048576$"):
        read_config(path)


def test_a_key_that_is_not_there_lists_few_of_a_thousand_others(tmp_path):
    """The message stays short for a file with many keys."""
    path = tmp_path / "a.json"
    path.write_text(json.dumps(dict.fromkeys(map(str, range(20_000)))))
    with pytest.raises(InvalidConfigError, match="nothing at 'loss'") as caught:
        read_config(path, "loss")
    assert len(str(caught.value)) < 1500


@pytest.mark.tools
def test_the_measure_notices_what_takes_too_much(tmp_path):
    """The test above can fail: a parser without bounds needs more memory than the limit."""
    pytest.importorskip("resource", reason="this system bounds no memory")
    (tmp_path / "cases.py").write_text(CASES)
    code = f"""
        import resource, sys
        sys.path.insert(0, {str(tmp_path)!r})
        import cases, yaml
        resource.setrlimit(resource.RLIMIT_AS, (100 * 2**20,) * 2)
        yaml.safe_load(open(cases.CASES["yaml merge"]()))
    """
    result = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, timeout=300)
    assert b"MemoryError" in result.stderr
