"""`lossreg why`: the rule and the candidates of a name are those of the registry."""

import os
import subprocess
import sys

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from lossreg import AmbiguousNameError, NotFoundError, Registry, losses
from lossreg.cli import why as explanation
from lossreg.cli.why import RULES, _mentions
from lossreg.registry.entry import Discovered, Failure, declare
from lossreg.registry.requirement import Requirement

OTHER = {"target": "acme_pkg:Other", "tags": ["t"]}


def entry(full_name, target=None, *, aliases=(), owns_name=False, **fields):
    provider, name = full_name.split("/")
    made = declare(name, target or f"{provider}_pkg:{name.title()}", ["t"], aliases, {})
    return made._replace(provider=provider, owns_name=owns_name, distribution=provider, version="1.0", **fields)


def registry_of(*entries, failures=()):
    return Registry(object, name="losses", discover=lambda: Discovered(entries, failures))


@pytest.fixture
def run(monkeypatch):
    """Run the command over a registry; returns its result."""

    def command(name, registry=losses):
        monkeypatch.setattr(explanation, "losses", registry)
        app = typer.Typer()
        app.callback()(lambda: None)  # or Typer drops the name of an only command
        explanation.add_to(app)
        return CliRunner().invoke(app, ["why", name])

    return command


def candidates(explained):
    return {each.full_name for each in explained.candidates}


@pytest.mark.parametrize(
    "name, winner, rule, claims",
    [
        ("dice", "ours/dice", "owned", {"ours/dice", "a/overlap", "b/dice"}),
        ("b/dice", "b/dice", "full name", {"b/dice"}),
        ("a/dice", "a/overlap", "alias", {"a/overlap"}),
        ("overlap", "a/overlap", "only", {"a/overlap"}),
        ("tversky", "b/twin", "same class", {"b/twin", "c/tversky"}),
        ("tied", None, "tie", {"b/tied", "c/tied"}),
        ("half", "c/half", "enabled", {"b/half", "c/half"}),
        ("gap", "local/gap", "in code", {"b/gap", "local/gap"}),
        ("kept", None, "tie", {"ours/kept", "local/kept"}),
        ("mine", "local/mine", "override", {"ours/mine", "local/mine"}),
    ],
)
def test_each_rule(name, winner, rule, claims):
    """The winner, the rule, and all candidates."""
    registry = registry_of(
        entry("b/dice"),
        entry("a/overlap", aliases=["dice"]),
        entry("ours/dice", owns_name=True),
        entry("b/twin", "x:Tversky", aliases=["tversky"]),
        entry("c/tversky", "x:Tversky"),
        entry("b/tied"),
        entry("c/tied"),
        entry("b/half", state="disabled", reason="of a test"),
        entry("c/half"),
        entry("b/gap", requires=Requirement("library", "library")),
        entry("local/gap"),
        entry("ours/kept", owns_name=True, requires=Requirement("library", "library")),
        entry("local/kept"),
        entry("ours/mine", owns_name=True),
        entry("local/mine", owns_name=True),
    )
    explained = registry.explain(name)
    assert (explained.winner and explained.winner.full_name, explained.rule) == (winner, rule)
    assert candidates(explained) == claims


@st.composite
def registries(draw):
    """Entries of three providers, whose names, aliases and classes collide."""
    found = {}
    for _ in range(draw(st.integers(1, 6))):
        full_name = f"{draw(st.sampled_from('abc'))}/{draw(st.sampled_from('xyz'))}"
        aliases = draw(st.lists(st.sampled_from("xyzv"), max_size=2, unique=True))
        target, owns_name = draw(st.sampled_from(["m:X", "m:Y", "m:Z"])), draw(st.booleans())
        state = draw(st.sampled_from(["discovered", "disabled"]))
        found[full_name] = entry(full_name, target, aliases=aliases, owns_name=owns_name, state=state)
    return list(found.values())


