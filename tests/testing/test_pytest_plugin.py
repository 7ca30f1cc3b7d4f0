"""pytest plugin: one line in the configuration checks the losses of a package."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.tools

PACKAGE = """
    import torch
    from lossreg import Loss, Term, losses
    from lossreg.contract import contract

    @losses.register("far", contract=contract(input="logits", target="mask", tasks=["binary"]))
    class Far(Loss):
        \"\"\"Mean distance.\"\"\"

        def terms(self, input, target):
            if input.shape != target.shape:
                raise ValueError("sizes differ")
            x = input if input.dtype == torch.float64 else input.float()
            return {"far": Term((x.sigmoid() - target).abs().flatten(1).mean(1), "example")}
"""
CONFTEST = """
    from lossreg.testing import MaskCase

    def pytest_lossreg_cases(name):
        return [MaskCase("binary", oracle=lambda i, t: (i.sigmoid() - t).abs().mean())]
"""
INI = """
    [pytest]
    lossreg_losses = acme
"""


@pytest.fixture
def project(site, tmp_path):
    """Install a package with one loss; return a function that runs pytest in a folder for its tests."""
    site.module("acme_far", PACKAGE)
    site.distribution("acme", losses={"far": "acme_far:Far"})
    folder = tmp_path / "project"
    folder.mkdir()

    def run(*arguments, ini=INI, conftest=CONFTEST, cache=False):
        (folder / "pytest.ini").write_text(textwrap.dedent(ini))
        (folder / "conftest.py").write_text(textwrap.dedent(conftest))
        without_cache = [] if cache else ["-p", "no:cacheprovider"]
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", *without_cache, *arguments],
            cwd=folder,
            env={"PYTHONPATH": str(site.root), "PATH": "", "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=300,
        )

    run.folder = folder
    return run


def test_one_line_checks_every_loss_of_a_package(project):
    done = project()
    assert "18 passed" in done.stdout, done.stdout + done.stderr
    assert "= lossreg conformance =" in done.stdout
    assert "not applicable to 2: the loss has no parameter ignore_index" in done.stdout
    assert done.returncode == 0


def test_without_the_line_nothing_is_added_and_torch_is_not_imported(project):
    (project.folder / "test_own.py").write_text("import sys\ndef test_own():\n    assert 'torch' not in sys.modules\n")
    done = project(ini="[pytest]\n", conftest="")
    assert "1 passed" in done.stdout, done.stdout + done.stderr
    assert "lossreg conformance" not in done.stdout


def test_named_files_run_alone_unless_the_option_is_given(project):
    (project.folder / "test_own.py").write_text("def test_own():\n    assert True\n")
    assert "1 passed" in project("test_own.py").stdout
    assert "19 passed" in project("--lossreg", "test_own.py").stdout


def test_checks_are_chosen_by_name_and_by_marker(project):
    assert "1 passed, 17 deselected" in project("-k", "acme/far and gradcheck").stdout
    assert "18 deselected" in project("-m", "not lossreg").stdout


def test_a_missing_oracle_fails_with_the_remedy(project):
    done = project(conftest="")
    assert done.returncode == 1
    assert "1 failed, 17 passed" in done.stdout
    assert "acme/far::oracle-binary" in done.stdout
    assert "the case has no oracle; pass Case(oracle=...)" in done.stdout


def test_a_waiver_is_printed_with_its_reason(project):
    ini = INI + "    lossreg_waivers =\n        acme/far oracle: it is torch's own formula\n"
    done = project(ini=ini, conftest="")
    assert "17 passed, 1 skipped" in done.stdout, done.stdout + done.stderr
    assert "waived: acme/far::oracle-binary: it is torch's own formula" in done.stdout


@pytest.mark.parametrize(
    "line, message",
    [
        ("acme/far orakle: typo", "unknown check 'orakle'; did you mean 'oracle'?"),
        ("acme/far oracle:", "the waiver of 'oracle' has no reason"),
        ("acme/near oracle: gone", "acme/near is not in lossreg_losses"),
        ("acme/far", "unknown check ''; the checks are oracle, gradcheck, "),
    ],
)
def test_a_waiver_of_nothing_is_an_error(project, line, message):
    done = project(ini=INI + f"    lossreg_waivers =\n        {line}\n")
    assert done.returncode == 4
    assert message in done.stderr


def test_a_provider_that_is_not_installed_is_an_error(project):
    done = project(ini="[pytest]\nlossreg_losses = acmee\n")
    assert done.returncode == 4
    assert "unknown provider or loss acmee; the installed providers are acme, " in done.stderr


def test_inputs_of_another_kind_fail_with_the_hook_alone(project, site):
    """The tests of the user run."""
    (project.folder / "test_own.py").write_text("def test_own():\n    assert True\n")
    site.module("acme_far", PACKAGE.replace('"logits"', '"graph"'))
    done = project(conftest="")
    assert "1 failed, 1 passed" in done.stdout, done.stdout + done.stderr
    assert "pytest.ini::acme/far::cases" in done.stdout
    assert "acme/far has no contract with inputs that the kit can make" in done.stdout
    assert "define pytest_lossreg_cases(name) in conftest.py" in done.stdout


@pytest.mark.parametrize(
    "package, conftest, message",
    [
        ("import nothing_of_this_name", "", "No module named 'nothing_of_this_name'"),
        (PACKAGE, "def pytest_lossreg_cases(name):\n    raise KeyError('typo')\n", "KeyError: 'typo'"),
    ],
    ids=["broken package", "broken hook"],
)
def test_a_broken_package_or_hook_is_one_failure(project, site, package, conftest, message):
    """A loss that cannot be imported, or an error in a conftest.py, does not end the session."""
    (project.folder / "test_own.py").write_text("def test_own():\n    assert True\n")
    site.module("acme_far", package)
    done = project(conftest=conftest)
    assert "1 failed, 1 passed" in done.stdout, done.stdout + done.stderr
    assert message in done.stdout


def test_only_the_last_failures_run_again(project):  # over 10 s: three runs of pytest and of the kit
    """pytest stores the ids of items, and accepts them as arguments."""
    assert "1 failed, 17 passed" in project(conftest="", cache=True).stdout
    again = project("--lf", conftest="", cache=True)
    assert "1 failed, 17 deselected" in again.stdout, again.stdout + again.stderr
    named = project("pytest.ini::acme/far::pickles-binary")
    assert "1 passed" in named.stdout, named.stdout + named.stderr


def test_cases_of_one_label_are_numbered(project):
    twice = CONFTEST.replace("return [", "return 2 * [")
    done = project("-k", "gradcheck", "-vv", conftest=twice)
    assert "gradcheck-binary PASSED" in done.stdout, done.stdout + done.stderr
    assert "gradcheck-binary-2 PASSED" in done.stdout
