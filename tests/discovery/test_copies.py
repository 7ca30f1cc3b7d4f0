"""Metadata on disk: the quick scan finds what importlib_metadata finds, and differs only where that is named here."""

import os
import re
import subprocess
import sys
import zipfile

import importlib_metadata
import pytest

from lossreg.authoring.absent_extras import absent_extras
from lossreg.authoring.doctor import notes
from lossreg.discovery import distributions
from lossreg.registry.entry import Failure
from lossreg.registry.requirement import Requirement, installed_version

GROUPS = ("lossreg.losses", "lossreg.manifests", "lossreg.hooks")
POINTS = "[lossreg.losses]\nfocal = acme.focal:Focal\n\n[console_scripts]\nacme = acme:main\n"
METADATA = "Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n\nName: of the body\nVersion: 9\n"


def write(root, files):
    """Write files by their path below a folder; a path with a slash at its end is an empty folder."""
    for name, content in files.items():
        path = root / name
        (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            path.write_bytes(content if isinstance(content, bytes) else content.encode())


def whole(folder, name="acme", version="1.0", points=POINTS):
    """Return the files of a metadata folder as pip leaves it."""
    return {
        f"{folder}/METADATA": METADATA.format(name=name, version=version),
        f"{folder}/entry_points.txt": points,
        f"{folder}/RECORD": "",
    }


def older(folder, name="acme", version="1.0"):
    """Return the files of a metadata folder as setuptools writes it."""
    files = whole(folder, name, version)
    return {path.replace("METADATA", "PKG-INFO"): text for path, text in files.items()}


@pytest.fixture
def only(tmp_path, monkeypatch):
    """Make these folders below one of the test all of sys.path, and return it."""

    def made(files, *paths):
        write(tmp_path, files)
        monkeypatch.setattr(sys, "path", [str(tmp_path / path) for path in paths or ("",)])
        distributions.forget()
        return tmp_path

    yield made
    distributions.forget()


def normalized(name):
    return re.sub("[-_.]+", "-", name).lower()


def found():
    """Return version and lines of each distribution, by the quick scan."""
    installed = distributions.scan()
    lines = [item for item in installed.declared if not isinstance(item, Failure)]
    return {
        name: (version, sorted(item[:3] for item in lines if item.distribution == name))
        for name, version in installed.versions.items()
    }


def name_by_library(distribution):
    """Return the name in the metadata, or None without one."""
    try:
        return distribution.name
    except (LookupError, importlib_metadata.MetadataNotFound):
        return None


def by_library():
    """Return the same by importlib_metadata: of the copies of a name, the one that it prefers."""
    every = {}
    for name in filter(None, map(name_by_library, importlib_metadata.distributions())):
        chosen = importlib_metadata.distribution(name)
        points = [(each.group, each.name, each.value) for each in chosen.entry_points if each.group in GROUPS]
        every[normalized(name)] = (chosen.version, sorted(points))
    return every


def test_everything_that_is_installed_here():
    """Names, versions and lines of some hundred distributions, lossreg's own among them."""
    distributions.forget()
    assert found() == by_library()
    assert ("lossreg.manifests", "segmentation", "lossreg_segmentation:lossreg.json") in found()[
        "lossreg-segmentation"
    ][1]


LINE = [("lossreg.losses", "focal", "acme.focal:Focal")]
ACME = {"acme": ("1.0", LINE)}
FOLDED = "Name: acme\nSummary: a loss\n  and: more\n\tof it\nVersion: 1.0\n\nText\n"
ZOO = {
    "wheel": (whole("acme-1.0.dist-info"), ACME),
    "older": (older("acme-1.0-py3.11.egg-info"), ACME),
    "development": (older("acme.egg-info"), ACME),
    "no_points": ({"acme-1.0.dist-info/METADATA": METADATA.format(name="acme", version="1.0")}, {"acme": ("1.0", [])}),
    "file": ({"acme-1.0.egg-info": "Name: acme\nVersion: 1.0\n"}, {"acme": ("1.0", [])}),
    "file_of_a_platform": (
        {"acme-1.0-py3.11-linux-x86_64.egg-info": "Name: acme\nVersion: 1.0\n"},
        {"acme": ("1.0", [])},
    ),
    "file_without_version": ({"acme.egg-info": "Name: acme\nVersion: 1.0\n"}, {"acme": ("1.0", [])}),
    "spelling": (
        whole("Acme_Losses.Extra-1.0.dist-info", "Acme_Losses.Extra") | whole("b__c-2.dist-info", "B--C", "2"),
        {"acme-losses-extra": ("1.0", LINE), "b-c": ("2", LINE)},
    ),
    "digits_in_the_name": (whole("acme_3d-1.0.dist-info", "acme-3d"), {"acme-3d": ("1.0", LINE)}),
    "long_version": (
        whole("acme-1!2.0rc1.post2.dev3+cpu.4.dist-info", version="1!2.0rc1.post2.dev3+cpu.4"),
        {"acme": ("1!2.0rc1.post2.dev3+cpu.4", LINE)},
    ),
    "upper_case": (whole("acme-1.0.DIST-INFO"), ACME),
    "two_names": (
        {"acme.egg-info/PKG-INFO": "Name: acme\nName: other\nVersion: 1.0\nVersion: 2.0\n"},
        {"acme": ("1.0", [])},
    ),
    "folded": ({"acme.egg-info/PKG-INFO": FOLDED, "acme.egg-info/entry_points.txt": POINTS}, ACME),
    "line_ends": (
        {
            "acme.egg-info/PKG-INFO": FOLDED.replace("\n", "\r\n"),
            "acme.egg-info/entry_points.txt": POINTS.replace("\n", "\r\n"),
        },
        ACME,
    ),
    "form_feed": (
        {"acme.egg-info/PKG-INFO": "Name: acme\nSummary: one\x0ctwo\nVersion: 1.0\n"},
        {"acme": ("1.0", [])},
    ),
    "other_letters": ({"acme.egg-info/PKG-INFO": "Author: Zoë\nName: acme\nVersion: 1.0\n"}, {"acme": ("1.0", [])}),
    "empty_beside_whole": ({"acme-0.9.dist-info/": ""} | whole("acme-1.0.dist-info"), ACME),
    "newer_and_empty_beside_whole": ({"acme-2.0.dist-info/": ""} | whole("acme-1.0.dist-info"), ACME),
    "record_beside_whole": ({"acme-0.9.dist-info/RECORD": "x,,\n"} | whole("acme-1.0.dist-info"), ACME),
    "points_beside_whole": (
        {"acme-0.9.dist-info/entry_points.txt": "[lossreg.losses]\nold = acme:Old\n"} | whole("acme-1.0.dist-info"),
        ACME,
    ),
    "another_spelling_beside_whole": ({"Acme-0.9.dist-info/": ""} | whole("acme-1.0.dist-info"), ACME),
    "no_metadata_folders": ({"acme/__init__.py": "", "dist-info": "", "EGG-INFO": ""}, {}),
}


@pytest.mark.parametrize("name", ZOO)
def test_a_folder_is_read_as_the_library_reads_it(only, name):
    """In every form that installers have left."""
    files, expected = ZOO[name]
    only(files)
    assert found() == expected
    assert by_library() == expected


@pytest.mark.parametrize("name", ZOO)
def test_an_archive_is_read_as_the_library_reads_it(only, tmp_path, name):
    """The same files, in a zip on sys.path."""
    write(tmp_path / "unpacked", ZOO[name][0])
    with zipfile.ZipFile(tmp_path / "app.zip", "w") as archive:
        for path in (tmp_path / "unpacked").rglob("*"):
            archive.write(path, path.relative_to(tmp_path / "unpacked"))
    only({}, "app.zip")
    assert {key: value for key, value in found().items() if value[0] != "unknown"} == by_library()


def test_an_egg_is_read_as_the_library_reads_it(only):
    """A folder on sys.path that is itself a distribution, named as its own file system likes."""
    only(older("acme-1.0-py3.11.egg/EGG-INFO") | older("b-2.0-py3.11.EGG/EGG-INFO", "b", "2.0"), "acme-1.0-py3.11.egg")
    assert found() == by_library() == ACME


NEWER = whole("acme-10.0.dist-info", version="10.0", points="[lossreg.losses]\nnewer = acme:Newer\n")
DELIBERATE = {
    # The library reads no name, or raises.
    "no_metadata": ({"acme-1.0.dist-info/entry_points.txt": POINTS}, ACME),
    "no_metadata_and_no_version": ({"acme.egg-info/entry_points.txt": POINTS}, {"acme": ("unknown", LINE)}),
    "record_alone": ({"acme-1.0.dist-info/RECORD": ""}, {"acme": ("1.0", [])}),
    "latin": ({"acme.egg-info/PKG-INFO": b"Author: Zo\xeb\nName: acme\nVersion: 1.0\n"}, {"acme": ("1.0", [])}),
    "no_name": ({"acme.egg-info/PKG-INFO": "Version: 1.0\n"}, {"acme": ("1.0", [])}),
    # The library reads a mark of the byte order as a part of the first line, and loses that line.
    "mark_of_byte_order": (
        {
            "acme.egg-info/PKG-INFO": b"\xef\xbb\xbfName: acme\nVersion: 1.0\n",
            "acme.egg-info/entry_points.txt": b"\xef\xbb\xbf" + POINTS.encode(),
        },
        ACME,
    ),
    # The library takes one of them in the order of the file system.
    "two_versions": (
        whole("acme-9.0.dist-info", version="9.0") | NEWER,
        {"acme": ("10.0", [("lossreg.losses", "newer", "acme:Newer")])},
    ),
    "version_that_is_none": (whole("acme-9rabbit.dist-info", version="9rabbit") | whole("acme-1.0.dist-info"), ACME),
    # The library counts a leftover of pip, and an empty METADATA.
    "leftover": (whole("~cme-0.9.dist-info", "acme", "0.9") | whole("acme-1.0.dist-info"), ACME),
    "leftover_alone": (whole("~cme-0.9.dist-info", "acme", "0.9"), {}),
    "empty_metadata_beside_whole": ({"acme-0.9.dist-info/METADATA": ""} | whole("acme-1.0.dist-info"), ACME),
    "without_metadata_but_lines": (
        {"acme-0.9.dist-info/": "", "acme-1.0.dist-info/entry_points.txt": POINTS},
        ACME,
    ),
    # The library reads comments with ';' as lines, no group with blanks in its brackets, and one in two brackets.
    "comments": (
        whole("acme-1.0.dist-info", points="[ lossreg.losses ]\n; x = y:Z\n# a\nfocal = acme.focal:Focal\n"),
        ACME,
    ),
    "two_brackets": (whole("acme-1.0.dist-info", points="[[lossreg.losses]]\nx = y:Z\n"), {"acme": ("1.0", [])}),
}


@pytest.mark.parametrize("name", DELIBERATE)
def test_where_the_scan_differs_from_the_library(only, name):
    """It is nearer to the specification, or finds a loss that the library hides."""
    files, expected = DELIBERATE[name]
    only(files)
    assert found() == expected


@pytest.mark.parametrize("partial", [{"acme-9.0.dist-info/": ""}, {"acme-9.0.dist-info/RECORD": "acme,,\n"}])
def test_a_part_of_metadata_hides_nothing_behind_it_on_the_path(only, partial):
    """As an interrupted installation leaves it in another folder. The library agrees."""
    files = {f"first/{name}": text for name, text in partial.items()}
    files |= {f"second/{name}": text for name, text in whole("acme-1.0.dist-info").items()}
    root = only(files, "first", "second")
    assert found() == by_library() == ACME
    assert distributions.remarks() == [
        f"{root}/first/acme-9.0.dist-info is a part of the metadata of acme and is ignored; delete it"
    ]


def test_the_first_whole_copy_on_the_path_counts(only):
    """As for imports, though it is older, or declares nothing."""
    files = {f"old/{name}": text for name, text in whole("acme-1.0.dist-info").items()}
    files |= {f"new/{name}": text for name, text in NEWER.items()}
    files |= {"bare/acme-3.0.dist-info/METADATA": METADATA.format(name="acme", version="3.0")}
    root = only(files, "old", "new", "bare")
    assert found() == by_library() == ACME
    assert distributions.remarks() == [
        f"acme is installed more than once; the first is used: 1.0 in {root}/old, 10.0 in {root}/new,"
        f" 3.0 in {root}/bare; uninstall the others"
    ]
    only({}, "bare", "old")
    assert found() == by_library() == {"acme": ("3.0", [])}


def test_one_folder_that_is_on_the_path_twice_is_one(only):
    """By another spelling, or by a link."""
    root = only(whole("site/acme-1.0.dist-info"))
    (root / "link").symlink_to(root / "site")
    only({}, "site", "site", "site/../site", "link")
    assert found() == ACME
    assert distributions.remarks() == []


def test_the_remarks_name_a_folder_and_what_to_do(only):
    """Of a leftover, and of a distribution without its own metadata. Those of other packages are not mentioned."""
    files = whole("acme-1.0.dist-info") | {
        "~cme-0.9.dist-info/RECORD": "",
        "b-1.0.dist-info/entry_points.txt": POINTS,
        "numpy-1.0.dist-info/": "",
        "numpy-2.0.dist-info/": "",
    }
    root = only(files)
    assert distributions.remarks() == [
        f"{root}/~cme-0.9.dist-info is left over from an interrupted pip and is ignored; delete it",
        f"b is installed without its name and version in {root}/b-1.0.dist-info; install it again",
    ]


def test_the_remarks_can_be_printed(only):
    """A folder's name may have control characters, or no characters at all."""
    only({"~\x1b[31m-1.dist-info/": "", os.fsdecode(b"-\xff-1.dist-info/"): ""})
    remarks = distributions.remarks()
    assert len(remarks) == 2
    assert all(text.isprintable() for text in remarks)


def test_a_leftover_of_a_first_party_package_is_no_failure(site):
    """Its provider's name would belong to another distribution."""
    site.raw_distribution("~ossreg-segmentation", b"[lossreg.losses]\ndice = acme:Dice\n", version="0.0.9")
    (site.root / "lossreg_segmentation-0.0.8.dist-info").mkdir()
    registry = site.registry()
    assert registry.entry("dice").distribution == "lossreg-segmentation"
    assert registry.entry("dice").version != "0.0.8"
    assert site.failures(registry) == {}


def test_versions_and_extras_are_those_of_whole_metadata(only, torch):
    """Of a library that a manifest describes, and of a package in `lossreg doctor`; a part alone has neither."""
    extra = "Name: acme\nVersion: 1.0\nProvides-Extra: fast\nRequires-Dist: acme-absent; extra == 'fast'\n"
    root = only({"one/acme-0.1.dist-info/": "", "two/acme-1.0.dist-info/METADATA": extra}, "one", "two")
    assert installed_version("acme") == "1.0"
    assert absent_extras("acme") == [("acme", "fast", ("acme-absent",))]
    assert Requirement("acme", "acme", ">=2").outside() == (
        "acme 1.0 is installed, and >=2 was described: parameters may differ"
    )
    only({}, "one")
    assert installed_version("acme") is None
    assert absent_extras("acme") == []
    assert Requirement("acme", "acme", ">=2").outside() is None
    only({"one/acme-0.1.dist-info/entry_points.txt": POINTS}, "one")
    assert [*notes([])] == [
        f"acme is installed without its name and version in {root}/one/acme-0.1.dist-info; install it again"
    ]


class Broken:
    """A finder of sys.meta_path whose distributions cannot be read."""

    def __repr__(self):
        return "Broken()"

    def find_spec(self, name, path=None, target=None):
        return None

    def find_distributions(self, context):
        raise RuntimeError("no index\x1b[31m")


def test_a_finder_that_raises_hides_nothing_else(only, monkeypatch):
    """It is a failure of its own."""
    only(whole("acme-1.0.dist-info"))
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Broken()])
    assert found() == ACME
    (failure,) = (item for item in distributions.declared() if isinstance(item, Failure))
    assert str(failure.error) == "Broken(): its distributions cannot be read: RuntimeError: no index?[31m"