@given(registries())
def test_the_explanation_is_the_verdict_of_the_registry(entries):
    """The winner is the same, the candidates alone decide it, and the rule holds for them."""
    registry = registry_of(*entries)
    for name in [*"xyzv", *(f"{provider}/{short}" for provider in "abc" for short in "xyzv")]:
        try:
            expected = registry.entry(name)
        except NotFoundError:
            with pytest.raises(NotFoundError):
                registry.explain(name)
            continue
        except AmbiguousNameError as error:
            expected, tied = None, set(error.candidates)
        explained = registry.explain(name)
        found = explained.candidates
        targets = {each.target for each in found}
        assert explained.winner is expected
        if expected is None:
            assert explained.rule == "tie"
            assert tied <= {each.full_name for each in found}
            continue
        assert expected in found
        assert registry_of(*found).entry(name).target == expected.target
        holds = {
            "full name": name == expected.full_name,
            "alias": name in {f"{expected.provider}/{alias}" for alias in expected.aliases},
            "only": found == (expected,),
            "same class": len(found) > 1 and targets == {expected.target},
            "owned": expected.owns_name and len(targets) > 1,
            "enabled": expected.state != "disabled" and not any(each.owns_name for each in found) and len(targets) > 1,
        }
        assert holds[explained.rule]


def test_why_over_everything_that_is_installed():
    """Every name of every entry leads where the registry leads it."""
    for known in losses.entries():
        for name in (known.full_name, *known.spellings()):
            try:
                expected = losses.entry(name)
            except AmbiguousNameError:
                expected = None
            assert losses.explain(name).winner == expected


def test_a_rival_of_a_first_party_loss_is_shown_and_loses(run, site):
    """Winner, rule and both candidates with target and distribution; neither is imported."""
    site.package("acme_why", {"schema": 1, "losses": {"dice": {"target": "acme_why:Dice", "tags": []}}})
    site.distribution("acme-losses", manifests={"acme": "acme_why:lossreg.json"}, version="2.0")
    result = run("dice", site.registry())
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert lines[0] == "dice -> segmentation/dice  (not imported yet; its first use imports it)"
    assert lines[1] == "rule: first-party losses own their short names"
    assert lines[3] == "candidates"
    ours, *rest = [line.split() for line in lines[4:]]
    assert ours[:4] == ["segmentation/dice", "name", "discovered", "lossreg_segmentation.overlap:Dice"]
    assert ours[4] == "lossreg-segmentation"
    assert ["acme/dice", "name", "discovered", "acme_why:Dice", "acme-losses", "2.0"] in rest
    assert "acme_why" not in sys.modules


def test_columns_are_aligned(run):
    """Each column begins at the same place."""
    result = run("x", registry_of(entry("a/x", owns_name=True), entry("longer/y", aliases=["x"])))
    assert result.output.splitlines()[4:] == [
        "    a/x       name   discovered  a_pkg:X       a 1.0",
        "    longer/y  alias  discovered  longer_pkg:Y  longer 1.0",
    ]


def test_an_alias_shows_its_name(run):
    """There is one more line, for the short alias and for provider/alias."""
    registry = registry_of(entry("acme/focal", aliases=["focal_x"]))
    for name, rule in (("focal_x", "only"), ("acme/focal_x", "alias")):
        assert run(name, registry).output.splitlines()[:3] == [
            f"{name} -> acme/focal  (not imported yet; its first use imports it)",
            f"rule: {RULES[rule]}",
            "alias of focal",
        ]
    assert "alias of" not in run("focal", registry).output


def test_a_tie_shows_the_candidates_and_fails_with_what_to_write(run):
    """The registry's error makes the exit code 1."""
    result = run("tied", registry_of(entry("b/tied"), entry("c/tied")))
    assert result.exit_code == 1
    assert result.output.startswith(f"tied -> nowhere\nrule: {RULES['tie']}\n")
    assert [line.split()[0] for line in result.output.splitlines()[4:]] == ["b/tied", "c/tied"]
    assert isinstance(result.exception, AmbiguousNameError)
    assert str(result.exception) == "'tied' is claimed by several providers; write one of b/tied, c/tied"


def test_an_unknown_name_fails_with_near_names(run):
    """The exit code is 1, and nothing is printed."""
    result = run("dize", registry_of(entry("a/dice")))
    assert (result.exit_code, result.output) == (1, "")
    assert isinstance(result.exception, NotFoundError)
    assert str(result.exception) == "unknown name 'dize' in losses; did you mean 'dice'?"


def test_why_a_loss_is_disabled(run, site, monkeypatch):
    """Its state, and the variable that names it."""
    site.loss("acme_off", "Margin")
    site.distribution("acme", losses={"margin_x": "acme_off:Margin"})
    monkeypatch.setenv("LOSSREG_DISABLE", "margin_x")
    result = run("margin_x", site.registry())
    assert result.output.startswith("margin_x -> acme/margin_x  (disabled)\n")
    assert "\n        LOSSREG_DISABLE=margin_x names it\n" in result.output


