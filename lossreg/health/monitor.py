"""The monitor: collects each update's statistics on the device, and reads them once in a while."""

from __future__ import annotations

import math
import warnings
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_args

from lossreg.errors import HealthError, InputError
from lossreg.health.batch_inputs import whole
from lossreg.health.debounce import Persistence
from lossreg.health.device_statistics import Reader, Reading
from lossreg.health.event import Action, Finding, HealthEvent, HealthWarning
from lossreg.health.rank_consensus import GO_ON, RAISE, STOP, Agreement, rank
from lossreg.health.rules import Rule, default_rules
from lossreg.health.sinks import Delivery, Sink, log, to_hooks
from lossreg.health.statistics import Activation
from lossreg.health.window import Window

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.distributed import ProcessGroup

    from lossreg.loss.base import LossOutput


class LossMonitor:
    """Tells when a loss has died or a model has collapsed.

        monitor = LossMonitor()
        monitor.update(output, logits, masks, step=step, sample_ids=names)

    A plain object: nothing of it is in a checkpoint. An update computes a few numbers on the device and waits for
    nothing; every so many updates they are copied to the host at once, and the rules judge them.

    Across ranks of torch.distributed, rules that stop or raise decide together at each reading, so that every rank
    stops at the same update. All ranks must then have the same rules and update equally often; one that has fewer
    batches calls `close`, which answers the others until they are done. Rules that only warn need none of this.

    Args:
        rules: None for `default_rules()`.
        every: updates between two readings, >= 1. Micro-batches of an accumulated gradient are updates, too.
        sinks: callables of an event; None for the hook `lossreg_health_event` of installed packages. One that fails is
            left out with a warning.
        action: of rules that have none of their own. "warn": a HealthWarning, and for "info" a line of the log;
            "raise": HealthError, or "stop": `should_stop` becomes true, both for events of severity "error", where
            others warn; or a callable of the event. A rule's own action is taken at every severity.
        activation: what turns the prediction into probabilities. "auto": it holds logits, of classes (softmax) where
            the target has class indices, of independent masks (sigmoid) otherwise. "none": it holds probabilities.
            A warning, once, if the values of the first readings say otherwise.
        ignore_index: value of the target at pixels that do not count, or None.
        loss: the loss that is trained, for the rules that ask what its components teach: once per reading each
            component is differentiated with respect to a copy of the prediction. It takes (prediction, target).
        group: of the ranks that decide together; None for all.
    Raises:
        InputError: an argument that is none of these.
    """

    def __init__(
        self,
        rules: Sequence[Rule] | None = None,
        *,
        every: int = 50,
        sinks: Sequence[Sink] | None = None,
        action: Action = "warn",
        activation: Activation = "auto",
        ignore_index: int | None = None,
        loss: nn.Module | None = None,
        group: ProcessGroup | None = None,
    ) -> None:
        _check(rules, every, action, activation, loss)
        self.rules = tuple(default_rules() if rules is None else rules)
        self.every = every
        self.action = action
        self.should_stop = False
        self._reader = Reader(activation, ignore_index, loss)
        self._delivery = Delivery([to_hooks] if sinks is None else sinks)
        self._agreement = Agreement(group)
        self._persistence = [(rule, Persistence(rule)) for rule in self.rules]
        self._history: deque[float] = deque(maxlen=max((rule.history for rule in self.rules), default=0))
        self._pending: list[Reading] = []
        self._updates = 0
        self._last_step: int | None = None
        self._is_closed = False
        self._make_take()

    def _make_take(self) -> None:
        """In a compiled step, too, taking in is no part of a graph."""
        import torch

        self._take = torch.compiler.disable(self._take_in)

    def __getstate__(self) -> dict[str, Any]:
        """Without what is bound to this very object, so that copies, and processes that are spawned, have their own."""
        return {name: value for name, value in vars(self).items() if name != "_take"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._make_take()

    def update(
        self,
        output: LossOutput | Tensor,
        prediction: Tensor | None = None,
        target: Tensor | None = None,
        step: int | None = None,
        sample_ids: Sequence[str | int] | Tensor | None = None,
    ) -> list[HealthEvent]:
        """Take one batch in; at every so many updates, read and judge.

        Args:
            output: what `lossreg.evaluate` returned, or the loss as a 0-dim tensor or (B,), before any scaling.
            prediction: (B, C, *), logits unless `activation` says otherwise.
            target: (B, C, *) masks, hard or soft; (B, *) or (B, 1, *) for one mask, or for class indices.
            step: an integer; None counts the updates, from 1. One that goes back, as after a restart, begins a new
                course.
            sample_ids: of the B examples; on the host, since reading them would wait for the device.
        Returns:
            The events of this update, empty but at a reading.
        Raises:
            InputError: tensors that do not fit each other; see its message. Nothing of this update is taken in then.
            HealthError: a rule raises, here or on another rank.
        """
        events: list[HealthEvent] = self._take(output, prediction, target, step, sample_ids)
        return events

    def flush(self) -> list[HealthEvent]:
        """Read and judge what was taken in since the last reading. Ranks that decide together must all call it."""
        return self._settle(self._agreement.decide)

    def close(self) -> list[HealthEvent]:
        """Read what is left, for the last time. Where ranks decide together, answer the others until all are done."""
        if self._is_closed:
            return []
        self._is_closed = True
        return self._settle(self._agreement.leave)

    def __enter__(self) -> LossMonitor:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        elif not self._is_closed:  # what led to the error is told, and no rank waited for
            self._is_closed = True
            self._settle(lambda own: GO_ON)

    def _take_in(self, output: Any, prediction: Any, target: Any, step: int | None, ids: Any) -> list[HealthEvent]:
        if self._is_closed:
            raise InputError("the monitor is closed: update it before close(), or make another")
        step = self._updates + 1 if step is None else whole(step)
        is_last = len(self._pending) + 1 >= self.every
        reading = self._reader.read(output, prediction, target, step, ids, with_probe=is_last)
        self._updates += 1
        events: list[HealthEvent] = []
        if self._last_step is not None and step < self._last_step:
            events += self.flush()
            self._history.clear()
            for _, persistence in self._persistence:
                persistence.forget()
        self._last_step = step
        self._pending.append(reading)
        return events + self.flush() if len(self._pending) >= self.every else events

    def _settle(self, decide: Callable[[int], int]) -> list[HealthEvent]:
        """Judge, decide with the other ranks, then tell, so that no failure here leaves them waiting."""
        told = self._judged()
        raising = [event for event, action in told if action == "raise"]
        stops = any(action == "stop" for _, action in told)
        decided = RAISE if raising else STOP if stops else GO_ON
        own = decided
        if any(_decides(rule.action, self.action) for rule in self.rules):
            decided = decide(own)
        self.should_stop |= decided != GO_ON
        self._delivery.deliver(told)
        if own == GO_ON and decided == STOP:
            log.error("another rank found what its rules stop at; see its events")
        if decided == RAISE:
            text = str(raising[0]) if raising else "another rank found what its rules raise; see its error"
            raise HealthError(text, event=raising[0] if raising else None)
        return [event for event, _ in told]

    def _judged(self) -> list[tuple[HealthEvent, Action]]:
        """The events of what is pending, with their actions."""
        window = self._window()
        if window is None:
            return []
        told = []
        for rule, persistence in tuple(self._persistence):
            try:
                findings = rule.combine(persistence.passed(rule.check(window)))
            except Exception as error:  # noqa: BLE001 - as a broken sink, a broken rule stops no training
                self._persistence.remove((rule, persistence))
                name = type(rule).__name__
                message = f"the rule {name} failed and is left out: {type(error).__name__}: {error}"
                warnings.warn(message, HealthWarning, stacklevel=2)
                continue
            told += [(_event(rule, finding, window), self._action(rule, finding)) for finding in findings]
        self._history.extend(loss for _, loss in window.losses() if math.isfinite(loss))
        return told

    def _window(self) -> Window | None:
        """What is pending, on the host: the only copy, and the only wait."""
        import torch

        readings, self._pending = self._pending, []
        taken = [reading.values for reading in readings if reading.values is not None]
        if not taken:
            return None
        numbers = torch.cat(taken).cpu().tolist()
        updates, start = [], 0
        weights: Mapping[str, float] = {}
        gradients: Mapping[str, float] = {}
        for reading in readings:
            size = 0 if reading.values is None else len(reading.values)
            own, start = numbers[start : start + size], start + size
            updates.append(reading.update(own))
            if reading.probed:
                weights, gradients = reading.probe(own)
        window = Window(updates, tuple(self._history), weights, gradients)
        self._reader.doubt(window)
        return window

    def _action(self, rule: Rule, found: Finding) -> Action:
        if rule.action is not None:
            return rule.action
        return "warn" if self.action in ("raise", "stop") and found.severity != "error" else self.action


def _event(rule: Rule, found: Finding, window: Window) -> HealthEvent:
    step = window.step if found.step is None else found.step
    name = type(rule).__name__
    return HealthEvent(name, found.severity, step, found.evidence, found.hint, found.sample_ids, found.kind, rank())


def _decides(own: Action | None, common: Action) -> bool:
    return (common if own is None else own) in ("stop", "raise")


def _check(rules: object, every: int, action: object, activation: object, loss: object) -> None:
    if rules is not None and (isinstance(rules, str) or not isinstance(rules, Sequence)):
        raise InputError(f"rules are a list, such as [Collapse(), NonFinite()], got {rules!r:.80}")
    for rule in rules or ():
        if not isinstance(rule, Rule):
            raise InputError(f"rules are instances of lossreg.health.Rule, such as Collapse(), got {rule!r:.80}")
    if not isinstance(every, int) or every < 1:
        raise InputError(f"every is a number of updates >= 1, got {every!r}")
    if action not in ("warn", "raise", "stop") and not callable(action):
        raise InputError(f"action is 'warn', 'raise', 'stop' or a callable of an event, got {action!r:.80}")
    if activation not in get_args(Activation):
        raise InputError(f"activation is one of {', '.join(map(repr, get_args(Activation)))}, got {activation!r:.80}")
    if loss is not None and not callable(getattr(loss, "terms", None)):
        raise InputError(f"loss is a lossreg.Loss, whose terms are probed, got {type(loss).__name__}; leave it out")
