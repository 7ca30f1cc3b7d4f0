"""`manifest build` and `check` of packages with modules that cannot be imported, and classes that no config reaches."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import lossreg
from lossreg import ManifestError, MissingLibraryError
from lossreg.authoring import manifest_writer, package_modules

LOSS = """
    from torch import nn
    from lossreg import losses

    @losses.register("{name}")
    class Margin(nn.Module):
        def __init__(self, gamma: float = {gamma}):
            super().__init__()
"""
FAILING = {
    "exits": ("import sys; sys.exit(0)", "SystemExit: 0"),
    "usage": ("import sys; sys.exit('usage: train DATA')", "SystemExit: usage: train DATA"),
    "skips": ("import pytest; pytest.importorskip('acme_absent')", "Skipped: could not import 'acme_absent'"),
    "lacks": ("import acme_absent", "ModuleNotFoundError: No module named 'acme_absent'"),
    "fails": ("1 / 0", "ZeroDivisionError: division by zero"),
    "broken": ("def", "SyntaxError: invalid syntax"),
    "odd": ("class Odd(BaseException): ...\nraise Odd('odd\\nlines')", "Odd: odd lines"),
}


@pytest.fixture
def package(site, request):
    """Return a package with a loss, and a loss in its last module, under a name of its own."""
    name = f"acme_{request.node.originalname.removeprefix('test_')[:40]}_{len(request.node.name)}"
    site.module(f"{name}.good", LOSS.format(name="acme_good", gamma=1.0))
    site.module(f"{name}.zz_last", LOSS.format(name="acme_last", gamma=1.0))
    yield name
    site.forget()


def names(package, **options):
    return [*manifest_writer.generate(package, **options)["losses"]]


@pytest.mark.parametrize("source, shown", FAILING.values(), ids=FAILING)
def test_a_module_that_fails_is_named_with_the_ways_to_leave_it_out(site, package, source, shown):
    """Of every exception; nothing is written, and both ways that the message shows lead to the whole manifest."""
    site.module(f"{package}.inner.script", source)
    with pytest.raises(ManifestError) as caught:
        manifest_writer.build(package)
    lines = str(caught.value).splitlines()
    assert lines[0] == (
        f"{package}: these modules cannot be imported, and a manifest without their losses is not written:"
    )
    assert lines[1].startswith(f"  importing {package}.inner.script raised {shown}")
    assert f"  lossreg manifest build {package} --exclude {package}.inner.script" in lines
    assert lines[-2:] == ["  [tool.lossreg.manifest]", f'  exclude = ["{package}.inner.script"]']
    assert not (site.root / package / "lossreg.json").exists()
    (site.root / "pyproject.toml").write_text("\n".join(lines[-2:]))
    assert names(package) == ["acme_good", "acme_last"]
    manifest_writer.build(package)
    manifest_writer.check(package)


def test_all_modules_that_fail_are_named_at_once(site, package):
    """A subpackage that fails stands for the modules below it; those beside it are imported."""
    site.module(f"{package}.inner.__init__", "raise SystemExit")
    site.module(f"{package}.inner.below", "raise OSError('not reached')")
    site.module(f"{package}.other", "raise OSError('no device')")
    with pytest.raises(ManifestError) as caught:
        manifest_writer.build(package)
    failed = [line for line in str(caught.value).splitlines() if line.startswith("  importing")]
    assert failed == [
        f"  importing {package}.inner raised SystemExit:",
        f"  importing {package}.other raised OSError: no device",
    ]


def test_an_interrupt_ends_the_build(site, package):
    """It is the author's, and no fault of a module."""
    site.module(f"{package}.inner", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        manifest_writer.build(package)


def test_an_excluded_module_is_neither_imported_nor_described(site, package):
    """A pattern names modules; a package stands for all in it."""
    ran = site.root / "ran"
    site.module(f"{package}.tests.unit.test_one", f"from pathlib import Path\nPath({str(ran)!r}).touch()")
    for pattern in (f"{package}.tests", f"{package}.tests*", f"{package}.t*", f"{package}.tests.unit"):
        assert names(package, exclude=[pattern]) == ["acme_good", "acme_last"]
        assert not ran.exists()
    assert names(package, exclude=[f"{package}.tests", f"{package}.zz*"]) == ["acme_good"]
    assert names(package, exclude=[f"{package}.zz"]) == ["acme_good", "acme_last"]
    assert ran.exists()


def test_the_check_leaves_out_what_the_build_did(site, package):
    """Also without pyproject.toml, as where the wheel is installed; and its message has the command to build again."""
    site.module(f"{package}.script", "raise SystemExit")
    manifest_writer.build(package, [f"{package}.script"])
    manifest_writer.check(package)
    site.forget()
    site.module(f"{package}.good", LOSS.format(name="acme_good", gamma=3.0))
    with pytest.raises(ManifestError, match=rf"run `lossreg manifest build {package} --exclude {package}\.script`"):
        manifest_writer.check(package)


def test_patterns_of_other_packages_stay_out_of_a_manifest(site, package):
    """One pyproject.toml may be that of several packages."""
    (site.root / "pyproject.toml").write_text(
        f'[tool.lossreg.manifest]\nexclude = ["other.tests", "*.tests", "{package}.a"]'
    )
    manifest_writer.build(package)
    assert json.loads((site.root / package / "lossreg.json").read_text())["exclude"] == ["*.tests", f"{package}.a"]


@pytest.mark.parametrize(
    "text, message",
    [
        ("[tool.lossreg.manifest]\nexclude = 'acme'", r"exclude is a list of modules, got 'acme'; write it as"),
        ("[tool", r"pyproject.toml cannot be read: .*; mend it"),
    ],
)
def test_a_pyproject_that_cannot_be_read_is_an_error(site, package, text, message):
    """It could exclude a module."""
    (site.root / "pyproject.toml").write_text(text)
    with pytest.raises(ManifestError, match=message):
        manifest_writer.build(package)


def test_the_check_compares_what_can_be_imported(site, package):
    """It names the module that fails, and the differences of the others; losses of the failed one are no difference."""
    manifest_writer.build(package)
    site.forget()
    site.module(f"{package}.zz_last", "raise SystemExit(0)")
    with pytest.raises(ManifestError) as caught:
        manifest_writer.check(package)
    assert f"  importing {package}.zz_last raised SystemExit: 0" in str(caught.value).splitlines()
    assert "differs" not in str(caught.value)
    site.forget()
    site.module(f"{package}.good", LOSS.format(name="acme_good", gamma=3.0))
    with pytest.raises(ManifestError) as caught:
        manifest_writer.check(package)
    lines = str(caught.value).splitlines()
    assert f"  importing {package}.zz_last raised SystemExit: 0" in lines
    assert [line for line in lines if line.startswith(("- ", "+ "))] == [
        "- manifest",
        "+ code",
        "- losses.acme_good.parameters.properties.gamma.default = 1.0",
        "+ losses.acme_good.parameters.properties.gamma.default = 3.0",
    ]


MADE = """
    from torch import nn
    from lossreg import losses

    def make(power):
        @losses.register(f"acme_lp{power}")
        class Lp(nn.Module): ...
        return Lp

    One, Two = make(1), make(2)
"""
AGAIN = """
    from torch import nn
    from lossreg import losses

    @losses.register("acme_first")
    class Twice(nn.Module): ...

    @losses.register("acme_second")
    class Twice(nn.Module): ...
"""
AWAY = """
    from torch import nn
    from lossreg import losses

    def decorated(cls): return type(cls.__name__, (cls,), {"__module__": cls.__module__})

    @decorated
    @losses.register("acme_away")
    class Away(nn.Module): ...

    @losses.register("acme_deleted")
    class Deleted(nn.Module): ...
    del Deleted
"""


@pytest.mark.parametrize(
    "source, expected",
    [
        (
            MADE,
            {"make.<locals>.Lp": "is made inside a function, where no config finds it; define and register a class"},
        ),
        (AGAIN, {"Twice": "('acme_first') leads to another class or to nothing: its name was assigned again"}),
        (
            AWAY,
            {
                "Away": "('acme_away') leads to another class or to nothing",
                "Deleted": "('acme_deleted') leads to another class or to nothing",
            },
        ),
    ],
    ids=["made", "again", "away"],
)
def test_a_class_that_its_target_does_not_lead_to_is_refused(site, package, source, expected):
    """Every config of it would build another class, or none."""
    site.module(f"{package}.odd", source)
    with pytest.raises(ManifestError) as caught:
        manifest_writer.build(package)
    head, *lines = str(caught.value).splitlines()
    assert head == f"{package}: no manifest can hold these classes:"
    for target, text in expected.items():
        assert any(line.startswith(f"  {package}.odd:{target} ") and text in line for line in lines), lines
    assert not (site.root / package / "lossreg.json").exists()


def test_a_name_of_two_classes_names_the_module_of_the_second(site, package):
    """Its decorator refuses the second, so its module cannot be imported."""
    site.module(f"{package}.other", LOSS.format(name="acme_good", gamma=1.0))
    with pytest.raises(ManifestError, match=rf"importing {package}\.other raised ConflictError: .*'acme_good'"):
        manifest_writer.build(package)


def test_a_class_derived_from_that_of_a_function_is_described(site, package):
    """As the message advises."""
    source = MADE.replace('@losses.register(f"acme_lp{power}")', "") + (
        '\n    @losses.register("acme_lp2")\n    class Square(make(2)): ...\n'
    )
    site.module(f"{package}.odd", source)
    assert names(package) == ["acme_good", "acme_last", "acme_lp2"]


def test_one_class_under_two_names_is_one_entry_with_an_alias(site, package):
    """The decorators may be stacked."""
    site.module(
        f"{package}.good",
        """
    from torch import nn
    from lossreg import losses

    @losses.register("acme_outer")
    @losses.register("acme_inner", aliases=["acme_in"])
    class Margin(nn.Module): ...
    """,
    )
    entry = manifest_writer.generate(package)["losses"]["acme_inner"]
    assert entry["aliases"] == ["acme_in", "acme_outer"]


def test_an_unregistered_class_is_not_described(site, package):
    """Its decorator ran, and its module took it back."""
    site.module(f"{package}.gone", LOSS.format(name="acme_gone", gamma=1.0) + "\n    losses.unregister('acme_gone')\n")
    assert names(package) == ["acme_good", "acme_last"]


def test_without_torch_the_cause_is_torch(site, package, monkeypatch):
    """No module is blamed, and none is to be excluded."""
    monkeypatch.setitem(sys.modules, "torch", None)
    for command in (manifest_writer.build, manifest_writer.generate):
        with pytest.raises(MissingLibraryError) as caught:
            command(package)
        assert "torch cannot be imported: ModuleNotFoundError" in str(caught.value)
        assert str(caught.value).endswith("; reinstall it: pip install --force-reinstall torch")
        assert "exclude" not in str(caught.value)


@pytest.mark.parametrize("error", [ImportError("libcudnn.so.9"), OSError("no file"), SystemExit(1)])
def test_a_torch_that_raises_is_told(monkeypatch, error):
    """Broken installations raise different things."""

    def broken(name):
        raise error

    monkeypatch.setattr(package_modules, "importlib", SimpleNamespace(import_module=broken))
    assert package_modules.torch_error() == f"{type(error).__name__}: {error}"


def test_a_class_that_cannot_be_described_is_named(site, package):
    """With the error of its docstring, or of its signature."""
    source = LOSS.format(name="acme_odd", gamma=1.0) + "\n        __doc__ = 5\n"
    site.module(f"{package}.odd", source)
    with pytest.raises(ManifestError, match=r"odd:Margin \('acme_odd'\) cannot be described: AttributeError: 'int'"):
        manifest_writer.build(package)


@pytest.mark.tools  # over a second: all modules are imported
def test_our_own_manifest_is_built_without_a_trainer():
    """The files of trainers register no loss, and are neither imported nor needed."""
    before = set(sys.modules)
    written = json.loads((Path(lossreg.__file__).parent / "lossreg.json").read_text(encoding="utf-8"))
    assert manifest_writer.generate("lossreg") == written
    assert not [name for name in set(sys.modules) - before if name.startswith("lossreg.integrations.")]
