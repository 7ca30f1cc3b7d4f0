"""`lossreg doctor`: problems are printed with their cause, and set the exit code."""

import re
import sys

import pytest
import torch
import typer
from typer.testing import CliRunner

from lossreg import losses, parts
from lossreg.authoring import doctor, manifest_writer
from lossreg.authoring.absent_extras import AbsentExtra, absent_extras
from lossreg.cli import doctor as diagnosis
from lossreg.hooks import manager as hooks

from ..fakes import like_new

# LOSSREG_ONLY names everything that a test may install.
pytestmark = pytest.mark.filterwarnings("ignore:LOSSREG_ONLY")

WELL = """
    from torch import nn
    from lossreg import losses

    @losses.register("acme_well")
    class Well(nn.Module):
        def __init__(self, gamma: float = 2.0):
            super().__init__()
"""


@pytest.fixture
def examine(site, monkeypatch):
    """Return a function that runs the command over the packages of the site; it returns exit code, output and lines."""
    # Importing and checking all first-party packages takes long, and other tests do it.
    monkeypatch.setenv("LOSSREG_ONLY", "acme,acme-dist,acme2,bad,gone,other,segmentation/dice")
    monkeypatch.setattr(hooks, "_complete", None)

    def run(*options):
        for registry in (losses, parts):
            like_new(monkeypatch, registry)
        app = typer.Typer()
        app.callback()(lambda: None)
        diagnosis.add_to(app)
        done = CliRunner().invoke(app, ["doctor", *options])
        lines = {line.split()[0]: line for line in done.output.splitlines() if line and not line.startswith(" ")}
        return done.exit_code, done.output, lines

    return run


def declare(site, provider, package, name, source=WELL):
    site.package(package)
    site.module(f"{package}.code", source)
    site.distribution(f"{provider}-dist", version="2.3", manifests={provider: f"{package}:lossreg.json"})
    if "register" in source:
        manifest_writer.build(package)
    site.forget()


def test_a_provider_without_problems_has_version_and_time(site, examine):
    """In one line; there is no problem, so the exit code is 0."""
    declare(site, "acme", "doctor_acme", "acme_well")
    code, output, lines = examine()
    assert code == 0, output
    assert lines["acme"].split()[1:5] == ["acme-dist", "2.3", "1", "loaded"]
    assert lines["acme"].endswith("s")
    assert lines["torch"].split() == ["torch", torch.__version__]
    assert output.endswith("\nno problems found\n")


def test_an_outdated_manifest_is_broken_and_shows_the_difference(site, examine):
    """As `manifest check` does."""
    declare(site, "acme", "doctor_step", "acme_well")
    site.module("doctor_step.code", WELL.replace("2.0", "3.0"))
    code, output, lines = examine()
    assert code == 1
    assert lines["acme"].split()[4] == "outdated"
    assert "+ losses.acme_well.parameters.properties.gamma.default = 3.0" in output
    assert output.endswith("\nproblems found: see above\n")


def test_an_import_error_is_printed_once_with_its_cause(site, examine):
    """Even if it breaks several losses."""
    site.module("doctor_bad", "raise OSError('no such device')")
    site.distribution("bad", losses={"bad_a": "doctor_bad:A", "bad_b": "doctor_bad:B"})
    code, output, lines = examine()
    assert code == 1
    assert lines["bad"].split()[3:5] == ["2", "broken"]
    assert output.count("OSError: no such device") == 1


def test_metadata_of_a_deleted_package_is_called_stale(site, examine):
    """The entry point exists, and the module does not."""
    site.distribution("gone", losses={"gone_loss": "doctor_gone:Loss"})
    code, output, _ = examine()
    assert code == 1
    assert (
        "ModuleNotFoundError: No module named 'doctor_gone'; stale metadata: doctor_gone:Loss does not exist" in output
    )


def test_a_missing_library_is_no_problem(site, examine):
    """Its provider is missing, with the command that installs the library."""
    library = {"package": "nolib", "distribution": "no-lib", "versions": ">=1"}
    entry = {"target": "nolib:Loss", "parameters": {"properties": {}}}
    site.package("doctor_other", {"schema": 1, "library": library, "losses": {"other": entry}})
    site.distribution("other-dist", manifests={"other": "doctor_other:lossreg.json"})
    code, output, lines = examine()
    assert code == 0, output
    assert "missing" in lines["other"]
    assert 'pip install "no-lib>=1"' in output


def test_a_distribution_that_is_installed_twice_is_noted(site, examine, tmp_path, monkeypatch):
    """With both versions and folders; the first is used."""
    declare(site, "acme", "doctor_twice", "acme_well")
    (tmp_path / "second").mkdir()
    other = type(site)(tmp_path / "second")
    other.distribution("acme-dist", version="1.1", manifests={"acme": "doctor_twice:lossreg.json"})
    monkeypatch.setattr(sys, "path", [*sys.path, str(other.root)])
    code, output, _ = examine()
    assert code == 0, output
    assert (
        f"acme-dist is installed more than once; the first is used: 2.3 in {site.root}, 1.1 in {other.root}" in output
    )


