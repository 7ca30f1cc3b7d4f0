"""Discovery: the declarations of distributions become entries and failures, and nothing is imported."""

import os
import sys
from itertools import permutations

import pytest

from lossreg import DisabledError, ProviderError
from lossreg.discovery import distributions, manifest
from lossreg.discovery.scan import discover

MANIFEST = {
    "schema": 1,
    "losses": {
        "focal": {
            "target": "acme.focal:Focal",
            "aliases": ["focal_x"],
            "tags": ["t"],
            "summary": "A loss.",
            "parameters": {"type": "object", "properties": {}, "required": [], "additionalProperties": False},
        }
    },
}


class NoDistributions:
    """A finder of sys.meta_path that might know distributions."""

    def find_distributions(self, context):
        return []

    def find_spec(self, name, path=None, target=None):
        return None


def test_an_entry_point_is_a_loss(site):
    """Name and target known at once, provider and version from the distribution, tags once it is loaded."""
    site.plain("acme_point", "Focal")
    site.distribution("lossreg-acme", losses={"acme_focal": "acme_point:Focal"}, version="2.5")
    registry = site.registry()
    entry = registry.entry("acme_focal")
    assert (entry.full_name, entry.target, entry.tags) == ("acme/acme_focal", "acme_point:Focal", None)
    assert (entry.distribution, entry.version, entry.owns_name) == ("lossreg-acme", "2.5", False)
    assert "acme_point" not in sys.modules
    assert registry.instantiate("acme/acme_focal")
    assert registry.entry("acme_focal").state == "loaded"


def test_a_manifest_is_a_library(site):
    """Names, aliases, tags and metadata known without import; the provider is named by the entry point."""
    folder = site.package("acme", MANIFEST)
    (folder / "focal.py").write_text("from acme_base import Module\nclass Focal(Module): ...\n")
    site.distribution("Acme_Losses", manifests={"a": "acme:lossreg.json"})
    registry = site.registry()
    site.distributions = {"acme-losses"}
    entry = registry.entry("focal_x")
    assert (entry.full_name, entry.tags, entry.metadata["summary"]) == ("a/focal", {"t"}, "A loss.")
    assert registry.find("t") == ["a/focal"]
    assert "acme" not in sys.modules
    assert registry.get("a/focal").__module__ == "acme.focal"


def test_the_manifest_of_an_editable_install_is_read_without_import(site, tmp_path, monkeypatch):
    """The package is not beside its metadata, so that the import system has to find it."""
    site.package("acme", MANIFEST)
    (tmp_path / "lib").mkdir()
    folder = site.distribution("acme", manifests={"a": "acme:lossreg.json"})
    folder.rename(tmp_path / "lib" / folder.name)
    monkeypatch.syspath_prepend(tmp_path / "lib")
    assert site.names(site.registry()) == ["a/focal"]
    assert "acme" not in sys.modules


def test_a_manifest_has_a_default_name_and_may_have_another(site):
    """`acme` alone means lossreg.json."""
    site.package("acme", MANIFEST)
    (site.package("acme2") / "other.json").write_text((site.root / "acme" / "lossreg.json").read_text())
    site.distribution("one", manifests={"one": "acme"})
    site.distribution("two", manifests={"two": "acme2:other.json"})
    assert site.names(site.registry()) == ["one/focal", "two/focal"]


def test_first_party_names_are_decided_by_the_distribution(site):
    """The name in a manifest or entry point does not count."""
    loss = MANIFEST["losses"]["focal"] | {"owns_name": True, "provider": "segmentation", "aliases": []}
    site.package("acme", {"schema": 1, "losses": {"dice": loss, "new": loss | {"target": "acme:New"}}})
    site.distribution("acme", manifests={"segmentation": "acme:lossreg.json"})
    registry = site.registry()
    assert registry.entry("dice").target == "lossreg_segmentation.overlap:Dice"
    assert registry.entry("segmentation/dice").distribution == "lossreg-segmentation"
    assert "new" not in registry  # or providers={"segmentation"} would allow it
    assert site.failures(registry) == {
        "acme:lossreg.json": "the provider name 'segmentation' of acme belongs to lossreg-segmentation;"
        " rename the entry point"
    }


