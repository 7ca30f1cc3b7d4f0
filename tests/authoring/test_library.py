"""A provider that describes another library: its overlay, its manifest, and the losses that are built from it."""

import json
import re
import shutil
import sys
import warnings

import pytest
import torch

import lossreg
from lossreg import InvalidConfigError, ManifestError, MissingLibraryError, losses, messages, parts
from lossreg.authoring import manifest_writer
from lossreg.authoring.library import snake_case
from lossreg.cli.list import list_losses
from lossreg.cli.show import show

from ..fakes import like_new

LIBRARY = """
    import torch
    from torch import nn

    class WeightedLoss(nn.Module):
        '''Sentences of its authors.

        Args:
            weight: which stay with them.
        '''

        def __init__(self, weight=None, act=None, gamma=2, mode="a", device=None, **kwargs):
            super().__init__()
            self.weight, self.act, self.gamma, self.mode, self.reducer = weight, act, gamma, mode, kwargs.get("reducer")

        def forward(self, input, target):
            return (input - target).abs().mean()

    class InnerLoss(WeightedLoss):
        def __init__(self, loss, distance=None, gamma=2):
            super().__init__(gamma=gamma)
            self.loss, self.distance = loss, distance

    class LpDistance(nn.Module):
        def __init__(self, p: float = 2.0):
            super().__init__()
            self.p = p

    class MeanReducer(nn.Module): ...

    class OldLoss(WeightedLoss): ...
"""
OVERLAY = """
    from collections.abc import Callable
    from typing import Annotated, Literal

    from pydantic import Field
    from torch import Tensor, nn

    from lossreg.authoring.library import Library
    from lossreg.parameters.types import Functions, Part

    library = Library(
        "acmelib",
        "acme-lib",
        ">=1.0,<2",
        modules=["acmelib"],
        exclude={{"OldLoss": "an old name"}},
        hints={{"gamma": Annotated[float, Field(ge=0)], "device": None}},
    )
    library.loss(
        "acmelib:WeightedLoss",
        summary="Weighted.",
        tags=["regression"],
        input="values",
        target_kind="values",
        family="l1",
        hints={{
            "weight": Tensor | None,
            "act": Annotated[Callable, Functions({{"relu": "torch:relu", "exp": "torch:exp"}})] | None,
            "mode": Literal["a", "b"],
        }},
    )
    library.loss(
        "acmelib:InnerLoss",
        summary="Around another.",
        tags=["composite"],
        input="values",
        target_kind="values",
        example={{"loss": "acmelib/weighted"}},
        hints={{"loss": nn.Module, "distance": Annotated[nn.Module, Part("distance")] | None}},
    )
    library.part("acmelib:LpDistance", "distance", "acme_lp", summary="Distance by the p-norm.")
    library.part("acmelib:MeanReducer", "reducer", "acme_mean", summary="The mean.")
    {more}
"""


@pytest.fixture
def provider(site, monkeypatch):
    """Install the library and its provider; return the folder of the provider's package."""

    def install(more="", library=LIBRARY, version="1.5", describe=True):
        if library:
            site.module("acmelib", library)
            site.distribution("acme-lib", version=version)
        site.package("acme_overlay")
        site.module("acme_overlay.overlay", OVERLAY.format(more=more))
        site.distribution("acme-overlay", manifests={"acmelib": "acme_overlay:lossreg.json"})
        monkeypatch.setattr(messages, "_warned", set())
        if describe:
            manifest_writer.build("acme_overlay")
            site.forget()
        for registry in (losses, parts):
            like_new(monkeypatch, registry)
        return site.root / "acme_overlay"

    return install


def test_the_manifest_joins_signature_and_overlay(provider):
    """Defaults from the code, types and ranges from the overlay, and none of the authors' sentences."""
    data = json.loads((provider() / "lossreg.json").read_text())
    assert data["library"] == {"package": "acmelib", "distribution": "acme-lib", "versions": ">=1.0,<2"}
    weighted = data["losses"]["weighted"]
    assert (weighted["target"], weighted["aliases"], weighted["family"]) == (
        "acmelib:WeightedLoss",
        ["WeightedLoss"],
        "l1",
    )
    assert weighted["parameters"]["properties"] == {
        "weight": {"anyOf": [{"$ref": "#/$defs/tensor"}, {"type": "null"}], "default": None},
        "act": {
            "anyOf": [
                {"enum": ["relu", "exp"], "functions": {"relu": "torch:relu", "exp": "torch:exp"}},
                {"type": "null"},
            ],
            "default": None,
        },
        "gamma": {"type": "number", "minimum": 0, "default": 2},
        "mode": {"type": "string", "enum": ["a", "b"], "default": "a"},
    }
    assert "Sentences" not in json.dumps(data)
    assert "which stay" not in json.dumps(data)
    assert data["parts"]["acme_lp"]["tags"] == ["distance"]
    assert data["losses"]["inner"]["example"] == {"loss": "acmelib/weighted"}


