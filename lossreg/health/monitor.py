"""The monitor: collects the statistics of updates on the device, and evaluates them once per window."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from lossreg.errors import HealthError, InputError
from lossreg.health.activation_check import ActivationCheck
from lossreg.health.batch_inputs import check_step
from lossreg.health.component_gradients import with_terms
from lossreg.health.debounce import Debounce
from lossreg.health.device_statistics import Reader, UpdateStatistics, to_window
from lossreg.health.event import Action, HealthEvent, HealthWarning, action_for, ends_training
from lossreg.health.options import check_options
from lossreg.health.rank_consensus import GO_ON, RAISE, STOP, RankConsensus, rank
from lossreg.health.recall import Recall
from lossreg.health.rules import Rule, default_rules
from lossreg.health.sinks import Delivery, Sink, log, to_hooks
from lossreg.health.snapshot import Snapshot, snapshot_of
from lossreg.health.statistics import Activation
from lossreg.health.window import Window
from lossreg.messages import warn, with_type

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.distributed import ProcessGroup

    from lossreg.loss.output import LossOutput


class LossMonitor:
    """A monitor that detects dead losses and collapsed models.

        monitor = LossMonitor()
        monitor.update(output, prediction=logits, target=masks, step=step, sample_ids=names)

    A plain object: checkpoints contain nothing of it. An update computes a few numbers on the device without blocking.
    Every `every` updates they are copied to the host at once, and the rules evaluate them.

    In torch.distributed, rules that stop or raise decide together at each evaluation, so that every rank stops at the
    same update. All ranks must then have the same rules and update equally often. A rank with fewer batches calls
    `close`, which answers the other ranks until they are done. Rules that only warn need none of this.

    Args:
        rules: None for `default_rules()`.
        every: updates between two evaluations, >= 1. Micro-batches of an accumulated gradient are updates, too.
        sinks: callables of an event; None for the hook `lossreg_health_event` of installed packages. A sink that raises
            is disabled with a warning.
        action: of rules without their own. "warn": a HealthWarning, and for "info" a line of the log. "raise":
            HealthError, and "stop": `should_stop` becomes true; both for events of severity "error", while others
            warn. Or a callable of the event. A rule's own action applies to every severity.
        activation: the function that turns the prediction into probabilities. "auto": the prediction holds logits, of
            classes (softmax) if the target has class indices, of independent masks (sigmoid) otherwise. "none": the
            prediction holds probabilities. If the values of the first windows contradict it, one warning is given.
        ignore_index: value of the target at pixels that do not count, or None.
        loss: the loss in training, for the rules about its components: once per window each component is differentiated
            with respect to a copy of the prediction. The loss must take (prediction, target).
        group: the ranks that decide together; None for all.
    Raises:
        InputError: an argument of the wrong type or out of range.
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
        loss = with_terms(loss)
        check_options(rules, every, action, activation, loss)
        self.rules = tuple(default_rules() if rules is None else rules)
        self.every = every
        self.action = action
        self._should_stop = False
        self._reader = Reader(activation, ignore_index, loss)
        self._activation = ActivationCheck(activation)
        self._delivery = Delivery([to_hooks] if sinks is None else sinks)
        self._consensus = RankConsensus(group)
        self._debounced = [(rule, Debounce(rule)) for rule in self.rules]
        self._history: deque[float] = deque(maxlen=max((rule.history for rule in self.rules), default=0))
        self._recall = Recall()
        self._window: Window | None = None  # the last one, until its snapshot is taken
        self._snapshot = Snapshot()
        self._pending: list[UpdateStatistics] = []
        self._updates = 0
        self._last_step: int | None = None
        self._is_closed = False
        self._exclude_from_graphs()

    def __repr__(self) -> str:
        rules = ", ".join(type(rule).__name__ for rule in self.rules)
        return f"LossMonitor([{rules}], every={self.every}, updates={self._updates}, should_stop={self._should_stop})"

    @property
    def should_stop(self) -> bool:
        """Return True once a rule that stops or raises has found an error, on any rank."""
        return self._should_stop

    def update(
        self,
        output: LossOutput | Tensor,
        *,
        prediction: Tensor | None = None,
        target: Tensor | None = None,
        step: int | None = None,
        sample_ids: Sequence[str | int] | Tensor | None = None,
    ) -> list[HealthEvent]:
        """Add one batch, and evaluate the rules if the window is complete.

        Args:
            output: the result of `lossreg.evaluate`, or the loss as a 0-dim tensor or (B,), before any scaling.
            prediction: (B, C, *), logits unless `activation` is "none".
            target: (B, C, *) masks, hard or soft; (B, *) or (B, 1, *) for one mask, or for class indices.
            step: an integer; None counts the updates, from 1. A smaller step than the last ends the window, and earlier
                losses are no longer compared with. Findings go on, so the number of a batch in its epoch will do as
                well; after a stop everything starts again.
            sample_ids: of the B examples, on the host, because reading them from a device would block.
        Returns:
            The events of this update; empty unless the window is complete.
        Raises:
            InputError: the arguments do not fit each other. The update is then not added.
            HealthError: a rule raises, here or on another rank.
        """
        events: list[HealthEvent] = self._add(output, prediction, target, step, sample_ids)
        return events

    def snapshot(self) -> Snapshot:
        """Return the means of the last window, which are on the host already: nothing is copied and nothing blocks.

        bar.set_postfix(monitor.snapshot().as_dict())
        """
        if self._window is not None:
            self._snapshot, self._window = snapshot_of(self._window), None
        return self._snapshot

    def flush(self) -> list[HealthEvent]:
        """Evaluate the updates since the last evaluation. Ranks that decide together must all call it."""
        return self._evaluate(self._consensus.decide)

    def close(self) -> list[HealthEvent]:
        """Evaluate the last updates. If ranks decide together, answer the others until all are done."""
        if self._is_closed:
            return []
        self._is_closed = True
        return self._evaluate(self._consensus.leave)

    def __enter__(self) -> LossMonitor:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        elif not self._is_closed:  # report the events before the error, without blocking for other ranks
            self._is_closed = True
            self._evaluate(lambda own: GO_ON)

    def _exclude_from_graphs(self) -> None:
        """Bind `_add` so that torch.compile leaves it out of its graphs."""
        import torch

        self._add = torch.compiler.disable(self._add_update)

    def __getstate__(self) -> dict[str, Any]:
        """Drop the bound method; `__setstate__` binds it to the copy."""
        return {name: value for name, value in vars(self).items() if name != "_add"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._exclude_from_graphs()

    def _add_update(self, output: Any, prediction: Any, target: Any, step: int | None, ids: Any) -> list[HealthEvent]:
        if self._is_closed:
            raise InputError("the monitor is closed: call update() before close(), or make another monitor")
        step = self._updates + 1 if step is None else check_step(step)
        is_last = len(self._pending) + 1 >= self.every
        statistics = self._reader.read(output, prediction, target, step, ids, with_gradients=is_last)
        self._updates += 1
        events: list[HealthEvent] = []
        if self._last_step is not None and step < self._last_step:
            events += self.flush()
            self._step_back()
        self._last_step = step
        self._pending.append(statistics)
        return events + self.flush() if len(self._pending) >= self.every else events

    def _step_back(self) -> None:
        """Compare with no earlier loss. After a stop this is another training, so forget the old one's findings."""
        self._history.clear()
        if self._should_stop:
            self._should_stop = False
            self._recall.forget()
            for _, debounce in self._debounced:
                debounce.reset()

    def _evaluate(self, decide: Callable[[int], int]) -> list[HealthEvent]:
        """Run the rules, decide with the other ranks, then deliver.

        In this order, so that a sink that raises cannot block other ranks.
        """
        events = self._run_rules()
        raising = [event for event, action in events if action == "raise"]
        stops = any(action == "stop" for _, action in events)
        decided = own = RAISE if raising else STOP if stops else GO_ON
        if any(ends_training(rule.action, self.action) for rule in self.rules):
            decided = decide(own)
        self._should_stop |= decided != GO_ON
        self._delivery.deliver(events)
        if own == GO_ON and decided == STOP:
            log.error("another rank requested a stop; see its events")
        if decided == RAISE:
            text = str(raising[0]) if raising else "another rank raised a HealthError; see its message"
            raise HealthError(text, event=raising[0] if raising else None)
        return [event for event, _ in events]

    def _run_rules(self) -> list[tuple[HealthEvent, Action]]:
        """Return the events of the pending updates, with their actions."""
        pending, self._pending = self._pending, []
        window = to_window(pending, tuple(self._history), self._recall.updates())
        if window is None:
            return []
        self._activation.add(window)
        events: list[tuple[HealthEvent, Action]] = []
        for rule, debounce in tuple(self._debounced):
            try:
                findings = rule.combine(debounce.findings(rule.check(window), len(window.updates)))
            except Exception as error:  # noqa: BLE001 - no error of a rule may stop the training
                self._debounced.remove((rule, debounce))
                message = f"the rule {type(rule).__name__} raised {with_type(error)}; it is disabled"
                warn(message, HealthWarning)
                continue
            name = type(rule).__name__
            made = [found.event(name, window.step, rank()) for found in findings]
            events += zip(made, (action_for(rule.action, self.action, found) for found in findings), strict=True)
        self._window = window
        self._recall.add(window.updates)
        self._history.extend(loss for _, loss in window.losses() if math.isfinite(loss))
        return events