@pytest.mark.parametrize(
    "name", ["local", "LOCAL", "lo-cal", "Segmentation", "seg.mentation", "to_rch", "TORCH", "k-ornia"]
)
def test_a_spelling_of_a_name_that_is_taken_is_refused(site, name):
    """A reader would take it for the other provider. `local` is of losses that are registered in code."""
    site.package("acme", MANIFEST)
    site.distribution("acme", manifests={name: "acme"})
    site.distribution(name, losses={"focal_x": "acme:Focal"})
    site.distributions = {"acme", name.lower().replace("_", "-").replace(".", "-")}
    registry = site.registry()
    assert site.names(registry) == []
    by_manifest, by_distribution = site.failures(registry).values()
    assert f"the provider name '{name}' of acme belongs to " in by_manifest
    assert by_manifest.endswith("; rename the entry point")
    assert " belongs to " in by_distribution
    assert by_distribution.endswith(
        "; declare a manifest in the group lossreg.manifests, whose entry point names the provider"
    )


@pytest.mark.parametrize("name", ["3d", "acme.losses", "local2", "my-local", "t", "lossreg2"])
def test_a_name_that_is_free_is_a_provider(site, name):
    """It may begin with a digit, as the names of distributions."""
    site.distribution("acme", manifests={name: "acme"})
    site.package("acme", MANIFEST)
    assert site.registry().entry(f"{name}/focal").provider == name


def test_letters_that_look_like_those_of_another_name_are_refused(site):
    """Names of distributions are ASCII as well."""
    site.package("acme", MANIFEST)
    site.distribution("acme", manifests={"t\u043erch": "acme"})  # a Cyrillic letter
    (message,) = site.failures(site.registry()).values()
    assert message.startswith("a provider's name has letters of ASCII, digits, ")


def test_the_order_of_folders_and_lines_decides_nothing(site, tmp_path, monkeypatch):
    """Of two distributions that claim a name, the first by name counts, wherever on sys.path it is."""
    lines = ["b = {0}:B", "a = {0}:C", "a = {0}:A"]
    roots = {name: tmp_path / name for name in ("lossreg-acme", "acme", "other")}
    seen = set()
    for paths in permutations(roots):
        for turn in (1, -1):
            for name in paths:
                site.root = roots[name] / str(turn)
                if not site.root.exists():
                    text = "\n".join(["[lossreg.losses]", *lines[::turn]]).format(name.replace("-", "_"))
                    site.raw_distribution(name, text.encode())
            with monkeypatch.context() as patch:
                patch.setattr(sys, "path", [*(str(roots[name] / str(turn)) for name in paths), *sys.path])
                registry = site.registry()
                seen.add(tuple((name, registry.entry(name).target) for name in site.names(registry)))
    assert seen == {(("acme/a", "acme:A"), ("acme/b", "acme:B"), ("other/a", "other:A"), ("other/b", "other:B"))}


def test_the_same_distribution_twice_on_the_path_is_one(site, monkeypatch):
    """An editable install and a stale copy: the first on sys.path counts, as it does for imports."""
    other = site.root / "other"
    site.plain("acme_twice", "Focal")
    site.distribution("acme", losses={"focal_x": "acme_twice:Focal"}, version="2.0")
    site.root = other
    site.distribution("acme", losses={"focal_x": "acme_old:Focal", "stale": "acme_old:Stale"}, version="1.0")
    monkeypatch.setattr(sys, "path", [*sys.path, str(other)])
    registry = site.registry()
    assert site.names(registry) == ["focal_x"]
    assert registry.entry("focal_x").version == "2.0"
    assert site.failures(registry) == {}