def test_validation_imports_neither_the_overlay_nor_the_library(provider):
    """The manifest is enough."""
    provider()
    params = {"loss": "acmelib/weighted", "distance": "acme_lp"}
    distance = lossreg.validate({"name": "acmelib/inner", "params": params}).params["distance"]
    assert distance == {"name": "acme_lp", "params": {"p": 2.0}, "provider": "acmelib", "version": "1.0"}
    assert not {"acmelib", "acme_overlay", "acme_overlay.overlay"} & {*sys.modules}


def test_tensors_functions_losses_and_parts_arrive_as_such(provider):
    """Numbers become a tensor, a name becomes its function, a nested config becomes a module."""
    provider()
    built = lossreg.build(
        {
            "name": "acmelib/inner",
            "params": {
                "loss": {"name": "acmelib/weighted", "params": {"weight": [[1, 2], [3, 4.5]], "act": "exp"}},
                "distance": {"name": "acme_lp", "params": {"p": 3}},
            },
        }
    )
    assert torch.equal(built.loss.weight, torch.tensor([[1.0, 2.0], [3.0, 4.5]]))
    assert built.loss.weight.dtype == torch.float32
    assert built.loss.act is torch.exp
    assert built.distance.p == 3
    assert lossreg.build(lossreg.config_of(built)).distance.p == 3


@pytest.mark.parametrize(
    "params, message",
    [
        (
            {"weight": [[1, 2], [3]]},
            "expected a number or lists of numbers, nested ones of equal length or null, got a list of 2",
        ),
        (
            {"weight": ["a"]},
            "expected a number or lists of numbers, nested ones of equal length or null, got a list of 1",
        ),
        (
            {"weight": True},
            "expected a number or lists of numbers, nested ones of equal length or null, got True",
        ),
        ({"act": "os:system"}, "params.act: expected one of 'relu', 'exp' or null, got the text 'os:system'"),
        ({"gamma": -1}, "params.gamma: expected a number >= 0, got -1"),
        ({"mode": "c"}, "params.mode: expected one of 'a', 'b', got the text 'c'"),
        ({"device": "cpu"}, "params.device: unknown parameter"),
    ],
)
def test_hints_of_the_overlay_are_enforced(provider, params, message):
    """Each hint restricts a config."""
    provider()
    with pytest.raises(InvalidConfigError) as caught:
        lossreg.validate({"name": "acmelib/weighted", "params": params})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "distance, message",
    [
        ("acme_mean", "params.distance.name: acmelib/acme_mean is no distance; allowed are acme_lp"),
        ("dice", "unknown part 'dice'"),
        ({"params": {}}, "params.distance.name: missing; expected the name of a registered distance"),
        ({"name": "acme_lp", "params": {"q": 1}}, "params.distance.params.q: unknown parameter; allowed are p"),
    ],
)
def test_a_part_has_the_role_that_the_parameter_requests(provider, distance, message):
    """A reducer is no distance, and a loss is no part."""
    provider()
    with pytest.raises(InvalidConfigError) as caught:
        lossreg.validate({"name": "inner", "params": {"loss": "weighted", "distance": distance}})
    assert message in str(caught.value)


def test_parts_are_no_losses(provider):
    """They are listed separately."""
    provider()
    assert "acme_lp" not in losses
    assert {"acme_lp", "acme_mean"} <= {*parts.list()}
    assert parts.filter_by_tag("reducer") == [name for name in parts.list() if "reducer" in parts.entry(name).tags]


def test_a_missing_library_is_listed_with_its_pip_command(provider, site, monkeypatch):
    """Validation works; the error of building contains the command."""
    folder = provider()
    (site.root / "acmelib.py").unlink()
    for path in site.root.glob("acme_lib-*"):
        shutil.rmtree(path)
    like_new(monkeypatch, losses)
    entry = losses.entry("acmelib/weighted")
    assert (entry.state, entry.reason) == ("missing", 'acme-lib is not installed; pip install "acme-lib>=1.0,<2"')
    assert lossreg.validate("acmelib/weighted").params["gamma"] == 2
    with pytest.raises(
        MissingLibraryError, match="acmelib/weighted needs acme-lib, which is not installed; pip install"
    ):
        lossreg.build("acmelib/weighted")
    assert folder.exists()


def test_a_library_without_metadata_is_not_missing(provider, site):
    """A folder on the path, such as a nightly build."""
    provider()
    for path in site.root.glob("acme_lib-*"):
        shutil.rmtree(path)
    assert losses.entry("acmelib/weighted").state == "discovered"
    assert lossreg.build("acmelib/weighted").gamma == 2