def test_unreadable_manifests_and_broken_hooks_are_printed(site, examine):
    """Each once, and the exit code is 1."""
    site.package("doctor_unread", "{")
    site.distribution("unread", manifests={"unread": "doctor_unread:lossreg.json"})
    site.module("doctor_hooks", "raise RuntimeError('boom')")
    site.distribution("acme2", hooks={"acme2": "doctor_hooks"})
    with pytest.warns(UserWarning, match="the hooks 'acme2' are broken"):
        code, output, _ = examine()
    assert code == 1
    assert output.count("not read: doctor_unread:lossreg.json") == 1
    assert output.count("not read: hooks acme2: the hooks 'acme2' are broken and left out: RuntimeError: boom") == 1


def described(site, provider, source):
    """Install a provider that describes a library of one loss, with this code."""
    site.module(f"{provider}_library", source)
    library = {"package": f"{provider}_library", "distribution": f"{provider}-library"}
    entry = {"target": f"{provider}_library:Loss", "parameters": {"properties": {}}}
    site.package(f"doctor_{provider}", {"schema": 1, "library": library, "losses": {"theirs": entry}})
    site.distribution(f"{provider}-dist", manifests={provider: f"doctor_{provider}:lossreg.json"})


def test_a_broken_library_sets_the_exit_code_with_strict_only(site, examine):
    """Its cause is printed; all other losses work, so the installation is not broken."""
    described(site, "other", "raise RuntimeError('libfoo.so: undefined symbol')")
    code, output, lines = examine()
    assert code == 0, output
    assert lines["other"].split()[4] == "broken"
    assert "    RuntimeError: libfoo.so: undefined symbol\n" in output
    assert "providers of broken or changed libraries, which affect only their own losses: other\n" in output
    assert output.endswith("\nno other problems found\n")
    code, output, _ = examine("--strict")
    assert code == 1
    assert output.endswith("\nproblems found: see above\n")


def test_a_torchvision_for_another_torch_has_one_remedy(site, examine):
    """As on a CPU build of torch beside torchvision from the default index; two libraries import it."""
    for provider in ("acme", "other"):
        described(site, provider, "raise RuntimeError('operator torchvision::nms does not exist')")
    code, output, _ = examine()
    assert code == 0, output
    assert output.count("RuntimeError: operator torchvision::nms does not exist") == 2
    assert output.count("pip install --force-reinstall torch torchvision") == 1


def test_a_torch_that_cannot_be_imported_is_a_line_of_the_report(site, examine, monkeypatch):
    """With its error and the remedy; the providers are listed, and none of them is blamed."""
    declare(site, "acme", "doctor_torchless", "acme_well")
    site.module("doctor_unread", "")
    site.distribution("other-dist", manifests={"other": "doctor_unread:lossreg.json"})
    monkeypatch.setitem(sys.modules, "torch", None)
    code, output, lines = examine()
    assert code == 1
    first, second, *_ = output.splitlines()
    assert first.startswith("torch cannot be imported, and every loss needs it: ModuleNotFoundError: import of torch")
    assert second == "reinstall it: pip install --force-reinstall torch"
    assert lines["acme"].split()[1:5] == ["acme-dist", "2.3", "1", "unknown"]
    assert "not read: doctor_unread:lossreg.json" in output
    assert lines["torch"].startswith("torch   cannot be imported: ModuleNotFoundError")
    assert output.endswith("\nproblems found: see above\n")


@pytest.mark.parametrize("source", ["raise SystemExit('usage')", "class Odd(BaseException): ...\nraise Odd('usage')"])
def test_a_module_that_exits_ends_neither_the_report_nor_the_other_providers(site, examine, source):
    """Beside the losses of a manifest, and in a module of losses."""
    declare(site, "acme", "doctor_exits", "acme_well")
    site.module("doctor_exits.script", source)
    site.module("doctor_exit_code", source)
    site.distribution("bad", losses={"bad": "doctor_exit_code:A"})
    declare(site, "other", "doctor_next", "other_well", WELL.replace("acme_well", "other_well"))
    site.distribution("gone", losses={"gone": "doctor_gone:A"})
    code, output, lines = examine()
    assert code == 1
    assert [lines[name].split()[4] for name in ("acme", "bad", "gone", "other")] == [
        "outdated",
        "broken",
        "broken",
        "loaded",
    ]
    assert re.search(r"importing doctor_exits\.script raised (SystemExit|Odd): usage", output)
    assert 'exclude = ["doctor_exits.script"]' in output
    (site.root / "pyproject.toml").write_text('[tool.lossreg.manifest]\nexclude = ["doctor_exits.script"]')
    manifest_writer.build("doctor_exits")
    site.forget()
    _, _, lines = examine()
    assert lines["acme"].split()[4] == "loaded"