def test_one_distribution_may_not_declare_a_name_twice(site):
    """The error names the remedy of its author."""
    site.distribution("acme", losses={"focal": "acme.a:Focal", "focal ": "acme.b:Focal"})
    (failure,) = [each for each in discover().failures if each.distribution == "acme"]
    assert "by acme (acme.a:Focal) and by acme (acme.b:Focal)" in str(failure.error)
    assert str(failure.error).endswith("the first is kept. Rename one of the losses")


def test_two_distributions_may_not_claim_one_full_name(site):
    """The first is kept, the second is a failure that names both; the same target is one entry."""
    site.distribution("acme", losses={"x": "acme_a:X", "same": "acme_a:Same"})
    site.distribution("lossreg-acme", losses={"x": "acme_b:X", "same": "acme_a:Same"})
    registry = site.registry()
    assert site.names(registry) == ["same", "x"]
    (message,) = site.failures(registry).values()
    assert "acme/x is declared by " in message
    assert "acme_a:X" in message
    assert "acme_b:X" in message


@pytest.mark.parametrize(
    "value, message",
    [
        ("", "target must be"),
        ("acme_only_a_module", "target must be"),
        ("acme:", "target must be"),
        ("acme:A.b()", "target must be"),
        ("os.system('x'):y", "target must be"),
    ],
)
def test_a_malformed_entry_point_is_a_failure(site, value, message):
    """The others of its distribution are found."""
    site.distribution("acme", losses={"bad": value, "good": "acme:Good"})
    registry = site.registry()
    assert site.names(registry) == ["good"]
    (failure,) = site.failures(registry).items()
    assert failure[0] == "acme: entry point 'bad'"
    assert message in failure[1]


def test_extras_and_blanks_of_an_entry_point_are_not_in_its_target(site):
    """Packaging allows `acme : Focal [gpu]`."""
    site.distribution("acme", losses={"x": "acme_extra : Focal [gpu]"})
    assert site.registry().entry("x").target == "acme_extra:Focal"


@pytest.mark.parametrize(
    "manifest, message",
    [
        ("{not json", "acme:lossreg.json is not JSON: Expecting property name"),
        ("", "acme:lossreg.json is not JSON"),
        ("[" * 100_000, "acme:lossreg.json is not JSON: maximum recursion depth"),
        ({"schema": 2, "losses": {}}, "has schema version 2, this lossreg reads 1; upgrade lossreg, or rebuild it"),
        ({"losses": {}}, "has schema version None"),
        ([1], "has schema version None"),
        ({"schema": 1}, "'losses' must be an object, got NoneType"),
        ({"schema": 1, "losses": ["focal"]}, "'losses' must be an object, got list"),
        (None, "acme:lossreg.json cannot be read: No such file or directory; `lossreg manifest build acme` writes it"),
    ],
)
def test_an_unreadable_manifest_is_a_failure(site, manifest, message):
    """One, with a message that has the remedy; other packages are found."""
    site.package("acme", manifest)
    site.distribution("acme", manifests={"acme": "acme:lossreg.json"})
    site.distribution("other", losses={"other": "other:Other"})
    registry = site.registry()
    assert site.names(registry) == ["other"]
    (found,) = site.failures(registry).values()
    assert message in found
    with pytest.raises(KeyError, match="not read: acme"):
        registry.get("acme_loss")


def test_a_manifest_of_fifty_megabytes_is_not_read(site):
    """Reading stops at the limit."""
    path = site.package("acme", MANIFEST) / "lossreg.json"
    with path.open("ab") as file:
        file.truncate(50 * 2**20)
    site.distribution("acme", manifests={"acme": "acme:lossreg.json"})
    (message,) = site.failures(site.registry()).values()
    assert message == "acme:lossreg.json is too large; at most 4194304 bytes are read"


