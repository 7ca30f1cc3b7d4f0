"""The check of a release for metadata and archives: each of its messages."""

from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
if not (ROOT / "release").is_dir():
    pytest.skip("the check of a release lies in the checkout, and only the tests are here", allow_module_level=True)

from release import contents, metadata  # noqa: E402
from release.distribution import ours  # noqa: E402
from release.installation import foreign  # noqa: E402

# ---- metadata

GOOD = """\
Metadata-Version: 2.4
Name: lossreg-sam
Version: 0.1.0
Summary: Losses.
Project-URL: Homepage, https://github.com/lossreg/lossreg
Project-URL: Documentation, https://lossreg.github.io/lossreg/
Project-URL: Source, https://github.com/lossreg/lossreg/tree/main/plugins/lossreg-sam
Project-URL: Changelog, https://github.com/lossreg/lossreg/blob/main/CHANGELOG.md
Project-URL: Issues, https://github.com/lossreg/lossreg/issues
Author: The lossreg authors
License-Expression: Apache-2.0
License-File: LICENSE
Classifier: Development Status :: 3 - Alpha
Classifier: Intended Audience :: Developers
Classifier: Intended Audience :: Science/Research
Classifier: Programming Language :: Python :: 3
Classifier: Programming Language :: Python :: 3.11
Classifier: Programming Language :: Python :: 3.12
Classifier: Programming Language :: Python :: 3.13
Classifier: Topic :: Scientific/Engineering :: Artificial Intelligence
Classifier: Typing :: Typed
Requires-Python: >=3.11
Requires-Dist: lossreg-segmentation<0.2,>=0.1
Requires-Dist: lossreg<0.2,>=0.1
Requires-Dist: torch>=2.6
Description-Content-Type: text/markdown

# lossreg-sam
"""
FILE = "plugins/lossreg-sam/pyproject.toml"


def problems(text):
    return metadata.complaints(text.encode(), "lossreg-sam", "0.1.0", FILE)


def test_complete_metadata_is_right():
    """So each test below depends on its one change alone."""
    assert problems(GOOD) == []


@pytest.mark.parametrize(
    "line, instead, message",
    [
        (
            "Name: lossreg-sam",
            "Name: lossreg-ham",
            """name: 'lossreg-ham' is not the name of its folder; write name =""",
        ),
        (
            "Version: 0.1.0",
            "Version: 0.2.0",
            "version: 0.2.0 is not lossreg.__version__, which is 0.1.0; write dynamic",
        ),
        ("Summary: Losses.\n", "", 'description: missing; write description = "…" in one line'),
        ("\n# lossreg-sam\n", "", 'readme: missing or not Markdown; write readme = "README.md"'),
        ("text/markdown", "text/plain", "readme: missing or not Markdown; write"),
        ("Author: The lossreg authors\n", "", 'authors: None; write authors = [{ name = "The lossreg authors" }]'),
        ("License-Expression: Apache-2.0", "License-Expression: MIT", "license: 'MIT'; write license = \"Apache-2.0\""),
        ("License-File: LICENSE\n", "", 'license-files: LICENSE is not among them; write license-files = ["LICENSE"]'),
        (
            "Project-URL: Issues, https://github.com/lossreg/lossreg/issues\n",
            "",
            'urls: Issues is None; write Issues = "https://github.com/lossreg/lossreg…" under [project.urls]',
        ),
        ("Homepage, https://github.com/lossreg", "Homepage, https://example.org", "urls: Homepage is 'https://example"),
        ("Classifier: Typing :: Typed\n", "", 'classifiers: missing; add "Typing :: Typed"'),
        ("Classifier: Programming Language :: Python :: 3.13\n", "", 'add "Programming Language :: Python :: 3.13"'),
        ("Requires-Python: >=3.11\n", "", "requires-python: ''; write requires-python = \">=3.11\""),
        ("Requires-Python: >=3.11", "Requires-Python: >=3.9", "requires-python: '>=3.9'; write"),
        (
            "lossreg<0.2,>=0.1",
            "lossreg",
            'dependencies: "lossreg" does not match 0.1.0; write "lossreg>=0.1,<0.2"',
        ),
        ("lossreg-segmentation<0.2,>=0.1", "lossreg-segmentation<0.3,>=0.2", 'write "lossreg-segmentation>=0.1,<0.2"'),
    ],
)
def test_what_is_missing_is_named_with_what_to_write(line, instead, message):
    """File and field first; there is no other complaint."""
    assert line in GOOD
    (found,) = problems(GOOD.replace(line, instead))
    assert found.startswith(f"{FILE}: ")
    assert message in found


