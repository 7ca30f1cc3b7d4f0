"""The reference pages are in step with the code: each name of one stands in the other."""

from __future__ import annotations

import importlib.util
import inspect
import re
from pathlib import Path

import pytest

from lossreg import errors, health
from lossreg.authoring import contract
from lossreg.config import files, plain_data, resolution
from lossreg.config.model import LossConfig
from lossreg.discovery import manifest
from lossreg.hooks import specs
from lossreg.records.record_schema import COLUMNS
from lossreg.registry.metadata import LAZY, NAMED

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
TYPES = {
    "text": {"VARCHAR"},
    "integer": {"INTEGER", "BIGINT"},
    "number": {"DOUBLE"},
    "number > 0": {"DOUBLE"},
    "true or false": {"BOOLEAN"},
}

pytestmark = pytest.mark.skipif(
    not DOCS.is_dir(), reason="the documentation lies in the checkout, and only the tests are here"
)


def text(page):
    return (DOCS / page).read_text(encoding="utf-8")


def rows(page, heading=""):
    """Return the cells of the tables of a page, or of one section, without their heads."""
    part = text(page).partition(f"\n## {heading}\n")[2].partition("\n## ")[0] if heading else text(page)
    found = []
    for table in re.findall(r"(?:^\|.*\|\n)+", part, re.MULTILINE):
        lines = [re.split(r"(?<!\\)\|", line)[1:-1] for line in table.splitlines()]
        found += [[cell.strip() for cell in line] for line in lines[2:]]
    return found


def names(cell):
    """Return the code in a cell."""
    return re.findall("`([^`]+)`", cell)


def variables(folders):
    """Return the variables of the environment that the sources read."""
    sources = [path for folder in folders for path in folder.rglob("*.py") if "tests" not in path.parts]
    return {name for path in sources for name in re.findall(r"LOSSREG_[A-Z_]+\b", path.read_text(encoding="utf-8"))}


def test_every_variable_of_the_sources_is_on_the_page_and_no_other():
    packages = [ROOT / "lossreg", *(ROOT / "plugins").glob("lossreg-*/lossreg_*")]
    found = variables(packages)
    assert {"LOSSREG_ONLY", "LOSSREG_DISABLE", "LOSSREG_STRICT", "LOSSREG_DEBUG"} <= found
    listed = [name for row in rows("reference/environment.md") for name in names(row[0]) if "LOSSREG" in name]
    assert sorted(listed) == sorted(found)


def error_classes():
    return [each for each in vars(errors).values() if inspect.isclass(each) and issubclass(each, errors.LossregError)]


def test_every_error_is_on_the_page_with_its_bases():
    """The page names the bases, but for LossregError, which all have."""
    written = {names(row[0])[0]: names(row[1]) for row in rows("reference/errors.md")}
    bases = {
        each.__name__: [base.__name__ for base in each.__bases__ if base is not errors.LossregError]
        for each in error_classes()
        if each is not errors.LossregError
    }
    assert written == bases
    assert len(bases) == 17


def test_every_error_is_on_the_page_with_its_attributes():
    written = {names(row[0])[0]: names(row[3]) for row in rows("reference/errors.md")}
    own = {each.__name__: list(inspect.get_annotations(each)) for each in error_classes()}
    assert written == {name: own[name] for name in written}


def test_every_rule_is_on_the_page_and_no_other():
    kinds = [each for each in vars(health).values() if inspect.isclass(each) and issubclass(each, health.Rule)]
    written = [names(row[0])[0] for row in rows("reference/rules.md")]
    assert sorted(written) == sorted(each.__name__ for each in kinds if each is not health.Rule)


def test_the_rules_that_are_no_default_are_marked():
    marked = {names(row[0])[0] for row in rows("reference/rules.md") if "not a default" in row[1]}
    default = {type(rule).__name__ for rule in health.default_rules()}
    assert marked == {names(row[0])[0] for row in rows("reference/rules.md")} - default
    assert marked == {"Plateau"}


def test_every_column_is_on_the_page_in_the_order_of_the_files():
    """After them come those of components and those of the user."""
    written = [(names(row[0]), row[1]) for row in rows("reference/columns.md")]
    assert [found[0] for found, _ in written[: len(COLUMNS)]] == list(COLUMNS)
    assert all(COLUMNS[found[0]] in TYPES[kind] for found, kind in written[: len(COLUMNS)])
    assert [found for found, _ in written[len(COLUMNS) :]] == [["loss_<component>"], []]


def test_every_key_of_a_manifest_is_on_the_page():
    """Of the description of a loss: those of metadata, those of a declaration, and the target."""
    written = {name for row in rows("reference/manifest.md", "A loss") for name in names(row[0])}
    assert written == {"target", *NAMED, *LAZY}
    top = {name for row in rows("reference/manifest.md", "The file") for name in names(row[0])}
    assert top == {"schema", "library", "exclude", *manifest.SECTIONS}
    assert f'"schema": {manifest.SCHEMA_VERSION},' in text("reference/manifest.md")
    assert f"larger than {manifest.MAX_BYTES // 2**20} MiB" in text("reference/manifest.md")