@pytest.mark.parametrize(
    "value, message",
    [
        ("acme_absent:lossreg.json", "package 'acme_absent' is not installed, or not a package"),
        ("acme.inner:lossreg.json", "a manifest must be in a top-level package, got 'acme.inner'"),
        ("json.tool:lossreg.json", "a manifest must be in a top-level package"),
        ("string:lossreg.json", "package 'string' is not installed, or not a package"),
        (":lossreg.json", "package '' "),
        ("__main__:lossreg.json", "__main__"),
    ],
)
def test_a_manifest_that_cannot_be_located_is_a_failure(site, value, message):
    """Nothing is imported to find it."""
    site.module("acme.inner.x", "raise SystemExit")
    site.distribution("acme", manifests={"acme": value})
    registry = site.registry()
    (found,) = site.failures(registry).values()
    assert message in found
    assert "acme" not in sys.modules


@pytest.mark.parametrize("loss", [5, None, "text", [], {}, {"target": 5}, {"target": "a:B", "tags": "t"}])
def test_a_malformed_loss_of_a_manifest_is_a_failure(site, loss):
    """Its neighbours are found."""
    site.package("acme", {"schema": 1, "losses": {"bad": loss, "focal_x": {"target": "acme:Focal"}}})
    site.distribution("acme", manifests={"acme": "acme:lossreg.json"})
    registry = site.registry()
    assert site.names(registry) == ["focal_x"]
    assert registry.entry("focal_x").tags == frozenset()
    (message,) = site.failures(registry).values()
    assert "acme: loss 'bad' is malformed: " in message


@pytest.mark.parametrize(
    "lines",
    [b"[lossreg.losses]\nx = a:X\nno equals sign\n", b"[lossreg.losses]\n\xe9 = a:B\n"],
)
def test_an_entry_points_file_that_cannot_be_parsed_hides_its_own_distribution_alone(site, lines):
    """All of its lines, and those of no other distribution."""
    site.raw_distribution("bad", lines)
    site.distribution("good", losses={"good_loss": "good:Good"})
    registry = site.registry()
    assert site.names(registry) == ["good_loss"]
    assert "dice" in registry
    (message,) = site.failures(registry).values()
    assert message.startswith("bad: its entry_points.txt cannot be read: ")


@pytest.mark.parametrize(
    "metadata, version",
    [
        (b"", "unknown"),
        (b"Name: caf\xe9\nVersion: 1\n", "1"),
        (b"\xff\xfe", "unknown"),
        (b"no header at all", "unknown"),
    ],
)
def test_metadata_that_cannot_be_read_leaves_the_loss(site, metadata, version):
    """The folder has name and version; one without a version leaves it unknown."""
    folder = site.distribution("acme", losses={"focal_x": "acme:Focal"}, metadata=metadata)
    entry = site.registry().entry("focal_x")
    assert (entry.full_name, entry.version) == ("acme/focal_x", "1.0")
    folder.rename(folder.with_name("acme.dist-info"))
    entry = site.registry().entry("focal_x")
    assert (entry.full_name, entry.version) == ("acme/focal_x", version)


def test_a_folder_without_a_version_leaves_it_to_the_metadata(site):
    """Development installs have such folders."""
    folder = site.distribution("acme_losses", losses={"focal_x": "acme:Focal"}, version="2.5")
    folder.rename(folder.with_name("acme_losses.dist-info"))
    entry = site.registry().entry("focal_x")
    assert (entry.full_name, entry.version) == ("acme-losses/focal_x", "2.5")


