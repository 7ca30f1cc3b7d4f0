"""The results of a training, and the tables that compare trainings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from photographs import Region
from rich.table import Table
from torch import Tensor

SPARSE = 0.10  # a photograph with less foreground than this share is sparse


@dataclass
class Run:
    """One training: per epoch its mean loss components and validation IoU by photograph; the last predictions.

    predictions: by photograph, (1, H, W) bool over the validation region.
    """

    name: str
    components: list[Mapping[str, float]] = field(default_factory=list)
    iou: list[Mapping[str, float]] = field(default_factory=list)
    predictions: Mapping[str, Tensor] = field(default_factory=dict)


def iou_table(runs: Sequence[Run], regions: Sequence[Region]) -> Table:
    """Return the final validation IoU of every run and photograph, the best of each photograph in bold."""
    table = Table(title="Validation IoU", caption="Below each photograph: its share of foreground.")
    table.add_column("config", no_wrap=True)
    for region in regions:
        table.add_column(f"{region.name}\n{region.foreground:.1%}", justify="right")
    best = {region.name: max(run.iou[-1][region.name] for run in runs) for region in regions}
    for run in runs:
        scores = [(run.iou[-1][region.name], best[region.name]) for region in regions]
        table.add_row(run.name, *(f"[bold]{iou:.3f}[/]" if iou == top else f"{iou:.3f}" for iou, top in scores))
    return table


def sparse_findings(runs: Sequence[Run], regions: Sequence[Region]) -> list[str]:
    """Return, per run, its gain in IoU over the first run on each sparse photograph and in their mean."""
    baseline, *others = runs
    sparse = [region for region in regions if region.foreground < SPARSE]
    lines = []
    for run in others:
        gains = {region.name: run.iou[-1][region.name] - baseline.iou[-1][region.name] for region in sparse}
        mean = sum(gains.values()) / max(len(gains), 1)
        verdict = "beats" if mean > 0 else "does not beat"
        each = ", ".join(f"{name} {gain:+.3f}" for name, gain in gains.items())
        lines.append(f"{run.name} {verdict} {baseline.name} on the sparse photographs: mean IoU {mean:+.3f} ({each})")
    return lines