def test_a_version_that_was_not_described_gives_one_warning(provider):
    """Even if several of its losses are built."""
    provider(version="2.1")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        lossreg.build("acmelib/weighted")
        lossreg.build({"name": "acmelib/inner", "params": {"loss": "acmelib/weighted"}})
    assert [str(warning.message) for warning in caught] == [
        "acmelib: acme-lib 2.1 is installed, and >=1.0,<2 was described: parameters may differ;"
        ' pip install "acme-lib>=1.0,<2", or upgrade lossreg-acmelib'
    ]


def test_a_version_that_was_described_is_not_mentioned(provider):
    """Nor is a pre-release of it."""
    provider(version="1.9.0rc1")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lossreg.build("acmelib/weighted")


@pytest.mark.parametrize(
    "change, message",
    [
        ("class NewLoss(nn.Module): ...", "NewLoss is new; declare or exclude it"),
        ("del OldLoss", "OldLoss is excluded but does not exist"),
    ],
)
def test_a_class_that_comes_or_goes_is_noticed(provider, change, message):
    """When the manifest is built, or checked."""
    with pytest.raises(ManifestError, match=f"acmelib and its overlay differ:\n  {message}"):
        provider(library=f"{LIBRARY}\n    {change}\n")


def test_a_changed_default_is_a_readable_difference(provider, site):
    """`manifest check` shows the place."""
    where = "losses.weighted.parameters.properties.gamma.default"
    provider()
    site.module("acmelib", LIBRARY.replace("gamma=2", "gamma=3"))
    with pytest.raises(ManifestError) as caught:
        manifest_writer.check("acme_overlay")
    assert f"- {where} = 2\n+ {where} = 3" in str(caught.value)


@pytest.mark.parametrize(
    "more, message",
    [
        (
            'library.part("acmelib:LpDistance", "distance", "acme_lp", summary="Again.")',
            "acme_overlay: parts 'acme_lp' is declared twice; rename one",
        ),
        (
            'library.part("acmelib:Gone", "distance", summary="Gone.")',
            "acmelib:Gone cannot be imported: module 'acmelib' has no attribute 'Gone'",
        ),
        (
            'library.part("acmelib:LpDistance", "distance", "lp2", summary="Lp.", hints={"q": int})',
            "acmelib:LpDistance has no parameter q; remove the hint",
        ),
    ],
)
def test_a_mistake_in_an_overlay_is_an_error(provider, more, message):
    """Before anything is written."""
    with pytest.raises(ManifestError, match=message.replace("(", r"\(")):
        provider(more=more)


@pytest.mark.parametrize(
    "cls, name",
    [
        ("BCEWithLogitsLoss", "bce_with_logits"),
        ("CTCLoss", "ctc"),
        ("SmoothL1Loss", "smooth_l1"),
        ("KLDivLoss", "kl_div"),
        ("MS_SSIMLoss", "ms_ssim"),
        ("AdaptiveLogSoftmaxWithLoss", "adaptive_log_softmax_with"),
        ("Loss", "loss"),
    ],
)
def test_a_class_is_named_in_snake_case_without_loss(cls, name):
    """As registered names are."""
    assert snake_case(cls) == name


def test_the_list_shows_how_to_install_a_missing_library(provider, site, capsys):
    """Each loss is marked as missing, and the command is printed once."""
    provider()
    (site.root / "acmelib.py").unlink()
    for path in site.root.glob("acme_lib-*"):
        shutil.rmtree(path)
    list_losses("regression")
    out, err = capsys.readouterr()
    assert re.search(r"^weighted +acmelib +\[missing\] Weighted\. +regression$", out, re.MULTILINE)
    assert err.count('acmelib: acme-lib is not installed; pip install "acme-lib>=1.0,<2"') == 1


def test_a_restriction_to_an_unknown_provider_is_warned_of(provider, monkeypatch):
    """It would allow less than intended."""
    monkeypatch.setattr(messages, "_warned", set())
    provider()
    config = {"name": "acmelib/weighted", "params": {}}
    with pytest.warns(UserWarning, match=r"no provider is called 'acmlib' \(did you mean 'acmelib'\?\)"):
        lossreg.build(config, providers={"acmelib", "acmlib"})
    lossreg.build(config, providers={"acmelib"})


def test_parts_are_listed_and_shown(provider, capsys):
    """Separately from losses, and without importing anything."""
    provider()
    list_losses("distance", of_parts=True)
    out, _ = capsys.readouterr()
    assert re.search(r"^acme_lp +acmelib +Distance by the p-norm\. +distance$", out, re.MULTILINE)
    assert out.endswith(" parts\n")
    show("acme_lp")
    assert "p = 2.0    a number" in capsys.readouterr().out
    assert "acmelib" not in sys.modules