def test_a_broken_provider_breaks_its_own_losses_alone(site):
    """Listing, other losses, tags and the message for a mistyped name still work."""
    site.module("acme_bad", "raise SystemExit('no GPU')")
    site.plain("acme_good", "Good")
    site.distribution("bad", losses={"bad_loss": "acme_bad:Bad"})
    site.distribution("good", losses={"good_loss": "acme_good:Good"})
    registry = site.registry()
    with pytest.raises(ProviderError, match=r"broken: importing acme_bad:Bad of bad 1\.0 raised SystemExit") as error:
        registry.get("bad_loss")
    assert error.value.distribution == "bad"
    assert site.names(registry) == ["bad_loss", "good_loss"]
    assert registry.get("good_loss").__name__ == "Good"
    assert "good_loss" in registry.find("!overlap")
    with pytest.raises(KeyError, match="did you mean 'bad_loss' or"):
        registry.get("bad_lossy")


@pytest.mark.filterwarnings("ignore:LOSSREG_DISABLE")  # about unknown names, see test_environment_warnings
@pytest.mark.parametrize("switch", ["acme", "focal", "focal_x", "acme/focal", " x, focal ,", "acme,other"])
def test_losses_can_be_disabled(site, monkeypatch, switch):
    """By provider, name, alias or provider/name; the error has the reason."""
    site.package("acme", MANIFEST)
    site.distribution("acme", manifests={"acme": "acme:lossreg.json"})
    monkeypatch.setenv("LOSSREG_DISABLE", switch)
    registry = site.registry()
    assert registry.entry("acme/focal").state == "disabled"
    with pytest.raises(DisabledError) as caught:
        registry.get("acme/focal")
    assert str(caught.value) == f"acme/focal is disabled: LOSSREG_DISABLE={switch} names it"
    assert registry.entry("dice").state == "discovered"


def test_a_manifest_is_read_once_for_losses_and_parts(site, monkeypatch):
    """Both registries of a process take it from one read; a failure as well."""
    part = {"target": "acme_both:Part", "tags": ["distance"]}
    loss = {"target": "acme_both:Loss", "tags": []}
    site.package("acme_both", {"schema": 1, "losses": {"both_loss": loss}, "parts": {"both_part": part}})
    site.package("acme_torn", "{")
    site.distribution("acme", manifests={"both": "acme_both", "torn": "acme_torn"})
    reads = []
    read = manifest.read
    monkeypatch.setattr(manifest, "read", lambda package, *rest: reads.append(package) or read(package, *rest))
    distributions.forget()
    found = {section: discover(section) for section in ("losses", "parts")}
    assert {"acme_both", "acme_torn"} <= {*reads}
    assert len(reads) == len({*reads})
    for section, name in (("losses", "both_loss"), ("parts", "both_part")):
        assert name in {entry.name for entry in found[section].entries}
        assert "acme_torn" in {failure.source for failure in found[section].failures}


def test_a_scan_is_made_once_and_again_after_an_installation(site, monkeypatch):
    """A new distribution, another sys.path and another finder are noticed; `forget` is for a changed file."""
    scans = []
    scanned = distributions._scanned
    monkeypatch.setattr(distributions, "_scanned", lambda: scans.append(1) or scanned())

    def losses_of(name):
        return [item.name for item in distributions.declared() if item.distribution == name]

    folder = site.distribution("acme", losses={"one": "acme:One"})
    os.utime(site.root, (1, 1))
    assert [losses_of("acme"), losses_of("acme"), distributions.remarks()] == [["one"], ["one"], []]
    assert len(scans) == 1
    (site.root / "later-1.0.dist-info").mkdir()
    (site.root / "later-1.0.dist-info" / "entry_points.txt").write_text("[lossreg.losses]\ntwo = acme:Two\n")
    assert losses_of("later") == ["two"]
    (folder / "entry_points.txt").write_text("[lossreg.losses]\nthree = acme:Three\n")
    assert losses_of("acme") == ["one"]
    distributions.forget()
    assert losses_of("acme") == ["three"]
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != str(site.root)])
    assert losses_of("acme") == []
    assert len(scans) == 4
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, NoDistributions()])
    distributions.declared()
    assert len(scans) == 5