def test_why_a_loss_cannot_be_used_without_its_library(run):
    """The state and the command that installs the library are shown; the name leads to the entry."""
    reason = 'acme is not installed; pip install "acme>=1"'
    result = run("gap", registry_of(entry("acme/gap", state="missing", reason=reason)))
    assert result.exit_code == 0
    assert result.output.startswith("gap -> acme/gap  (its library is not installed)\n")
    assert result.output.splitlines()[-2:] == [
        "    acme/gap  name  missing  acme_pkg:Gap  acme 1.0",
        f"        {reason}",
    ]


def test_what_broke_a_loss_is_one_line_with_its_type(run, site):
    """After a failed import in this process; control characters are replaced."""
    site.module("acme_broken", "raise RuntimeError('no\\n \\x1b[31mluck')")
    site.distribution("acme", losses={"broken_x": "acme_broken:X"})
    registry = site.registry()
    with pytest.raises(Exception, match="luck"):
        registry.get("broken_x")
    result = run("broken_x", registry)
    assert result.exit_code == 0
    assert result.output.startswith("broken_x -> acme/broken_x  (its import failed; the next use tries again)\n")
    assert result.output.splitlines()[-1] == (
        "        ProviderError: acme/broken_x is installed but broken: importing acme_broken:X of acme 1.0 raised"
        " RuntimeError: no ?[31mluck"
    )


def test_a_loaded_loss_is_imported(run, site):
    """The state of a loss that was used."""
    site.plain("acme_used", "Used")
    site.distribution("acme", losses={"used_x": "acme_used:Used"})
    registry = site.registry()
    registry.get("used_x")
    assert run("used_x", registry).output.startswith("used_x -> acme/used_x  (imported)\n")


def test_a_loss_registered_in_code_says_so(run):
    """It has no distribution."""
    registry = registry_of()
    registry.register_lazy("mine", "my_pkg:Mine")
    assert run("mine", registry).output.splitlines()[-1].endswith("my_pkg:Mine  registered in code")


def test_declarations_that_were_refused_are_shown_with_the_name(run, site):
    """The first-party loss wins, and the failure of the second of two providers of one name is printed."""
    for name in ("acme", "beta"):
        site.package(f"{name}_pkg", {"schema": 1, "losses": {"dice": OTHER | {"target": f"{name}_pkg:Dice"}}})
        site.distribution(name, manifests={"shared": f"{name}_pkg:lossreg.json"})
    output = run("dice", site.registry()).output
    assert output.startswith("dice -> segmentation/dice ")
    assert output.partition("\nnot read\n")[2] == (
        "    shared/dice: ConflictError: shared/dice is declared by acme (acme_pkg:Dice) and by beta (beta_pkg:Dice);"
        " the first is kept. Rename one of the providers\n"
    )


@pytest.mark.parametrize(
    "source, message, mentioned",
    [
        ("acme/dice", "taken", True),
        ("acme: entry point 'dice'", "bad", True),
        ("acme:lossreg.json", "losses.dice.tags: not a list", True),
        ("acme:lossreg.json", "losses.squared_dice: bad", False),
        ("acme:lossreg.json", "losses.dice_focal: bad", False),
        ("acme:lossreg.json", "losses.dice-focal: bad", False),
        ("acme:lossreg.json", "cannot be read", False),
    ],
)
def test_only_failures_that_mention_the_name_are_shown(source, message, mentioned):
    """As a whole word, in their source or their message."""
    failure = Failure(source, "acme", ValueError(message))
    for name in ("dice", "ours/dice"):
        assert _mentions(failure, name) is mentioned


@pytest.mark.tools
def test_why_imports_no_torch():
    """The command needs no second for the import of torch."""
    code = (
        "import sys, typer\nfrom typer.testing import CliRunner\nfrom lossreg.cli import why as explanation\n"
        "app = typer.Typer()\nexplanation.add_to(app)\n"
        "result = CliRunner().invoke(app, ['dice'])\n"
        "assert result.exit_code == 0 and 'segmentation/dice' in result.output\n"
        "assert not {'torch', 'pydantic', 'lossreg_segmentation'} & set(sys.modules)\n"
    )
    environment = {key: value for key, value in os.environ.items() if not key.startswith("LOSSREG_")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
