"""A user's module that takes every public function, as type checkers see it. `test_typing.py` runs them on it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, assert_type

from pydantic import Field
from torch import Tensor, nn

import lossreg
from lossreg import Entry, Loss, LossConfig, LossOutput, Registry, Term, hookimpl, losses
from lossreg.authoring import Contract, Functions, Library, Part, Reduction, contract, debugging
from lossreg.errors import Problem
from lossreg.health import Collapse, HealthEvent, JsonLines, LossMonitor, NonFinite, default_rules, to_log
from lossreg.health.targets import TargetReport, draw_targets, examine, read_targets
from lossreg.integrations.hydra import register_hydra_configs
from lossreg.records import (
    CaptionRules,
    Filters,
    RecordConfig,
    RecordWriter,
    aggregate_by_dataset,
    aggregate_by_run,
    compare_runs,
    compute_per_example_loss,
    evaluate_dataset,
    flag_bad_captions,
    run_dataset_evaluation,
    write_report,
)
from lossreg.testing import Case, MaskCase, Result, check_loss

MAKERS = Registry(nn.Module, name="makers")
DECLARED: Contract = contract(input="logits", target="mask", tasks=["binary"])


@losses.register
class Bare(Loss):
    """A loss under the name of its class."""

    def terms(self, input: Tensor, target: Tensor) -> dict[str, Term]:
        """Return one value for each example."""
        return {"bare": Term((input - target).abs().flatten(1).mean(1))}


@losses.register("acme_l1", tags=["regression"], aliases=["l1_acme"], contract=DECLARED, renamed={"eps": "smooth"})
class Declared(Loss):
    """A loss with every keyword that a decorator takes."""

    def __init__(self, *, smooth: Annotated[float, Field(ge=0)] = 1.0, reduction: Reduction = "mean") -> None:
        super().__init__(reduction=reduction)
        self.smooth = smooth

    def terms(self, input: Tensor, target: Tensor) -> dict[str, Term]:
        """Return one value for each example and class."""
        if debugging():
            assert bool(input.isfinite().all())
        return {"l1": Term((input - target).abs().flatten(2).mean(2) + self.smooth, per="pair", weight=0.5)}


class Hooks:
    """Hooks of a team."""

    @hookimpl
    def lossreg_build(self, entry: Entry, params: dict[str, Any]) -> nn.Module | None:
        """Leave every loss to the others."""
        return None


def find() -> None:
    """Look losses up."""
    assert_type(losses.list(), list[str])
    assert_type(losses["dice"], type[nn.Module])
    assert_type(losses.get("dice"), type[nn.Module])
    assert_type(losses.get("dice", None), type[nn.Module] | None)
    assert_type(losses.entry("dice"), Entry)
    assert_type(losses.find("binary & !sam") + losses.filter_by_tag("overlap"), list[str])
    assert_type(losses.list_with_tags(), dict[str, list[str]])
    assert_type("dice" in losses and len(losses) > 1, bool)
    for name in losses:
        assert_type(name, str)
    undo = losses.register_lazy("acme_lazy", "acme:Lazy", tags=["regression"])
    undo()
    losses.unregister("bare")
    with losses.scope() as registry:
        assert_type(registry.instantiate("dice"), nn.Module)
    assert_type(MAKERS.base_class, type[nn.Module])


def configure() -> nn.Module:
    """Validate and build."""
    config = lossreg.validate({"name": "dice", "params": {"smooth": 1.0}}, providers={"segmentation"})
    assert_type(config, LossConfig)
    assert_type(lossreg.json_schema(["dice"]), dict[str, Any])
    lossreg.build("focal", gamma=2)
    lossreg.build(name="focal", params={"gamma": 2})
    lossreg.build(lossreg.read_config("train.yaml", at="training.loss"))
    module = lossreg.build(config)
    assert_type(module, nn.Module)
    assert_type(lossreg.config_of(module), dict[str, Any])
    register_hydra_configs("loss", names=["dice"])
    return module


def problems(error: lossreg.InvalidConfigError) -> tuple[Problem, ...]:
    """Return the problems of a config."""
    return error.problems


def train(loss: Loss, input: Tensor, target: Tensor, folder: Path) -> Tensor:
    """Do one step with records and health."""
    assert_type(loss(input, target), Tensor)
    total, parts = lossreg.evaluate(loss, input, target)
    assert_type(total, Tensor)
    assert_type(parts, dict[str, Tensor])
    output = loss.evaluate(input, target)
    assert_type(output, LossOutput)
    assert_type(output.per_example, Tensor | None)
    monitor = LossMonitor([*default_rules(), NonFinite(), Collapse()], sinks=[JsonLines(folder / "a.jsonl"), to_log])
    monitor.update(output, prediction=input, target=target, step=1)
    assert_type(monitor.should_stop, bool)
    with lossreg.debug_checks(), RecordWriter(folder, run="a", config=RecordConfig(every=2)) as writer:
        writer.add(output, sample_ids=["a", "b"], dataset="acme", step=1)
    return compute_per_example_loss(loss, input, target)


def inspect(folder: Path, batches: list[tuple[Tensor, Tensor]]) -> None:
    """Read records, data sets and targets."""
    assert_type(aggregate_by_dataset(folder, filters=Filters(runs="a", epochs="3-10")), dict[str, Any])
    assert_type(aggregate_by_run(folder), list[dict[str, Any]])
    assert_type(compare_runs(folder, "a", "b", filters=Filters(splits=["val"])), dict[str, Any])
    assert_type(flag_bad_captions([{"caption": "a cat", "loss": 1.0}], CaptionRules(short=2)), dict[str, Any])
    assert_type(write_report(folder, folder / "report.html"), Path)
    assert_type(evaluate_dataset(len, batches, max_samples=10), dict[str, Any])
    assert_type(run_dataset_evaluation(len, batches, job_name="a", step=1, out_dir=folder), Path)
    report = examine(read_targets(folder), ignore_index=255)
    assert_type(report, TargetReport)
    draw_targets(report, folder / "targets.png")


def check() -> list[Result]:
    """Check a loss by the conformance kit."""
    cases: list[Case] = [MaskCase("binary", size=(4, 4))]
    return check_loss("dice", cases=cases, waive={"oracle": "compared elsewhere"})


def describe() -> Library:
    """Describe another library."""
    library = Library("torch", "torch", ">=2.6", modules=[], hints={"reduce": None})
    marks = (Part("reducer"), Functions({"relu": "torch:relu"}))
    library.loss("torch.nn:L1Loss", summary="L1.", tags=["regression"], input="values", target_kind="values")
    print(marks)
    return library


def rule(event: HealthEvent) -> str:
    """Return the rule of an event."""
    return event.rule
