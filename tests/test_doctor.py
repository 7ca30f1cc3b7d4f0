"""`lossreg doctor`: what is broken is told with its cause, and the exit code says so."""

import sys

import pytest
import torch
import typer
from typer.testing import CliRunner

import lossreg
from lossreg import doctor, hooks, losses, manifest_writer, parts
from lossreg.cli import diagnosis

# The switch names what each test may install.
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
    """The command's exit code and output, over what is installed in the site and nothing else of note."""
    # First-party packages are well or not elsewhere; importing and checking all of them takes a while.
    monkeypatch.setenv("LOSSREG_ONLY", "acme,acme2,bad,gone,other,segmentation/dice")
    monkeypatch.setattr(hooks, "_complete", None)

    def run():
        for registry, section in ((losses, "losses"), (parts, "parts")):
            monkeypatch.setattr(registry, "_snapshot", type(registry)("torch.nn:Module")._snapshot)
            monkeypatch.setattr(registry, "_failures", ())
            monkeypatch.setattr(registry, "_discover", lambda section=section: lossreg.discovery.discover(section))
        app = typer.Typer()
        app.callback()(lambda: None)
        diagnosis.add_to(app)
        done = CliRunner().invoke(app, ["doctor"])
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


def test_a_provider_that_is_well_is_told_with_version_and_time(site, examine):
    """In one line; nothing else is wrong, so the exit code is 0."""
    declare(site, "acme", "doctor_acme", "acme_well")
    code, output, lines = examine()
    assert code == 0, output
    assert lines["acme"].split()[1:5] == ["acme-dist", "2.3", "1", "loaded"]
    assert lines["acme"].endswith("s")
    assert lines["torch"].split() == ["torch", torch.__version__]
    assert output.endswith("all well\n")


def test_a_manifest_out_of_step_is_broken_and_shows_where(site, examine):
    """As `manifest check` does."""
    declare(site, "acme", "doctor_step", "acme_well")
    site.module("doctor_step.code", WELL.replace("2.0", "3.0"))
    code, output, lines = examine()
    assert code == 1
    assert "out of step" in lines["acme"]
    assert "+ losses.acme_well.parameters.properties.gamma.default = 3.0" in output
    assert output.endswith("broken: see above\n")


def test_an_import_error_is_told_once_with_its_cause(site, examine):
    """However many losses it breaks."""
    site.module("doctor_bad", "raise OSError('no such device')")
    site.distribution("bad", losses={"bad_a": "doctor_bad:A", "bad_b": "doctor_bad:B"})
    code, output, lines = examine()
    assert code == 1
    assert lines["bad"].split()[3:5] == ["2", "broken"]
    assert output.count("OSError: no such device") == 1


def test_metadata_of_what_is_gone_is_called_stale(site, examine):
    """The entry point is there, and the module is not."""
    site.distribution("gone", losses={"gone_loss": "doctor_gone:Loss"})
    code, output, _ = examine()
    assert code == 1
    assert "ModuleNotFoundError: No module named 'doctor_gone'; stale metadata: doctor_gone:Loss is nowhere" in output


def test_a_missing_library_is_no_harm(site, examine):
    """Its provider is told as missing, with the line that installs it."""
    library = {"package": "nolib", "distribution": "no-lib", "versions": ">=1"}
    entry = {"target": "nolib:Loss", "parameters": {"properties": {}}}
    site.package("doctor_other", {"schema": 1, "library": library, "losses": {"other": entry}})
    site.distribution("other-dist", manifests={"other": "doctor_other:lossreg.json"})
    code, output, lines = examine()
    assert code == 0, output
    assert "missing" in lines["other"]
    assert 'pip install "no-lib>=1"' in output


def test_a_distribution_that_is_installed_twice_is_noted(site, examine, tmp_path, monkeypatch):
    """With both versions and folders; the first counts."""
    declare(site, "acme", "doctor_twice", "acme_well")
    other = type(site)(tmp_path / "second")
    other.root.mkdir()
    other.distribution("acme-dist", version="1.1", manifests={"acme": "doctor_twice:lossreg.json"})
    monkeypatch.setattr(sys, "path", [*sys.path, str(other.root)])
    code, output, _ = examine()
    assert code == 0, output
    assert f"acme-dist is installed more than once, the first counts: 2.3 in {site.root}, 1.1 in {other.root}" in output


def test_what_cannot_be_read_and_broken_hooks_are_told(site, examine):
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


def test_the_implementation_that_would_run_is_told():
    """By the packages that are there: on this machine's CPU, and on a CUDA device if there is one."""
    told = dict(doctor.environment())
    assert told["statistics on cpu"] in ("numba", "tiled", "reference")
    assert (told["statistics on cuda"] == "no such device") == (not torch.cuda.is_available())