def test_every_key_of_a_config_is_on_the_page():
    written = [names(row[0]) for row in rows("reference/config.md")]
    assert [found[0] for found in written if found] == list(LossConfig.model_fields)


def test_the_bounds_of_a_config_are_those_of_the_code():
    bounds = dict(rows("reference/config.md", "Bounds"))
    assert bounds == {
        "a file": f"{files.MAX_BYTES // 2**20} MiB, {plain_data.MAX_NODES:,} values (merge keys expanded)",
        "a config": (
            f"{plain_data.MAX_DEPTH} levels, {resolution.MAX_NESTING} losses within losses,"
            f" {plain_data.MAX_NODES:,} values"
        ),
        "a text, a key": f"{plain_data.MAX_TEXT:,} and {plain_data.MAX_KEY} characters",
        "problems of an error": f"{plain_data.MAX_PROBLEMS}",
    }


def test_every_field_of_a_contract_is_on_the_page_with_its_default():
    shown = {True: "true", False: "false", None: "none", inspect.Parameter.empty: "required"}
    defaults = {name: shown[each.default] for name, each in inspect.signature(contract).parameters.items()}
    written = rows("howto/contract_and_docstring.md", "Fields of a contract")
    assert {names(row[0])[0]: row[1] for row in written} == defaults


def test_every_hook_is_in_the_how_to():
    written = [names(row[0])[0] for row in rows("howto/hooks.md", "Which hooks there are")]
    assert sorted(written) == sorted(name for name in vars(specs) if name.startswith("lossreg_"))


def test_the_figures_of_speed_are_those_that_were_measured():
    """Each row stands in the benchmark's own page, below the heading of its loss."""
    shown = [row for row in rows("explanation/benchmarks.md") if len(row) == 7]
    assert len(shown) == 7
    for loss, logits, *figures in shown:
        measured = {row[0]: row[2:] for row in rows("benchmarks/sizes.md", loss)}
        assert figures == measured[logits]


def test_the_diagrams_are_those_of_the_script():
    """Run `python docs/images/diagrams.py` after a change."""
    spec = importlib.util.spec_from_file_location("diagrams", DOCS / "images" / "diagrams.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, (title, steps) in module.FILES.items():
        drawn = module.diagram(title, steps)
        assert text(f"images/{name}") == drawn
        assert drawn.count("<rect") == len(steps)


@pytest.mark.parametrize("page", sorted((DOCS / "trainers").glob("*.md")), ids=lambda page: page.stem)
def test_a_page_of_a_trainer_says_what_to_install_before_its_first_block(page):
    """With the extra of records where it writes them."""
    whole = page.read_text(encoding="utf-8")
    above = whole.partition("\n```python")[0]
    if above != whole:
        assert re.search(r"^pip install .*\blossreg\b", above, re.MULTILINE)
        assert "records" in above or "records=" not in whole


def test_the_glossary_is_in_order():
    """A reader looks a word up by the alphabet."""
    words = re.findall(r"^## (.+)$", text("glossary.md"), re.MULTILINE)
    assert words == sorted(words, key=str.lower)
    assert len(words) >= 30


UNUSUAL = (
    "manifest",
    "provider",
    "oracle",
    "overlay",
    "entry point",
    "logits",
    "shard",
)  # a newcomer knows none of these
NOT_PROSE = re.compile(r"(?ms:^```.*?^```)|(?m:^#.*$|^\|.*$)|`[^`]*`|!?\[[^\]]*\]\([^)]*\)")


@pytest.mark.parametrize(
    "page",
    sorted(path for kind in ("howto", "explanation") for path in (DOCS / kind).glob("*.md")),
    ids=lambda page: page.stem,
)
def test_an_unusual_term_is_a_link_at_its_first_use(page):
    """In prose, where a reader meets it first."""
    whole = page.read_text(encoding="utf-8")
    prose = NOT_PROSE.sub(lambda found: " " * len(found[0]), whole)
    for term in UNUSUAL:
        first = re.search(rf"\b{term}s?\b", prose, re.IGNORECASE)
        before = whole[: first.start()] if first else ""
        assert not first or re.search(rf"\[[^\]]*\b{term}s?\b[^\]]*\]\(", before, re.IGNORECASE), term


@pytest.mark.parametrize("page", sorted((DOCS / "howto").glob("*.md")), ids=lambda page: page.stem)
def test_a_how_to_is_short_and_says_what_to_install_before_its_first_block(page):
    """From 30 to 150 lines; a reader copies from the top."""
    lines = page.read_text(encoding="utf-8").splitlines()
    assert 30 <= len(lines) <= 150
    first = next((number for number, line in enumerate(lines) if line.startswith("```python")), None)
    assert first is None or any(line.startswith("pip install ") for line in lines[:first])
