"""Captions that are probably wrong: which are flagged, and which are not."""

import json
import random
import re

import pytest

pytest.importorskip("duckdb", reason="duckdb is not installed, so there are no records")
hypothesis = pytest.importorskip("hypothesis", reason="hypothesis is not installed, which draws the records")
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from lossreg.errors import LossregError  # noqa: E402
from lossreg.records.caption_rules import RULES, CaptionRules  # noqa: E402
from lossreg.records.captions import flag_bad_captions  # noqa: E402
from lossreg.records.ranking import rank_examples  # noqa: E402

from ..budget import examples  # noqa: E402


def flagged(*captions, rules=None):
    """The rules that each caption breaks, each of an example of its own."""
    rows = [{"loss": 1.0, "sample_id": str(number), "caption": text} for number, text in enumerate(captions)]
    found = flag_bad_captions(rows, rules, top_k=len(captions))["rules"]
    return [
        {rule for rule in found for one in found[rule]["examples"] if one["sample_id"] == str(number)}
        for number in range(len(captions))
    ]


@pytest.mark.parametrize(
    "caption, broken",
    [
        ("a photo of a cat", set()),
        ("", {"empty"}),
        (" \t\n\u3000", {"empty"}),
        ("two words", {"short"}),
        ("!!! ...", {"short"}),
        ("a_b_c", set()),
        (" ".join(map(str, range(75))), set()),
        (" ".join(map(str, range(76))), {"long"}),
        ("x" * 200 + " y z", set()),
        ("very very very good", {"repeated_tokens"}),
        ("Very, VERY very good", {"repeated_tokens"}),
        ("a b a b a b a", set()),
        ("very very varying good", set()),
        ("a banana is yellow", set()),
        ("a NaN is shown", {"suspicious_tokens"}),
        ("a photo of [TODO]", {"suspicious_tokens"}),
        ("nanny and nullity", set()),
        ("一只猫坐在垫子上", set()),
        ("猫", {"short"}),
        ("哈哈哈", {"repeated_tokens"}),
        ("très très très bien", {"repeated_tokens"}),
        ("it's 'quoted'; --", set()),
    ],
)
def test_one_caption(caption, broken):
    """Tokens are runs of letters, marks and digits; each character of a script without spaces is one."""
    assert flagged(caption) == [broken]


def test_duplicates_are_of_several_examples():
    """Spaces and case make no difference; two captions or epochs of one example are none."""
    assert flagged("A cat  sits", "a CAT sits ", "a cat stands") == [{"duplicates"}, {"duplicates"}, set()]
    rows = [
        {"loss": 1.0, "sample_id": "x", "caption": c, "epoch": e} for e, c in enumerate(["a cat sits", "A cat sits"])
    ]
    found = flag_bad_captions(rows * 2)
    assert (found["checked"], found["rules"]["duplicates"]["count"]) == (2, 0)


def test_a_missing_caption_counts_where_others_have_one():
    """A dataset without any caption is not judged; rows without a name are examples of their own."""
    rows = [{"loss": 1.0, "dataset": "a", "caption": "a cat sits"}, {"loss": 1.0, "dataset": "a"}, {"loss": 1.0}]
    found = flag_bad_captions(rows)
    assert (found["checked"], found["rules"]["empty"]["count"]) == (2, 1)
    assert flag_bad_captions([])["checked"] == 0


def test_the_first_examples_lose_most():
    """By their scores; the loss is the mean of the finite ones; without any last; equal ones by name."""
    rows = [{"loss": 2.0, "sample_id": name, "caption": "x"} for name in ("c", "a")]
    rows += [{"loss": loss, "sample_id": "m", "caption": "x"} for loss in (1.0, 4.0, float("nan"))]
    rows += [{"loss": float("inf"), "sample_id": "none", "caption": "x"}, {"loss": 0.0, "path": "p", "caption": "x"}]
    short = flag_bad_captions(rows)["rules"]["short"]
    assert [(one["sample_id"] or one["path"], one["loss"]) for one in short["examples"]] == [
        ("m", 2.5), ("a", 2.0), ("c", 2.0), ("p", 0.0), ("none", None),
    ]  # fmt: skip
    first = {"dataset": "", "sample_id": "m", "path": None, "caption": "x", "loss": 2.5}
    assert short["examples"][0] == first | {"score": rank_examples(rows).examples[0].score}
    assert short["examples"][-1]["score"] is None
    json.dumps(short, allow_nan=False)
    less = flag_bad_captions(rows, top_k=1)["rules"]["short"]
    assert (less["count"], less["examples"]) == (5, short["examples"][:1])
    assert flag_bad_captions(rows, top_k=0)["rules"]["short"] == {"count": 5, "examples": []}


