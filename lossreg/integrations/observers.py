"""The observers of a Tracked loss: its monitor and its records, from the short forms of their arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, compiler, nn

from lossreg import health
from lossreg.config.factory import config_of
from lossreg.errors import InputError, LossregError
from lossreg.health import HealthEvent, HealthWarning, LossMonitor, Rule
from lossreg.integrations.context import RECORDED, Context
from lossreg.loss import LossOutput
from lossreg.messages import did_you_mean, require, warn_once
from lossreg.registries import losses

if TYPE_CHECKING:
    from lossreg.records import RecordWriter

_ACTIONS = ("warn", "stop", "raise")
_SEEN = ("logits", "probabilities", "")  # inputs of a loss that are predictions of classes or masks


class Monitoring:
    """The monitor of a loss, and the events that it reported.

    Args:
        given: the argument `monitor` of a Tracked loss.
        loss: the module.
    """

    def __init__(self, given: Any, loss: nn.Module) -> None:
        kind = input_kind(loss)
        self.monitor = _monitor(given, kind, _ignored(loss))
        self._sees = kind in _SEEN
        self._events: list[HealthEvent] = []

    @compiler.disable
    def add(self, output: LossOutput, inputs: Sequence[Any], genuine: int, context: Context) -> None:
        """Show the genuine examples of a batch to the monitor. All ranks update equally often, so none is left out."""
        if self.monitor is None:
            return
        ids = context.sample_ids
        if output.per_example is not None and 0 < genuine < len(output.per_example):
            size, output = len(output.per_example), _first(output, genuine)
            inputs = [_cut(value, size, genuine) for value in inputs]
            ids = None if ids is None else ids[:genuine]
        facts: dict[str, Any] = {"step": context.step, "sample_ids": ids if genuine else None}
        if self._sees and len(inputs) > 1 and all(isinstance(value, Tensor) for value in inputs[:2]):
            try:
                self._events += self.monitor.update(output, prediction=inputs[0], target=inputs[1], **facts)
                return
            except InputError as error:
                self._sees = False
                warn_once(
                    ("monitored values", type(self.monitor)),
                    f"the monitor sees the values of the loss alone, and no predictions: {error}",
                    HealthWarning,
                )
        self._events += self.monitor.update(output, **facts)

    def taken(self) -> list[HealthEvent]:
        """Return the events since the last call of this method."""
        events, self._events = self._events, []
        return events

    def close(self) -> None:
        """Evaluate the last updates. Ranks that decide together must all call it."""
        if self.monitor is not None:
            self._events += self.monitor.close()


class Recording:
    """The records of a loss.

    Args:
        given: the argument `records` of a Tracked loss.
    """

    def __init__(self, given: RecordWriter | str | Path | Mapping[str, Any]) -> None:
        require("duckdb", "numpy", extra="records", use="records")
        from lossreg.records import RecordConfig, RecordWriter

        if not isinstance(given, RecordWriter | str | Path | Mapping):
            raise InputError(
                "records must be a RecordWriter, a directory, such as 'runs/7/records', or a mapping of a writer's"
                f" arguments, such as {{'directory': 'runs/7/records', 'run': '7'}}, got {given!r:.80}"
            )
        if isinstance(given, Mapping):
            options = _known("records", given, RecordWriter)
            if isinstance(options.get("config"), Mapping):
                options["config"] = RecordConfig(**_known("the config of records", options["config"], RecordConfig))
            if "directory" not in options:
                raise InputError(f"records has no 'directory', such as 'runs/7/records', got {given!r:.80}")
            given = RecordWriter(**options)
        self.writer = given if isinstance(given, RecordWriter) else RecordWriter(given)

    @compiler.disable
    def add(self, output: LossOutput, split: str, genuine: int, context: Context) -> None:
        """Record the genuine examples of a batch, which come first."""
        facts = {name: getattr(context, name) for name in RECORDED}
        own = context.columns
        if output.per_example is not None and genuine < len(output.per_example):
            output = _first(output, genuine)
            facts = {name: value if _is_single(value) else value[:genuine] for name, value in facts.items()}
            own = {name: value if _is_single(value) else value[:genuine] for name, value in (own or {}).items()}
        self.writer.add(output, split=split, step=context.step, epoch=context.epoch, columns=own, **facts)

    def export(self, path: Path) -> None:
        """Write the report of all records of this run so far as JSON; before the first row, of none."""
        from lossreg.records import Filters
        from lossreg.records.export import export_json
        from lossreg.records.shards import has_run

        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{path}: the directory of the report cannot be created: {error.strerror}") from error
        directory, run = self.writer.directory, self.writer.run
        if has_run(directory, run):
            export_json(directory, path, filters=Filters(runs=run))
        else:
            export_json([], path)


def _first(output: LossOutput, genuine: int) -> LossOutput:
    """Return an output with the values of its genuine examples."""
    values = output.per_example
    parts = {name: part[:genuine] for name, part in output.per_example_components.items()}
    return LossOutput(output.total, output.components, None if values is None else values[:genuine], parts)


def _cut(value: Any, size: int, genuine: int) -> Any:
    return value[:genuine] if isinstance(value, Tensor) and value.ndim and len(value) == size else value


def _is_single(value: Any) -> bool:
    return value is None or isinstance(value, str | Path | int | float) or getattr(value, "ndim", 1) == 0


def _monitor(given: Any, kind: str, ignore_index: int | None) -> LossMonitor | None:
    """Make the monitor of an argument; None for none."""
    if given is None or isinstance(given, LossMonitor):
        return given
    defaults: dict[str, Any] = {
        "activation": "none" if kind == "probabilities" else "auto",
        "ignore_index": ignore_index,
    }
    if isinstance(given, str) and given in _ACTIONS:
        return LossMonitor(action=given, **defaults)  # type: ignore[arg-type]
    if isinstance(given, Mapping):
        options = defaults | _known("monitor", given, LossMonitor)
        return LossMonitor(_rules(options.pop("rules", None)), **options)
    if isinstance(given, str | Sequence | Rule):
        return LossMonitor(_rules(given), **defaults)
    raise InputError(
        f"monitor must be a LossMonitor, {', '.join(map(repr, _ACTIONS))}, rules or their names, such as ['Collapse'],"
        f" or a mapping of a monitor's arguments, got {given!r:.80}"
    )


def _known(what: str, given: Mapping[str, Any], of: Callable[..., Any]) -> dict[str, Any]:
    """Return a mapping of the arguments of a class, which has all of them."""
    known = signature(of).parameters
    if unknown := [name for name in given if name not in known]:
        advice = did_you_mean(str(unknown[0]), known, otherwise=f"allowed are {', '.join(known)}")
        raise InputError(f"{what} has no argument {unknown[0]!r}; {advice}")
    return dict(given)


def _rules(given: Any) -> list[Rule] | None:
    """Return rules for rules and names of rules; None for None."""
    if given is None:
        return None
    known = {name: value for name in health.__all__ if isinstance(value := getattr(health, name), type)}
    rules = {name: value for name, value in known.items() if issubclass(value, Rule) and value is not Rule}
    found = []
    for rule in [given] if isinstance(given, str | Rule) else given:
        if isinstance(rule, str) and rule not in rules:
            allowed = f"allowed are {', '.join((*_ACTIONS, *rules))}"
            raise InputError(f"monitor has no rule {rule!r}; {did_you_mean(rule, rules, otherwise=allowed)}")
        found.append(rules[rule]() if isinstance(rule, str) else rule)
    return found


def input_kind(loss: nn.Module) -> str:
    """Return the first word of a loss's contract on its input, such as "logits"; empty if it is not known."""
    for config in _configs(loss):
        name = f"{config.get('provider')}/{config['name']}"
        contract = losses.entry(name).metadata.get("contract") if name in losses else None
        words = str(contract.get("input", "")).split() if isinstance(contract, Mapping) else []
        if words and words[0] not in ("as", "one"):  # a loss made of losses takes what they take
            return words[0].rstrip(",")
    return ""


def _ignored(loss: nn.Module) -> int | None:
    """Return the first ignore_index in the config of a loss."""
    values = (config.get("params", {}).get("ignore_index") for config in _configs(loss))
    return next((value for value in values if isinstance(value, int)), None)


def _configs(loss: nn.Module) -> Iterator[Mapping[str, Any]]:
    """Yield the config that built a loss and all nested ones; nothing for a loss from its constructor."""
    try:
        yield from _nested(config_of(loss))
    except LossregError:
        return


def _nested(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        if "name" in value and "provider" in value:
            yield value
        for part in value.values():
            yield from _nested(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _nested(part)
