"""The page of the zoo: the goals, the false alarms, the misses, and a line for each training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from zoo.run import Report, Result
from zoo.training import Training

WARNINGS, FOUND, IN_TIME = 0.01, 0.9, 0.05  # shares: of sound runs, of broken runs, and of the training
LEVELS = ("error", "warning", "info")


class Runs(NamedTuple):
    """A training and its results, one for each seed."""

    training: Training
    results: Sequence[Result]

    def share(self, result: Result) -> float | None:
        """Return the time of the first expected report, as a share of the training; None without one."""
        updates = [found.update for found in result.reports if found.rule in self.training.expected]
        return max(0, min(updates) - self.training.begins) / self.training.steps if updates else None

    def in_time(self) -> int:
        """Return the number of runs that were reported in time."""
        shares = map(self.share, self.results)
        return sum(share is not None and share <= IN_TIME for share in shares)

    def with_level(self, level: str) -> int:
        """Return the number of runs with a report of this severity."""
        return sum(any(found.severity == level for found in result.reports) for result in self.results)

    def worst(self) -> float | None:
        """Return the lowest quality."""
        found = [result.quality for result in self.results if result.quality is not None]
        return min(found) if found else None

    def has_learnt(self) -> bool:
        """Return True if a sound training ended as it should."""
        worst = self.worst()
        return all(r.last_loss < r.first_loss for r in self.results) if worst is None else worst >= self.training.learns


class Zoo(NamedTuple):
    """All runs, by kind."""

    sound: list[Runs]
    tellable: list[Runs]
    undetectable: list[Runs]


def sort(trainings: Sequence[Training], results: Sequence[Result]) -> Zoo:
    """Return the runs by kind, in the order of the trainings."""
    runs = [Runs(each, [found for found in results if found.name == each.name]) for each in trainings]
    runs = [each for each in runs if each.results]
    return Zoo(
        [each for each in runs if each.training.is_sound],
        [each for each in runs if each.training.expected],
        [each for each in runs if each.training.undetectable],
    )


def goals(zoo: Zoo) -> list[tuple[str, bool]]:
    """Return each goal with what came of it, and True if it is met."""
    sound, tellable = _count(zoo.sound), _count(zoo.tellable)
    errors = sum(runs.with_level("error") for runs in zoo.sound)
    warned = sum(runs.with_level("warning") for runs in zoo.sound)
    found = sum(runs.in_time() for runs in zoo.tellable)
    ever = sum(runs.share(result) is not None for runs in zoo.tellable for result in runs.results)
    asleep = [runs.training.name for runs in zoo.sound if not runs.has_learnt()]
    return [
        (f"sound runs with an error: {errors} of {sound} (goal: 0)", errors == 0),
        (f"sound runs with a warning: {warned} of {sound} (goal: at most {WARNINGS:.0%})", warned <= WARNINGS * sound),
        (
            f"broken runs reported within {IN_TIME:.0%} of the training: {found} of {tellable}"
            f" (goal: at least {FOUND:.0%}); at any time: {ever}",
            found >= FOUND * tellable,
        ),
        (f"sound trainings that did not learn: {', '.join(asleep) or 'none'} (goal: none)", not asleep),
    ]


def page(zoo: Zoo) -> list[str]:
    """Return the page in Markdown."""
    lines = [f"- {text}: {'met' if met else '**not met**'}." for text, met in goals(zoo)]
    lines += ["", "## False alarms", ""]
    lines += [line for runs in zoo.sound for line in _alarms(runs)] or ["None."]
    lines += ["", "## Misses", ""]
    lines += [line for runs in zoo.tellable for line in _misses(runs)] or ["None."]
    lines += ["", "## Undetectable", ""]
    lines += ["| training | reason | reported nevertheless |", "|---|---|---|"]
    lines += [_row(_name(runs), runs.training.undetectable, _reports(runs)) for runs in zoo.undetectable]
    lines += ["", "## Sound trainings", ""]
    lines += ["The IoU of the last 50 updates, of digits by name the accuracy; the lowest of the seeds.", ""]
    lines += ["| training | IoU | reports |", "|---|--:|---|"]
    lines += [_row(_name(runs), _number(runs.worst()), _reports(runs)) for runs in zoo.sound]
    lines += ["", "## Broken trainings", ""]
    lines += [
        "Each ends with the first expected report. The time is that of the slowest seed, a share of the training.",
        "",
    ]
    lines += ["| training | expected | reports | time |", "|---|---|---|--:|"]
    for runs in zoo.tellable:
        shares = [runs.share(result) for result in runs.results]
        known = [share for share in shares if share is not None]
        time = f"{max(known):.1%}" if len(known) == len(shares) else f"never in {len(shares) - len(known)}"
        lines.append(_row(_name(runs), " or ".join(runs.training.expected), _reports(runs), time))
    return lines


def _count(runs: Sequence[Runs]) -> int:
    return sum(len(each.results) for each in runs)


def _alarms(runs: Runs) -> list[str]:
    """Return a line for each false alarm of a sound training."""
    first: dict[str, tuple[int, Report]] = {}
    for result in runs.results:
        for found in result.reports:
            if found.severity != "info":
                times, earliest = first.get(found.rule, (0, found))
                first[found.rule] = times + 1, earliest
    because = f" {runs.training.known}" if runs.training.known else ""
    return [
        f"- {runs.training.name}: {rule}, {found.severity}, in {times} of {len(runs.results)} runs, at update"
        f" {found.update}: {_plain(found.text)}{because}"
        for rule, (times, found) in first.items()
    ]


def _misses(runs: Runs) -> list[str]:
    """Return a line for a broken training that was not reported in time with every seed."""
    late = [result for result in runs.results if (share := runs.share(result)) is None or share > IN_TIME]
    if not late:
        return []
    when = [share for result in late if (share := runs.share(result)) is not None]
    text = f"reported after {max(when):.1%} of the training" if when else "never reported"
    because = f" {runs.training.known}" if runs.training.known else ""
    return [f"- {runs.training.name}: {text}, with {len(late)} of {len(runs.results)} seeds.{because}"]


def _name(runs: Runs) -> str:
    return f"{runs.training.name}: {runs.training.about}" if runs.training.about else runs.training.name


def _reports(runs: Runs) -> str:
    """Return the reports, the most severe first, with the number of runs if not all."""
    counts: dict[tuple[int, str, str], int] = {}
    for result in runs.results:
        for found in result.reports:
            key = LEVELS.index(found.severity), found.rule, found.severity
            counts[key] = counts.get(key, 0) + 1
    every = len(runs.results)
    return ", ".join(
        f"{rule} ({level}{f', {times} of {every}' if times < every else ''})"
        for (_, rule, level), times in sorted(counts.items())
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _plain(text: str) -> str:
    """Return the numbers of an event, without its hint."""
    return f"{' '.join(text.split()).split('. ')[0].removesuffix('.')}."


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |".replace("|  |", "| |")
