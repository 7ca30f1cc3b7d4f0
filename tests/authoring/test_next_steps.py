"""The steps after `manifest build`: to declare the manifest, to pack it, to install the package; in that order."""

import tomllib

import pytest

from lossreg.authoring.next_steps import next_steps, provider_of
from lossreg.authoring.project import project_of

LAST = "install the package: `pip install --editable .` in {root}; a later build needs no new install"
SYSTEM = '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
NAMED = '[project]\nname = "lossreg-acme"\nversion = "1"\n'
POETRY = '[tool.poetry]\nname = "acme.Losses"\n[build-system]\nbuild-backend = "poetry.core.masonry.api"\n'
FLIT = '[tool.flit.metadata]\nmodule = "acme_steps"\n[build-system]\nbuild-backend = "flit_core.buildapi"\n'
CFG = "[metadata]\nname = acme-losses\n[options]\npackages = find:\n"
PY = "import setuptools\nsetuptools.setup(name='acme-losses', version='1', package_data={'': ['*.json']})\n"


@pytest.fixture
def steps(site):
    """Return a function that writes files beside a package and returns the steps for its manifest."""
    folder = site.package("acme_steps", {"schema": 1, "losses": {}})

    def find(**files):
        for name, text in files.items():
            (site.root / name.replace("_toml", ".toml").replace("_cfg", ".cfg").replace("_py", ".py")).write_text(text)
        return [step.replace(str(site.root), "ROOT") for step in next_steps("acme_steps", folder / "lossreg.json")]

    return find


def test_a_new_package_is_declared_packed_and_installed(steps):
    """With setuptools, which packs modules alone."""
    assert steps(pyproject_toml=NAMED) == [
        'for lossreg, add to ROOT/pyproject.toml:\n    [project.entry-points."lossreg.manifests"]\n'
        '    acme = "acme_steps:lossreg.json"',
        "for the wheel, add to ROOT/pyproject.toml:\n    [tool.setuptools.package-data]\n"
        '    acme_steps = ["lossreg.json"]',
        LAST.format(root="ROOT"),
    ]


@pytest.mark.parametrize(
    "files, expected",
    [
        (
            {"pyproject_toml": NAMED + SYSTEM},
            'add to ROOT/pyproject.toml:\n    [project.entry-points."lossreg.manifests"]\n    acme = "PACKAGE"',
        ),
        (
            {"pyproject_toml": f'{NAMED}{SYSTEM}[project.entry-points."lossreg.manifests"]\nother = "other:x.json"'},
            'add to [project.entry-points."lossreg.manifests"] in ROOT/pyproject.toml:\n    acme = "PACKAGE"',
        ),
        (
            {"pyproject_toml": POETRY},
            'add to ROOT/pyproject.toml:\n    [tool.poetry.plugins."lossreg.manifests"]\n    acme-losses = "PACKAGE"',
        ),
        (
            {"pyproject_toml": FLIT},
            'add to ROOT/pyproject.toml:\n    [tool.flit.entrypoints."lossreg.manifests"]\n    acme-steps = "PACKAGE"',
        ),
        (
            {"setup_cfg": CFG + "[options.package_data]\n* = *.json\n"},
            "add to ROOT/setup.cfg:\n    [options.entry_points]\n    lossreg.manifests =\n"
            "        acme-losses = PACKAGE",
        ),
        (
            {"setup_py": PY},
            'add to the arguments of setup in ROOT/setup.py:\n    entry_points={"lossreg.manifests":'
            ' ["acme-losses = PACKAGE"]},',
        ),
        (
            {
                "pyproject_toml": '[project]\nname = "acme-losses"\ndynamic = ["entry-points"]\n',
                "setup_cfg": "[options.package_data]\n* = *.json\n",
            },
            "add to ROOT/setup.cfg:\n    [options.entry_points]\n    lossreg.manifests =\n"
            "        acme-losses = PACKAGE",
        ),
    ],
    ids=["standard", "known table", "poetry", "flit", "setup.cfg", "setup.py", "dynamic"],
)
def test_the_declaration_is_in_the_form_that_the_project_has(steps, files, expected):
    """Each build backend reads entry points in one place."""
    first, *others = steps(**files)
    assert first == "for lossreg, " + expected.replace("PACKAGE", "acme_steps:lossreg.json")
    assert others == [LAST.format(root="ROOT")]


def test_a_declaration_that_is_not_installed_yet_is_not_repeated(steps):
    """A table of TOML may be there once; the package is to be installed."""
    declared = '[project.entry-points."lossreg.manifests"]\nacme = "acme_steps:lossreg.json"\n'
    assert steps(pyproject_toml=NAMED + declared + SYSTEM) == [LAST.format(root="ROOT")]


def test_an_installed_declaration_leaves_nothing_to_do(steps, site):
    """A manifest that is built again has no steps."""
    site.distribution("acme", manifests={"acme": "acme_steps:lossreg.json"})
    assert steps(pyproject_toml=NAMED + SYSTEM) == []


def test_without_a_project_the_standard_table_is_shown(steps):
    """As for a folder on the path; the provider has the name of the package."""
    first, last = steps()
    assert first == (
        'for lossreg, add to pyproject.toml:\n    [project.entry-points."lossreg.manifests"]\n'
        '    acme-steps = "acme_steps:lossreg.json"'
    )
    assert last == LAST.format(root="the folder of its pyproject.toml")
    assert tomllib.loads(first.partition("\n")[2])["project"]["entry-points"]["lossreg.manifests"]


def test_an_installed_copy_is_not_the_source(site):
    """A manifest that is written there is in no wheel."""
    folder = site.root / "site-packages" / "acme_copy"
    (site.root / "pyproject.toml").write_text(NAMED)
    (step,) = next_steps("acme_copy", folder / "lossreg.json")
    assert step.startswith(f"{folder / 'lossreg.json'} is in an installed copy of acme_copy, and the sources do not")
    assert "`lossreg manifest build acme_copy` again" in step
    assert project_of(folder) is None


def test_links_of_a_strict_install_lead_to_the_sources(site):
    """The manifest is written beside the sources; it needs another install to be linked."""
    from lossreg.authoring.manifest_writer import source_folder

    source = site.root / "project" / "src" / "acme_linked"
    source.mkdir(parents=True)
    (source / "__init__.py").touch()
    (site.root / "project" / "pyproject.toml").write_text(NAMED + SYSTEM)
    (site.root / "acme_linked").mkdir()
    (site.root / "acme_linked" / "__init__.py").symlink_to(source / "__init__.py")
    site.distribution("acme", manifests={"acme": "acme_linked:lossreg.json"})
    assert source_folder("acme_linked") == source
    (step,) = next_steps("acme_linked", source / "lossreg.json")
    assert step == "install the package again: a strict editable install has only the files of its installation"
    (source / "lossreg.json").touch()
    (site.root / "acme_linked" / "lossreg.json").symlink_to(source / "lossreg.json")
    assert next_steps("acme_linked", source / "lossreg.json") == []


@pytest.mark.parametrize(
    "name, provider",
    [("lossreg-acme", "acme"), ("Acme_Losses", "acme-losses"), ("acme.losses", "acme-losses"), ("", "acme-steps")],
)
def test_the_provider_is_the_distribution(tmp_path, name, provider):
    """Without "lossreg-" before it, as for losses that have an entry point each."""
    (tmp_path / "pyproject.toml").write_text(f'[project]\nname = "{name}"\n')
    assert provider_of(project_of(tmp_path / "acme_steps"), "acme_steps") == provider
