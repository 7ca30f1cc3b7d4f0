"""The check of one batch in one call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lossreg.errors import InputError
from lossreg.health.component_gradients import kept_random_numbers, with_terms
from lossreg.health.device_statistics import Reader, to_window
from lossreg.health.event import Finding, HealthEvent
from lossreg.health.rank_consensus import rank
from lossreg.health.rules import Collapse, ConstantPrediction, Rule, Saturation, Verdicts, default_rules
from lossreg.health.rules.useless_targets import UselessTargets
from lossreg.health.snapshot import Snapshot, snapshot_of
from lossreg.health.statistics import Activation

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class BatchCheck:
    """The numbers of one batch, and the findings of the rules.

    Args:
        snapshot: the means, such as `snapshot.pred_mean` and `snapshot.target_mean`.
        events: the findings of the rules, each with its remedy; empty if there are none.
    """

    snapshot: Snapshot
    events: tuple[HealthEvent, ...]

    @property
    def ok(self) -> bool:
        """Return True if nothing was found but information."""
        return all(event.severity == "info" for event in self.events)

    def __str__(self) -> str:
        numbers = ", ".join(f"{name} {value:.4g}" for name, value in self.snapshot.as_dict().items())
        return "\n".join([numbers, *map(str, self.events)])


def check(
    output: Any,
    prediction: Tensor,
    target: Tensor,
    *,
    activation: Activation = "auto",
    ignore_index: int | None = None,
    sample_ids: Sequence[str | int] | Tensor | None = None,
    step: int = 1,
) -> BatchCheck:
    """Check one batch: is the prediction far below the target, is the target empty, is the loss zero or not finite?

        if step % 50 == 0:
            print(lossreg.health.check(output, logits, masks))

    It reads the device, so it blocks until that is done. In a training a LossMonitor is better: it does not block, sees
    all batches, and reports only findings that persist.

    Args:
        output: a loss, which is then evaluated, its value, or the result of `lossreg.evaluate`.
        prediction: (B, C, *), logits unless `activation` is "none".
        target: (B, C, *) masks; (B, *) or (B, 1, *) for one mask, or for class indices.
        activation, ignore_index: those of LossMonitor.
        sample_ids: of the B examples, on the host.
        step: of the events, and of a loss that follows the step.
    Raises:
        InputError: the arguments do not fit each other, or the batch is empty.
    """
    import torch

    from lossreg.loss import evaluate

    loss = output if isinstance(output, torch.nn.Module) else None
    if loss is not None:
        with torch.no_grad(), kept_random_numbers(prediction.device):
            output = evaluate(loss, prediction, target)
    known = with_terms(loss) if callable(getattr(with_terms(loss), "terms", None)) else None
    reader = Reader(activation, ignore_index, known)
    statistics = reader.read(output, prediction, target, step, sample_ids, with_gradients=known is not None)
    window = to_window([statistics], (), ())
    if window is None:
        raise InputError("the batch is empty: check one with examples and pixels")
    events = [
        finding.event(type(rule).__name__, step, rank())
        for rule in _rules()
        for finding in rule.combine(_certain(rule.check(window)))
    ]
    return BatchCheck(snapshot_of(window), tuple(events))


def _rules() -> list[Rule]:
    """Return the default rules for one batch: few examples must do, and a mean below 0.01 is low."""
    rules: list[Rule] = []
    for rule in default_rules():
        if isinstance(rule, UselessTargets):
            rules.append(replace(rule, share=0.5))
        elif isinstance(rule, Collapse):
            rules.append(replace(rule, low=0.01, examples=1))
        elif isinstance(rule, ConstantPrediction | Saturation):
            rules.append(replace(rule, examples=1))
        else:
            rules.append(rule)
    return rules


def _certain(verdicts: Verdicts) -> list[Finding]:
    """Return the findings but those that must last to mean anything: a network that is new has them as well."""
    found = [finding for finding in verdicts.values() if finding is not None]
    return [finding for finding in found if not finding.patience or finding.severity == "error"]
