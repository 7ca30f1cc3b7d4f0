"""pytest plugin: with `lossreg_losses = acme` in its configuration, pytest runs the conformance kit over those losses.

Each check of each case is an item of its own, so that `-k "acme/focal and gradcheck"` and parallel runs work. Torch and
the losses are imported only where that line is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from torch import nn

    from lossreg.testing.case import Case

PROPERTY = "lossreg"


class Hooks:
    """What a conftest.py may define."""

    @pytest.hookspec(firstresult=True)
    def pytest_lossreg_cases(self, name: str) -> list[Case] | None:
        """The cases of the loss `provider/name`, with their oracles; None for those that its contract names."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """The line that turns it on, the waivers, and an option."""
    parser.addini("lossreg_losses", "providers, or provider/name of losses, to run the conformance kit on", "args", [])
    parser.addini("lossreg_waivers", "lines `provider/name check: reason`", "linelist", [])
    parser.getgroup("lossreg").addoption(
        "--lossreg", action="store_true", help="run the conformance kit also when files or folders are named"
    )


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """What a conftest.py may define is known."""
    pluginmanager.add_hookspecs(Hooks)


@pytest.hookimpl(tryfirst=True)  # before -k and -m choose among the items
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Add the checks to what is run, unless files were named."""
    wanted = config.getini("lossreg_losses")
    named = config.args_source == pytest.Config.ArgsSource.ARGS
    if wanted and (config.getoption("lossreg") or not named):
        items += _items(session, wanted, _waivers(config.getini("lossreg_waivers")))


def _items(session: pytest.Session, wanted: list[str], waivers: dict[tuple[str, str], str]) -> Iterator[pytest.Item]:
    from lossreg.errors import LossregError
    from lossreg.testing.conformance import CHECKS, default_cases

    names = _names(wanted)
    if unknown := {name for name, _ in waivers} - set(names):
        raise pytest.UsageError(f"lossreg_waivers: {', '.join(sorted(unknown))} is not checked; see lossreg_losses")
    for name in names:
        try:
            cases = session.config.hook.pytest_lossreg_cases(name=name) or default_cases(name)
        except LossregError as error:
            raise pytest.UsageError(f"{error}\nDefine pytest_lossreg_cases(name) in conftest.py") from error
        for case in cases:
            for check in CHECKS:
                waived = waivers.get((name, check), "")
                yield ConformanceItem.from_parent(
                    session, name=f"{name}::{check}[{case.label}]", loss=name, case=case, check=check, waived=waived
                )


def _names(wanted: list[str]) -> list[str]:
    """Full names of what was asked for."""
    from lossreg.discovery import losses

    entries = sorted(losses.entries(), key=lambda entry: entry.full_name)
    found = {item: [e.full_name for e in entries if item in (e.provider, e.full_name)] for item in wanted}
    if missing := [item for item, names in found.items() if not names]:
        providers = ", ".join(sorted({entry.provider for entry in entries}))
        raise pytest.UsageError(
            f"lossreg_losses: no provider or loss is called {', '.join(missing)}; installed providers are {providers}"
        )
    return list(dict.fromkeys(name for names in found.values() for name in names))


def _waivers(lines: list[str]) -> dict[tuple[str, str], str]:
    from lossreg.errors import InputError
    from lossreg.testing.conformance import check_waivers

    waivers = {}
    for line in lines:
        what, _, reason = line.partition(":")
        name, _, check = what.strip().partition(" ")
        try:
            check_waivers({check.strip(): reason})
        except InputError as error:
            raise pytest.UsageError(
                f"lossreg_waivers, {line!r}: {error}; write `provider/name check: reason`"
            ) from error
        waivers[name, check.strip()] = reason.strip()
    return waivers


class ConformanceItem(pytest.Item):
    """One check of one case of one loss."""

    def __init__(self, *, loss: str | nn.Module, case: Case, check: str, waived: str, **options: Any) -> None:
        super().__init__(**options)
        self.loss, self.case, self.check, self.waived = loss, case, check, waived
        self.add_marker("lossreg")

    def runtest(self) -> None:
        from lossreg.testing.conformance import ConformanceError, run

        result = run(self.loss, self.case, self.check, self.waived)
        self.user_properties.append((PROPERTY, [self.name, result.outcome, result.reason]))
        if result.outcome == "failed":
            raise ConformanceError(result.reason)
        if result.outcome == "waived":
            pytest.skip(f"waived: {result.reason}")

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        return (
            f"{self.name}\n{excinfo.value}"
            if isinstance(excinfo.value, AssertionError)
            else super().repr_failure(excinfo)
        )

    def reportinfo(self) -> tuple[str, None, str]:
        return str(self.loss), None, self.name


def pytest_configure(config: pytest.Config) -> None:
    """The checks can be chosen by a marker."""
    config.addinivalue_line("markers", "lossreg: a check of the conformance kit")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Every waiver with its reason, and how many checks did not apply and why."""
    said = [
        value
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", None) == "call"
        for key, value in report.user_properties
        if key == PROPERTY
    ]
    if not said:
        return
    counts = Counter(outcome for _, outcome, _ in said)
    terminalreporter.section("lossreg conformance")
    terminalreporter.line(", ".join(f"{number} {outcome}" for outcome, number in sorted(counts.items())))
    for name, outcome, reason in said:
        if outcome == "waived":
            terminalreporter.line(f"waived: {name}: {reason}")
    for reason, number in Counter(reason for _, outcome, reason in said if outcome == "not applicable").most_common():
        terminalreporter.line(f"not applicable to {number}: {reason}")