def test_an_installation_is_noticed(only):
    """Only one that changes a declaration, also after another scan."""
    root = only(whole("acme-1.0.dist-info") | {"bad-1.0.dist-info/entry_points.txt": "[lossreg.losses]\nx\n"})
    before = distributions.scan()
    assert not distributions.changed(before)
    write(root, {"notes.txt": ""} | whole("other-1.0.dist-info", "other", points="[x]\n"))
    os.utime(root, (1, 1))
    assert not distributions.changed(before)
    write(root, whole("new-1.0.dist-info", "new"))
    os.utime(root, (2, 2))
    after = distributions.scan()
    assert distributions.changed(before)
    assert not distributions.changed(after)


@pytest.mark.tools
def test_listing_imports_neither_library_on_an_ordinary_machine(tmp_path):
    """Nor for an editable install, a leftover, or two copies of a package that has nothing for lossreg."""
    write(tmp_path, older("acme.egg-info") | whole("~cme-0.9.dist-info") | whole("b-1.dist-info", "b", "1", ""))
    write(tmp_path / "more", whole("b-2.dist-info", "b", "2", ""))
    code = (
        "import sys, lossreg; assert {'dice', 'acme/focal'} <= {*lossreg.losses.list()}, lossreg.losses.list();"
        "print(sorted({'importlib.metadata', 'importlib_metadata', 'packaging', 'email', 'zipfile'} & {*sys.modules}))"
    )
    path = os.pathsep.join([str(tmp_path), str(tmp_path / "more")])
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": path}
    )
    assert run.stdout == "[]\n"