def test_captions_are_compared_with_others_of_their_time():
    """The loss falls: an early caption has the highest loss, a late one loses more than its contemporaries."""
    rows = [
        {
            "loss": 100.0 - number // 128 + number % 7 / 100,
            "sample_id": str(number),
            "step": number,
            "caption": "a dog runs",
        }
        for number in range(1280)
    ]
    rows[0]["caption"], rows[1200] = "", rows[1200] | {"caption": "", "loss": 94.03}
    found = flag_bad_captions(rows)["rules"]["empty"]["examples"]
    assert [(one["sample_id"], one["loss"]) for one in found] == [("1200", 94.03), ("0", 100.0)]


def test_the_order_of_rows_does_not_change_the_order_of_examples():
    """Seven losses in two orders have means that differ in the last digit; the name decides all the same."""
    losses = [1.3, 1.5, 2.5, 2.0, 0.4, 0.8, 2.3]
    for seed in range(3):
        random.Random(seed).shuffle(losses)
        rows = [{"loss": loss, "sample_id": "a", "caption": "x"} for loss in sorted(losses)]
        rows += [{"loss": loss, "sample_id": "b", "caption": "y"} for loss in losses]
        found = flag_bad_captions(rows)["rules"]["short"]["examples"]
        assert [example["sample_id"] for example in found] == ["a", "b"]


def test_rules_are_chosen_and_set():
    """By a mapping or by CaptionRules."""
    captions = ("one two three four", "a a b c", "a bird sits")
    rules = {
        "short": 4,
        "long": 3,
        "repeated": 2,
        "suspicious": ["bird"],
        "rules": ["short", "long", "repeated_tokens"],
    }
    assert flagged(*captions, rules=rules) == [{"long"}, {"long", "repeated_tokens"}, {"short"}]
    only = CaptionRules(suspicious=("bird",), rules=("suspicious_tokens",))
    assert flagged(*captions, rules=only) == [set(), set(), {"suspicious_tokens"}]
    assert flag_bad_captions([{"loss": 1.0, "caption": "x"}], {"rules": []}) == {"checked": 1, "rules": {}}


@pytest.mark.parametrize(
    "given, message",
    [
        (3, "heuristics must be CaptionRules, a mapping of their fields, or None, got 3"),
        ({"shrt": 3}, "heuristics: unknown field 'shrt'; did you mean 'short'?"),
        ({"short": -1}, "short must be an integer >= 0, got -1"),
        ({"long": 1.5}, "long must be an integer >= 0, got 1.5"),
        ({"repeated": 1}, "repeated must be an integer >= 2, got 1"),
        ({"rules": "short"}, "rules must be a list of texts, got 'short'"),
        ({"rules": ["shrt"]}, f"rules: unknown rule 'shrt'; the rules are {', '.join(RULES)}"),
        ({"suspicious": [1]}, "suspicious must be a list of texts, got 1 in it"),
        ({"suspicious": ["x'y"]}, 'suspicious: "x\'y" is not a token; expected letters and digits in lower case'),
        ({"suspicious": ["NaN"]}, "suspicious: 'NaN' is not a token; expected letters and digits in lower case"),
    ],
)
def test_rules_that_cannot_be(given, message):
    """The message names the allowed values."""
    with pytest.raises(LossregError, match=f"^{re.escape(message)}$"):
        flag_bad_captions([], given)


def plain_rules(caption):
    """The default rules of ASCII text, in plain Python."""
    tidy = " ".join(caption.lower().split())
    if not tidy:
        return {"empty"}
    tokens = re.findall("[a-z0-9]+", tidy)
    row = any(a == b == c for a, b, c in zip(tokens, tokens[1:], tokens[2:], strict=False))
    tests = {"short": len(tokens) < 3, "long": len(tokens) > 75, "repeated_tokens": row}
    return {rule for rule, broken in tests.items() if broken} | (
        {"suspicious_tokens"} if {"nan", "none"} & set(tokens) else set()
    )


words = st.sampled_from(["a", "A", "b", "nan", "banana", "none", "ab", "9", "_", "-", "  ", "\n", "'", '"', "\\"])


@settings(max_examples=examples(8, 40), deadline=None)
@given(st.lists(st.lists(words, max_size=8).map(" ".join) | st.lists(words, max_size=8).map("".join), max_size=12))
def test_plain_python_gives_the_same(captions):
    """Of every rule but duplicates; and those by counting."""
    tidy = [" ".join(caption.lower().split()) for caption in captions]
    wanted = [
        plain_rules(caption) | ({"duplicates"} if key and tidy.count(key) > 1 else set())
        for caption, key in zip(captions, tidy, strict=True)
    ]
    assert flagged(*captions) == wanted