def test_metadata_that_no_index_would_take():
    """By the rules of packaging, field by field."""
    found = problems(GOOD.replace("Requires-Dist: torch>=2.6", "Requires-Dist: torch!!").replace("Summary: ", "Sum: "))
    assert any(each.startswith(f"{FILE}: requires-dist: ") for each in found)


def test_an_extra_may_ask_for_the_distribution_itself():
    """`lossreg[dev]` needs no range: it is the same wheel."""
    own = GOOD.replace("Name: lossreg-sam", "Name: lossreg") + ""
    own = own.replace(
        "Requires-Dist: lossreg<0.2,>=0.1", 'Provides-Extra: all\nRequires-Dist: lossreg[plot]; extra == "all"'
    )
    assert metadata.complaints(own.encode(), "lossreg", "0.1.0", "pyproject.toml") == []


# ---- archives

PACKAGE = {"acme/__init__.py", "acme/py.typed", "acme/lossreg.json", "acme/dice.py", "acme/tests/test_dice.py.jinja"}
INFO = {"acme-0.1.0.dist-info/METADATA", "acme-0.1.0.dist-info/licenses/LICENSE"}


@pytest.mark.parametrize(
    "held, committed, message",
    [
        (PACKAGE, PACKAGE, None),
        (PACKAGE - {"acme/py.typed"}, PACKAGE, "acme/py.typed is not in the wheel; commit it, and let the wheel"),
        (PACKAGE - {"acme/lossreg.json"}, PACKAGE, "acme/lossreg.json is not in the wheel; commit it"),
        (PACKAGE, PACKAGE - {"acme/dice.py"}, "acme/dice.py is in the wheel and is not committed; commit it, or"),
        (PACKAGE | {"notes.txt"}, PACKAGE, "notes.txt is in the wheel and is not committed"),
        (PACKAGE - {"acme/dice.py"}, PACKAGE, "acme/dice.py is committed and is not in the wheel; let [tool"),
        (PACKAGE | {"acme/tests/a.py"}, PACKAGE | {"acme/tests/a.py"}, "acme/tests/a.py is in the wheel; move tests"),
        (
            PACKAGE | {"acme/conftest.py"},
            PACKAGE | {"acme/conftest.py"},
            "acme/conftest.py is in the wheel; move tests",
        ),
        (
            PACKAGE | {"acme/test_a.py"},
            PACKAGE | {"acme/test_a.py"},
            "acme/test_a.py is in the wheel; move tests beside",
        ),
    ],
)
def test_a_wheel_holds_the_package_as_it_is_committed(held, committed, message):
    """With its licence, without tests, and without uncommitted files."""
    found = contents.wheel_complaints(held | INFO, "acme", committed, FILE)
    assert found == ([] if message is None else found[:1])
    for complaint in found:
        assert complaint.startswith(f"{FILE}: {message}")


def test_a_wheel_has_its_licence():
    """At the path of the standard."""
    (found,) = contents.wheel_complaints(PACKAGE, "acme", PACKAGE, FILE)
    assert found == f'{FILE}: LICENSE is not in the wheel; write license-files = ["LICENSE"]'


@pytest.mark.parametrize("missing", ["pyproject.toml", "README.md", "LICENSE", "PKG-INFO", "acme/dice.py"])
def test_an_sdist_has_what_builds_the_wheel(missing):
    """The package, and the files for its metadata."""
    whole = {*PACKAGE, "pyproject.toml", "README.md", "LICENSE", "PKG-INFO", "tests/test_dice.py"}
    assert contents.sdist_complaints(whole, PACKAGE, FILE) == []
    (found,) = contents.sdist_complaints(whole - {missing}, PACKAGE, FILE)
    assert found.startswith(f"{FILE}: {missing} is not in the sdist, which must build the wheel; let [tool.hatch")


# ---- distributions


def test_lossreg_and_every_folder_of_plugins_are_published():
    """Lossreg is first, because the others need it."""
    first, *plugins = ours()
    assert (first.name, first.package, first.project_file) == ("lossreg", "lossreg", "pyproject.toml")
    assert len(plugins) == 10
    assert plugins[4].name == "lossreg-sam"
    assert plugins[4].package == "lossreg_sam"
    assert plugins[4].project_file == FILE


def test_what_a_wheel_needs_from_others():
    """Without our distributions, and without requirements of extras or other platforms."""
    texts = ["lossreg>=0.1", "torch>=2.6", 'scipy; extra == "boundary"', 'colorama; sys_platform == "never"']
    assert [needed.name for needed in foreign(map(Requirement, texts))] == ["torch"]
