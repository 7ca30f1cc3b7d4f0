"""`lossreg docs`: the page of a loss, in a built site of this machine or the published one."""

import importlib.metadata
import webbrowser
from pathlib import Path

import pytest
from typer.testing import CliRunner

import lossreg
from lossreg.cli import add_hook_commands, app, docs

ADDRESS = "https://lossreg.github.io/lossreg/"


@pytest.fixture
def opened(monkeypatch):
    """The addresses that were opened, without a browser. No site is built on this machine."""
    addresses = []
    monkeypatch.setattr(webbrowser, "open", addresses.append)
    monkeypatch.delenv("LOSSREG_DOCS", raising=False)
    monkeypatch.setattr(docs, "BUILT", "no/such/folder")
    return addresses


def run(*arguments):
    """The output of the command."""
    add_hook_commands(app)
    result = CliRunner().invoke(app, ["docs", *arguments])
    if result.exception is not None:
        raise result.exception
    return result.output.strip()


@pytest.mark.parametrize(
    "arguments, page",
    [
        ([], "index.html"),
        (["dice"], "losses/dice.html"),
        (["dice_loss"], "losses/dice.html"),  # an alias
        (["sam/sam"], "losses/sam.html"),
        (["weighted_sum"], "losses/weighted_sum.html"),
        (["torch/cross_entropy"], "losses/of_torch.html#torch-cross-entropy"),
    ],
)
def test_the_published_page_is_printed_and_opened(opened, arguments, page):
    """Its address is that of the package's metadata."""
    assert run(*arguments) == ADDRESS + page
    assert opened == [ADDRESS + page]


def test_the_address_can_be_printed_alone(opened):
    """On a machine without a browser."""
    assert run("dice", "--print") == f"{ADDRESS}losses/dice.html"
    assert opened == []


def test_a_built_site_is_opened_without_a_network(opened, monkeypatch, tmp_path):
    """The folder of LOSSREG_DOCS, or that of the checkout."""
    (tmp_path / "index.html").write_text("")
    monkeypatch.setenv("LOSSREG_DOCS", str(tmp_path))
    assert run("dice") == (tmp_path / "losses" / "dice.html").as_uri()
    assert run("monai/dice_ce") == (tmp_path / "losses" / "of_monai.html").as_uri() + "#monai-dice-ce"
    monkeypatch.delenv("LOSSREG_DOCS")
    monkeypatch.setattr(docs, "BUILT", str(tmp_path))
    assert run() == (tmp_path / "index.html").as_uri()


def test_pages_that_are_installed_are_opened_without_a_network(opened, monkeypatch, tmp_path):
    """Those of the extra `docs`, after those of a checkout; a package without pages is none."""
    (tmp_path / "lossreg_docs").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert run("dice") == f"{ADDRESS}losses/dice.html"
    (tmp_path / "lossreg_docs" / "index.html").write_text("")
    assert run("dice") == (tmp_path / "lossreg_docs" / "losses" / "dice.html").as_uri()


def test_a_folder_without_a_site_is_named(opened, monkeypatch, tmp_path):
    """With the remedy."""
    monkeypatch.setenv("LOSSREG_DOCS", str(tmp_path))
    with pytest.raises(lossreg.LossregError, match=r"has no index\.html; name the folder .* or unset it"):
        run("dice")


def test_an_unknown_loss_has_a_suggestion(opened):
    """As in any command."""
    with pytest.raises(lossreg.NotFoundError, match="did you mean 'dice'"):
        run("dicee")


def test_a_loss_of_another_package_has_the_address_of_its_package(opened, monkeypatch):
    """Its metadata names it; where it does not, or the loss is registered in code, that is reported."""
    import torch

    with lossreg.losses.scope():

        @lossreg.losses.register("margin")
        class Margin(torch.nn.Module):
            """A margin."""

        with pytest.raises(lossreg.LossregError, match="margin has no page: its package names no address; see"):
            run("margin")
        found = {"Project-URL": ["Source, https://a.example/", "Documentation, https://b.example/docs/"]}
        metadata = type("Metadata", (), {"get_all": lambda self, name: found[name]})
        monkeypatch.setattr(importlib.metadata, "metadata", lambda name: metadata())
        entry = lossreg.losses.entry("margin")._replace(distribution="acme-losses", provider="acme-losses")
        monkeypatch.setattr(type(lossreg.losses), "entry", lambda self, name: entry)
        assert run("margin") == "https://b.example/docs/"


def test_the_published_address_is_that_of_pyproject():
    """One constant, in the metadata of lossreg."""
    assert docs.published("lossreg") == ADDRESS
    assert f'Documentation = "{ADDRESS}"' in (Path(__file__).parents[2] / "pyproject.toml").read_text()
