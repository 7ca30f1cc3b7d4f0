"""`lossreg find` and `lossreg list TEXT`: what the terminal shows."""

import sys

import pytest

from lossreg import cli


@pytest.fixture
def run(monkeypatch, capsys):
    """Return a function that runs a command in this process; it returns exit code, output and errors."""

    def command(*arguments):
        monkeypatch.setenv("COLUMNS", "80")
        monkeypatch.setattr(sys, "argv", ["lossreg", *arguments])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        captured = capsys.readouterr()
        return stop.value.code, captured.out.splitlines(), captured.err.splitlines()

    return command


def test_find_says_what_to_do_and_shows_the_losses_that_fit(run):
    """The best first, in lines of the terminal's width."""
    code, out, err = run("find", "thin", "vessels")
    assert (code, err) == (0, [])
    assert out[0] == "Thin structures break apart"
    assert out[1].startswith("    `cldice` with `dice`")
    assert [line.split()[0] for line in out[out.index("") + 1 : -1]][:2] == ["cldice", "targeted"]
    assert out[-1].endswith(" losses; lossreg show NAME describes one")
    assert max(map(len, out)) <= 80


def test_find_shows_ten_and_says_how_to_list_all(run):
    """The command that it names lists as many as it counts."""
    _, out, _ = run("find", "imbalance")
    count = int(out[-2].split()[0])
    assert count > 10
    assert len(out) - 2 - max(i for i, line in enumerate(out) if not line) - 1 == 10
    assert out[-1] == "all of them: lossreg list imbalance"
    assert run("list", "imbalance")[1][-1] == f"{count} losses"


def test_find_without_a_hit_names_near_words_and_tags(run):
    """On the error stream, so that a pipe gets losses alone."""
    code, out, err = run("find", "vesels")
    assert (code, out) == (0, ["0 losses"])
    assert err[0].startswith("nothing has the word 'vesel'; did you mean 'vessel'")
    assert "topology" in err[1]


def test_list_takes_words_beside_tags(run):
    """In the order of the list."""
    names = [line.split()[0] for line in run("list", "vessels", "--tag", "!composite")[1][1:-1]]
    assert names == sorted(names, key=lambda name: name.rpartition("/")[2])
    assert "cldice" in names
    assert "targeted" not in names
    assert "targeted" in [line.split()[0] for line in run("list", "vessels")[1]]


def test_list_of_a_tag_without_losses_says_which_there_are(run):
    """And how to search for a word that is no tag."""
    code, out, err = run("list", "--tag", "crack")
    assert (code, out[-1]) == (0, "0 losses")
    assert err[0] == "no loss has the tag 'crack'; lossreg find crack also searches names and problems"
    assert err[1].startswith("tags: ")
    assert "topology" in err[1]


def test_parts_are_searched_by_their_own_words(run):
    """Not by the problems of losses."""
    _, out, _ = run("list", "--parts", "distance")
    assert len(out) > 2
    assert run("list", "--parts", "crack")[1][-1] == "0 parts"