def test_an_annotation_that_cannot_be_evaluated_is_noted(site, examine):
    """The provider works, and one of its parameters is not checked."""
    source = WELL.replace("gamma: float = 2.0", "gamma: float = 2.0, inner: 'Absent | None' = None")
    declare(site, "acme", "doctor_hints", "acme_well", source)
    code, output, lines = examine()
    assert code == 0, output
    assert lines["acme"].split()[4] == "loaded"
    (note,) = [line for line in output.splitlines() if "inner" in line]
    assert note.startswith("acme/acme_well: the annotation of inner cannot be evaluated (NameError: name 'Absent' is")
    assert note.endswith("; import what it names outside `if TYPE_CHECKING`")


EXTRAS = b"""Metadata-Version: 2.4
Name: acme-dist
Version: 2.3
Requires-Dist: acme-base
Requires-Dist: acme-swift>=2; extra == "fast"
Requires-Dist: pluggy; extra == "fast"
Requires-Dist: pluggy; extra == "hooks"
Requires-Dist: acme-dist[fast]; extra == "all"
Requires-Dist: acme-lint; extra == "dev"
Requires-Dist: acme-win; extra == "windows" and sys_platform == "nowhere"
Provides-Extra: fast
Provides-Extra: hooks
Provides-Extra: all
Provides-Extra: dev
Provides-Extra: windows
"""


def test_extras_that_are_not_installed_are_information(site, examine):
    """With the missing packages; extras that are complete, for developers or for another system are not listed."""
    site.package("doctor_extras")
    site.module("doctor_extras.code", WELL)
    site.distribution("acme-dist", metadata=EXTRAS, version="2.3", losses={"acme_well": "doctor_extras.code:Well"})
    assert [tuple(extra) for extra in absent_extras("acme-dist")] == [
        ("acme-dist", "fast", ("acme-swift",)),
        ("acme-dist", "all", ("acme-swift",)),
    ]
    code, output, _ = examine()
    assert code == 0, output
    assert "extras that are not installed:\n" in output
    assert re.search(r"^    pip install 'acme-dist\[fast\]' +acme-swift$", output, re.MULTILINE)


def test_a_loss_that_needs_an_extra_is_missing_and_not_broken(site, examine):
    """Its module imports a package of an extra of its distribution; a package of no extra is an error."""
    site.module("doctor_fast", "import acme_swift")
    site.distribution("acme-dist", metadata=EXTRAS, version="2.3", losses={"acme_fast": "doctor_fast:Fast"})
    site.module("doctor_slow", "import acme_slow")
    code, output, lines = examine()
    assert code == 0, output
    assert lines["acme-dist"].split()[4] == "missing"
    assert "    acme-swift, which is not installed; pip install 'acme-dist[fast]'\n" in output
    site.distribution("other", losses={"other_slow": "doctor_slow:Slow"})
    site.forget()
    code, output, lines = examine()
    assert code == 1
    assert lines["other"].split()[4] == "broken"


def test_a_module_without_losses_may_need_a_missing_package(site, examine):
    """A module without losses may lack a package; any other failure of a module is an error."""
    declare(site, "acme", "doctor_part", "acme_well")
    site.module("doctor_part.report", "import acme_charts")
    code, output, lines = examine()
    assert code == 0, output
    assert lines["acme"].split()[4] == "loaded"
    site.module("doctor_part.report", "import doctor_part.absent")
    code, output, _ = examine()
    assert code == 1
    assert "importing doctor_part.report raised ModuleNotFoundError: No module named 'doctor_part.absent'" in output


def test_the_extra_of_a_faster_implementation_is_printed(monkeypatch):
    """On a CPU without Numba the tiles compute, and the command that installs Numba is printed."""
    monkeypatch.setattr(doctor, "is_installed", lambda package: False)
    extra = AbsentExtra("lossreg-segmentation", "cpu", ("numba",))
    monkeypatch.setattr(doctor, "absent_extras", lambda distribution: [extra])
    assert dict(doctor.environment())["statistics on cpu"] == (
        "tiled; numba is several times faster: pip install 'lossreg-segmentation[cpu]'"
    )


def test_the_implementation_that_would_run_is_printed():
    """By the installed packages: on this machine's CPU, and on a CUDA device if there is one."""
    found = dict(doctor.environment())
    assert found["statistics on cpu"] in ("numba", "tiled", "reference")
    assert (found["statistics on cuda"] == "no such device") == (not torch.cuda.is_available())
