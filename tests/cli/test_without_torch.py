"""Commands that work without torch: list, show, validate, schema, why, stubs and new-plugin, in new processes."""

import json
import os
import subprocess
import sys

import pytest

from lossreg.discovery.first_party import FIRST_PARTY

pytestmark = pytest.mark.tools

# As if torch were not installed, on a machine where it is.
ABSENT = "import sys; sys.modules['torch'] = None\n"
MAIN = f"{ABSENT}from lossreg.cli import main; main()"


def python(code, *arguments):
    """Run code in a new process that must succeed; return its output."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_torch_is_absent_there():
    """Otherwise the tests below would prove nothing."""
    with pytest.raises(AssertionError, match=r"No module named 'torch'|import of torch halted"):
        python(f"{ABSENT}import lossreg; lossreg.build('dice')")


def test_losses_are_found_by_words_and_nothing_is_imported():
    """Neither torch, which is absent, nor pydantic, nor a package of losses."""
    code = (
        f"{ABSENT}import atexit\n"
        "heavy = ('pydantic', 'numpy', 'lossreg_segmentation', 'monai')\n"
        "atexit.register(lambda: print([name for name in heavy if name in sys.modules]))\n"
        "from lossreg.cli import main; main()"
    )
    *lines, imported = python(code, "find", "thin", "vessels").splitlines()
    assert [line.split()[0] for line in lines if line.startswith(("cldice ", "targeted "))] == ["cldice", "targeted"]
    assert imported == "[]"


def test_every_first_party_provider_is_listed():
    """With all of its losses: more than two hundred, of eleven providers."""
    listed = json.loads(python(MAIN, "list", "--json"))
    ours = [loss for loss in listed if loss["provider"] in FIRST_PARTY]
    assert len(FIRST_PARTY) == 11
    assert {loss["provider"] for loss in ours} == FIRST_PARTY.keys()
    assert len(ours) > 200


def test_every_first_party_loss_and_part_is_shown():
    """By its full name, with its distribution."""
    shown = python(
        f"""{ABSENT}
from lossreg import losses, parts
from lossreg.cli.show import show
from lossreg.discovery.first_party import FIRST_PARTY
for registry in (losses, parts):
    for entry in registry.entries():
        if entry.provider in FIRST_PARTY:
            print("shown:", entry.full_name, entry.distribution)
            show(entry.full_name)
"""
    )
    first, *sections = shown.split("shown: ")
    assert first == ""
    assert len(sections) > 220
    for section in sections:
        name, distribution = section.split("\n")[0].split()
        assert section.split("\n")[1].startswith(name)
        assert f"({distribution} " in section


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (("validate", "{config}"), '"smooth": 1.0'),
        (("schema", "--provider", "segmentation"), "https://json-schema.org/draft/2020-12/schema"),
        (("why", "dice"), "dice -> segmentation/dice"),
        (("stubs", "{folder}/typings"), "typings/lossreg/__init__.pyi"),
        (("new-plugin", "acme-losses", "{folder}"), "pip install --editable"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_a_command_does_its_work(tmp_path, arguments, expected):
    """Commands that check, explain and write."""
    config = tmp_path / "loss.yaml"
    config.write_text("name: dice\n")
    assert expected in python(MAIN, *(word.format(config=config, folder=tmp_path) for word in arguments))


BROKEN = "raise ImportError('libcudnn.so.9: cannot open shared object file')"
COMMANDS = {
    "list --tag binary": 0,
    "show dice": 0,
    "validate {folder}/loss.yaml": 0,
    "schema dice": 0,
    "why dice": 0,
    "stubs {folder}/typings": 0,
    "new-plugin acme-losses {folder}": 0,
    "check-targets {folder}": 1,
    "records summary {folder}": 1,
    "plot dice": 1,
    "manifest build lossreg_sam": 1,
    "manifest check lossreg_sam lossreg_pml": 1,
    "doctor": 1,
    "warm-up dice": 1,
}


@pytest.mark.parametrize("command, expected", COMMANDS.items(), ids=COMMANDS)
def test_no_command_ends_in_a_traceback_where_torch_is_broken(tmp_path, command, expected):
    """As after an update of CUDA: what needs torch is an error, and the rest works."""
    (tmp_path / "loss.yaml").write_text("name: dice\n")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "torch.py").write_text(BROKEN)
    words = [sys.executable, "-c", "from lossreg.cli import main; main()", *command.format(folder=tmp_path).split()]
    path = os.pathsep.join([str(tmp_path / "broken"), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "LOSSREG_ONLY": "lossreg,segmentation,sam"}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)
    assert done.returncode == expected, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    if command.startswith(("plot", "manifest", "doctor")):
        assert "libcudnn.so.9" in done.stdout + done.stderr
        assert "pip install --force-reinstall torch" in done.stdout + done.stderr


def test_torch_without_numpy_prints_nothing_of_it(tmp_path):
    """lossreg alone installs no numpy, and torch warns about that when it is imported."""
    code = "import sys; sys.modules['numpy'] = None\nfrom lossreg.cli import main; main()"
    command = [sys.executable, "-c", code, "manifest", "check", "lossreg_sam"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "lossreg_sam: up to date\n", "")
