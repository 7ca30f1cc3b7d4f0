"""pytest plugin: with `lossreg_losses = acme-losses` in its configuration, pytest runs the conformance kit.

Each check of each case is an item of its own, so that `-k "acme-losses/focal and gradcheck"` and parallel runs work.
Without that line, neither torch nor a loss is imported.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from lossreg.testing.case import Case

PROPERTY = "lossreg"


class Hooks:
    """Hooks that a conftest.py may define."""

    @pytest.hookspec(firstresult=True)
    def pytest_lossreg_cases(self, name: str) -> list[Case] | None:
        """Return the cases of the loss `provider/name`, with their oracles; None for the cases of its contract."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the settings `lossreg_losses` and `lossreg_waivers`, and the option `--lossreg`."""
    parser.addini("lossreg_losses", "providers, or provider/name of losses, for the conformance kit", "args", [])
    parser.addini("lossreg_waivers", "lines `provider/name check: reason`", "linelist", [])
    parser.getgroup("lossreg").addoption(
        "--lossreg", action="store_true", help="run the conformance kit also when files or folders are named"
    )


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Add the hooks that a conftest.py may define."""
    pluginmanager.add_hookspecs(Hooks)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect the checks from the configuration file: `pytest "pyproject.toml::acme-losses/far::gradcheck-binary"`."""
    config = parent.config
    if file_path != config.inipath or not config.getini("lossreg_losses"):
        return None
    return ConformanceFile.from_parent(parent, path=file_path)


@pytest.hookimpl(tryfirst=True)  # before -k and -m select items
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Add the checks to the run, unless the command line names files."""
    named = config.args_source == pytest.Config.ArgsSource.ARGS and not config.getoption("lossreg")
    if config.inipath is None or not config.getini("lossreg_losses") or named:
        return
    if not any(isinstance(item, ConformanceItem | NoCases) for item in items):
        file = ConformanceFile.from_parent(session, path=config.inipath)
        items += [item for loss in file.collect() for item in loss.collect()]


class ConformanceFile(pytest.File):
    """Losses that the configuration names."""

    def collect(self) -> list[ConformanceLoss]:
        wanted, lines = self.config.getini("lossreg_losses"), self.config.getini("lossreg_waivers")
        names, waivers = _names(wanted), _waivers(lines)
        if unknown := {name for name, _ in waivers} - set(names):
            raise pytest.UsageError(f"lossreg_waivers: {', '.join(sorted(unknown))} is not in lossreg_losses")
        return [
            ConformanceLoss.from_parent(
                self, name=name, waivers={check: reason for (loss, check), reason in waivers.items() if loss == name}
            )
            for name in names
        ]


class ConformanceLoss(pytest.Collector):
    """Checks of one loss."""

    def __init__(self, *, waivers: dict[str, str], **options: Any) -> None:
        super().__init__(**options)
        self.waivers = waivers

    def collect(self) -> list[pytest.Item]:
        try:
            cases = self._cases()
        except Exception as error:  # noqa: BLE001 - an error in a loss or a conftest.py must not stop the other losses
            return [NoCases.from_parent(self, name="cases", error=error)]
        from lossreg.testing.conformance import CHECKS

        return [
            ConformanceItem.from_parent(
                self, name=f"{check}-{label}", case=case, check=check, waived=self.waivers.get(check, "")
            )
            for label, case in cases.items()
            for check in CHECKS
        ]

    def _cases(self) -> dict[str, Case]:
        """Return the cases by label. Duplicate labels are numbered; brackets, which pytest parses, are replaced."""
        from lossreg.testing.conformance import default_cases

        labels: dict[str, Case] = {}
        for case in self.config.hook.pytest_lossreg_cases(name=self.name) or default_cases(self.name):
            plain = case.label.replace("[", "(").replace("]", ")")
            label, number = plain, 1
            while label in labels:
                number += 1
                label = f"{plain}-{number}"
            labels[label] = case
        return labels


class NoCases(pytest.Item):
    """Item that fails with the reason why a loss has no cases."""

    def __init__(self, *, error: Exception, **options: Any) -> None:
        super().__init__(**options)
        self.error = error
        self.add_marker("lossreg")

    def runtest(self) -> None:
        raise self.error

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        from lossreg.errors import InputError

        hint = "\ndefine pytest_lossreg_cases(name) in conftest.py" if isinstance(self.error, InputError) else ""
        return f"{type(self.error).__name__}: {self.error}{hint}"

    def reportinfo(self) -> tuple[Path, None, str]:
        return self.path, None, f"{self.parent.name if self.parent else ''}::{self.name}"


def _names(wanted: list[str]) -> list[str]:
    """Return the full names of the losses that the setting selects."""
    from lossreg.registries import losses

    entries = sorted(losses.entries(), key=lambda entry: entry.full_name)
    found = {item: [e.full_name for e in entries if item in (e.provider, e.full_name)] for item in wanted}
    if missing := [item for item, names in found.items() if not names]:
        providers = ", ".join(sorted({entry.provider for entry in entries}))
        raise pytest.UsageError(
            f"lossreg_losses: unknown provider or loss {', '.join(missing)}; the installed providers are {providers}"
        )
    return list(dict.fromkeys(name for names in found.values() for name in names))


def _waivers(lines: list[str]) -> dict[tuple[str, str], str]:
    from lossreg.errors import InputError
    from lossreg.testing.conformance import check_waivers

    waivers = {}
    for line in lines:
        subject, _, reason = line.partition(":")
        name, _, check = subject.strip().partition(" ")
        try:
            check_waivers({check.strip(): reason})
        except InputError as error:
            raise pytest.UsageError(
                f"lossreg_waivers, {line!r}: {error}; write `provider/name check: reason`"
            ) from error
        waivers[name, check.strip()] = reason.strip()
    return waivers


class ConformanceItem(pytest.Item):
    """Item for one check of one case of one loss."""

    def __init__(self, *, case: Case, check: str, waived: str, **options: Any) -> None:
        super().__init__(**options)
        self.case, self.check, self.waived = case, check, waived
        self.add_marker("lossreg")

    @property
    def loss(self) -> str:
        """Return provider/name of the loss."""
        return self.parent.name if self.parent else ""

    def runtest(self) -> None:
        from lossreg.testing.conformance import ConformanceError, run

        result = run(self.loss, self.case, self.check, self.waived)
        self.user_properties.append((PROPERTY, [f"{self.loss}::{self.name}", result.outcome, result.reason]))
        if result.outcome == "failed":
            raise ConformanceError(result.reason)
        if result.outcome == "waived":
            pytest.skip(f"waived: {result.reason}")

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, AssertionError):
            return str(excinfo.value)
        return super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Path, None, str]:
        return self.path, None, f"{self.loss}::{self.name}"


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker `lossreg`."""
    config.addinivalue_line("markers", "lossreg: a check of the conformance kit")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print every waiver with its reason, and the number of checks that did not apply, by reason."""
    results = [
        value
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", None) == "call"
        for key, value in report.user_properties
        if key == PROPERTY
    ]
    if not results:
        return
    counts = Counter(outcome for _, outcome, _ in results)
    terminalreporter.section("lossreg conformance")
    terminalreporter.line(", ".join(f"{number} {outcome}" for outcome, number in sorted(counts.items())))
    for name, outcome, reason in results:
        if outcome == "waived":
            terminalreporter.line(f"waived: {name}: {reason}")
    for reason, number in Counter(
        reason for _, outcome, reason in results if outcome == "not applicable"
    ).most_common():
        terminalreporter.line(f"not applicable to {number}: {reason}")
