"""Search by the words of a problem: the losses, their order, and the hints where nothing fits."""

import re

import pytest

from lossreg import losses
from lossreg.discovery.first_party import FIRST_PARTY
from lossreg.registry.entry import declare
from lossreg.search.hints import of_tags, of_words
from lossreg.search.problem import Problem
from lossreg.search.problems import PROBLEMS
from lossreg.search.search import search
from lossreg.search.words import asked, means, words

ENTRIES = {name: losses.entry(name) for name in losses.list() if losses.entry(name).provider in FIRST_PARTY}
OURS = {entry.name for entry in ENTRIES.values() if entry.owns_name}


def entry(name, summary="", tags=(), **metadata):
    """Return an entry of another package."""
    return declare(name, "acme:Loss", tags, (), {"summary": summary} | metadata, provider="acme")


@pytest.mark.parametrize(
    "text, first",
    [
        ("crack", ["cldice", "targeted"]),
        ("vessels", ["cldice", "targeted"]),
        ("Most masks are empty", ["bce_dice_focal", "dice"]),
        ("imbalance", ["bce_dice_focal", "generalized_dice"]),
        ("rare classes", ["generalized_dice", "unified_focal"]),
        ("boundary", ["boundary", "boundary_dou"]),
        ("blurry edges", ["boundary", "hausdorff_dt"]),
        ("lesions", ["per_region"]),
        ("false negatives", ["tversky", "focal_tversky"]),
        ("out of memory", ["point_sampled"]),
        ("ignore 255", ["cross_entropy", "bce_dice_focal"]),
        ("segment anything", ["sam", "sam2"]),
        ("hausdorff_dt", ["hausdorff_dt"]),
        ("sam2_loss", ["sam2"]),
        ("mutual information", ["global_mutual_information"]),
    ],
)
def test_words_of_users_lead_to_the_loss(text, first):
    """The recommended ones come first, in any case and number."""
    assert search(text, ENTRIES).names[: len(first)] == first


@pytest.mark.parametrize(
    "text, key",
    [
        ("roads", "thin_structures"),
        ("tiles without any object", "empty_masks"),
        ("annotators disagree", "several_answers"),
        ("noisy labels", "noisy_labels"),
        ("unlabelled pixels", "ignore"),
        ("oom", "memory"),
    ],
)
def test_a_problem_is_found_by_its_words(text, key):
    """Its advice is what `lossreg find` prints first."""
    assert search(text, ENTRIES).problems[0].key == key


def test_losses_of_other_packages_belong_to_a_problem_by_tag_or_parameter():
    """So that they are found by its words, after those that its advice names."""
    problem = Problem("thin", "Thin things break", "", "crack", ("cldice",), tags="topology", parameters=("skeleton",))
    by_parameter = entry("bones", parameters={"type": "object", "properties": {"skeleton": {}}})
    known = {"lines": entry("lines", tags=["topology"]), "bones": by_parameter, "area": entry("area", tags=["overlap"])}
    assert search("cracks", known | {"cldice": ENTRIES["cldice"]}, [problem]).names == ["cldice", "bones", "lines"]


def test_a_stranger_with_the_name_of_ours_is_not_recommended():
    """`acme/dice` is not the `dice` that the advice means."""
    problem = Problem("overlap", "Overlap", "", "overlap", ("dice",))
    assert search("overlap", {"acme/dice": entry("dice")}, [problem]).names == []


def test_a_name_counts_more_than_a_tag_and_a_tag_more_than_a_summary():
    """With equal worth the names are sorted."""
    known = {
        "a": entry("a", "Weighs edges."),
        "b": entry("b", tags=["edge"]),
        "edge": entry("edge"),
        "c": entry("c", tags=["edge"]),
    }
    assert search("edges", known, []).names == ["edge", "b", "c", "a"]


def test_losses_with_most_words_are_found():
    """Not those with one of two, unless no loss has both."""
    known = {"a": entry("a", "Soft edges."), "b": entry("b", "Edges."), "c": entry("c", "Lines.")}
    assert search("soft edges", known, []).names == ["a"]
    found = search("soft lines", known, [])
    assert (found.names, found.missed) == (["a", "c"], [])
    assert search("edges zebra", known, []).missed == ["zebra"]


def test_near_words_and_the_tags_are_named_where_nothing_fits():
    """A mistyped word leads to the right one."""
    found = search("vesels", ENTRIES)
    assert (found.names, found.problems) == ([], [])
    assert found.near["vesel"][0] == "vessel"
    spelled, tags = of_words(found, ["overlap", "boundary"])
    assert spelled.startswith("nothing has the word 'vesel'; did you mean 'vessel'")
    assert tags == "tags: boundary overlap"
    assert search("vessel", ENTRIES).names


def test_a_hint_tells_that_no_loss_has_all_words():
    """The losses that are shown have some of the words."""
    assert [*of_words(search("cracks xylophone", ENTRIES), [])][-1] == (
        "no loss has all of these words; these have the most"
    )
    assert [*of_words(search("cracks", ENTRIES), [])] == []


def test_a_tag_that_does_not_exist_is_named():
    """With the one that was meant, or the way to search for words."""
    assert [*of_tags("binray & (crack | overlap)", ["binary", "overlap"])] == [
        "no loss has the tag 'binray'; did you mean 'binary'?",
        "no loss has the tag 'crack'; lossreg find crack also searches names and problems",
        "tags: binary overlap",
    ]


@pytest.mark.parametrize(
    "text, expected",
    [
        ("Thin, TUBULAR structures", ["thin", "tubular", "structure"]),
        ("bce_dice-focal", ["bce", "dice", "focal"]),
        ("boundaries classes masses losses", ["boundary", "class", "mass", "loss"]),
        ("focus bus loss is dt", ["focus", "bus", "loss", "is", "dt"]),
    ],
)
def test_words_are_lower_case_and_singular(text, expected):
    assert words(text) == expected


def test_words_that_say_nothing_are_left_out_unless_there_are_no_others():
    assert asked("which loss is for the thin and thin ones") == ["thin"]
    assert asked("the") == ["the"]


@pytest.mark.parametrize(
    "typed, word, expected",
    [
        ("crack", "cracking", True),
        ("imbalanced", "imbalance", True),
        ("area", "are", False),
        ("dt", "dtype", False),
        ("dt", "dt", True),
        ("ring", "restoring", False),
    ],
)
def test_the_beginning_of_a_word_is_enough(typed, word, expected):
    """From three letters on; the typed word may be longer than a word of five."""
    assert means(typed, word) is expected


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.key)
def test_a_problem_names_losses_that_exist(problem):
    """In its list and, in backticks, in its advice; it has at least one loss, and each one it lists is in the advice or
    has the tag or parameter that the problem is about.
    """
    assert {*problem.losses} <= OURS
    assert any(problem.fits(entry) for entry in ENTRIES.values())
    named = [name for name in re.findall(r"`([\w/]+)`", problem.advice) if "/" in name]
    assert [name for name in named if name not in losses] == []


def test_every_loss_of_ours_is_for_some_problem():
    """A loss that no problem leads to cannot be found by words of users."""
    assert [name for name in OURS if not any(name in problem.losses for problem in PROBLEMS)] == []


def test_keys_and_titles_are_unique():
    """They are addresses and headings."""
    assert len({problem.key for problem in PROBLEMS}) == len({problem.title for problem in PROBLEMS}) == len(PROBLEMS)
    assert all(re.fullmatch(r"[a-z_]+", problem.key) for problem in PROBLEMS)
